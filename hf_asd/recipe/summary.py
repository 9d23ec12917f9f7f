"""What a finished run found, as text."""

from pathlib import Path

from ..data.schema import read_table
from ..evaluation.scores import format_table
from ..files import read_json


def summary(folders: dict[str, Path]) -> str:
    """
    The official scores of each machine beside those of the baselines, which machines could not be measured, the
    published figure that the recipe aims at, and where the report is.

    Args:
        folders (`dict[str, Path]`): what [`~hf_asd.recipe.runner.run_recipe`] returned.
    """
    result = read_json(folders["evaluate"] / "evaluation.json")
    lines = _scores(result) if "machines" in result else []
    machines = {machine for table in folders["data"].glob("*.parquet") for machine in read_table(table)["machine"]}
    unmeasured = ", ".join(sorted(machines - set(result.get("machines", {}))))
    if unmeasured:
        lines.append(
            f"not measured, because normal or anomalous test recordings with labels are missing: {unmeasured}"
        )
    lines += _clusters(result.get("clusters", {}))
    if "report" in folders:
        published = read_json(folders["report"] / "stage.json")["options"].get("published")
        lines += ["", f"published: {published}"] if published else []
        lines += ["", f"detector: {folders['fit'] / 'detector'}", f"report:   {folders['report'] / 'report.html'}"]
    return "\n".join(lines)


def _scores(result: dict) -> list[str]:
    systems = {"this recipe": result, **result["baselines"]}
    width = max(map(len, systems)) + 2
    machines = list(result["machines"])
    lines = [format_table(result), ""]
    lines.append("official score in %".ljust(width) + "".join(f"{name:>10.9}" for name in [*machines, "all"]))
    for name, system in systems.items():
        scores = [system["machines"][machine]["official_score"] for machine in machines]
        scores.append(system["official_score"])
        lines.append(name.ljust(width) + "".join(f"{100 * score:10.2f}" for score in scores))
    return lines


def _clusters(clusters: dict) -> list[str]:
    lines = ["", "pseudo-attributes compared with the true attributes"] if clusters else []
    for machine, quality in clusters.items():
        lines.append(
            f"  {machine:<12} {quality['num_clusters']:3d} clusters, {quality['num_true']:3d} true attributes, "
            f"adjusted Rand index {quality['ari']:.2f}, normalized mutual information {quality['nmi']:.2f}, "
            f"purity {quality['purity']:.2f}"
        )
    return lines
