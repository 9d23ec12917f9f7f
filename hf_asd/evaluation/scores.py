"""Official scores of scored datasets and of submission files, and comparisons of two systems."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from ..data.dcase.ground_truth import load_ground_truth, load_revealed_names
from ..data.dcase.years import DEFAULT_YEAR, YEAR_WITHOUT_DOMAINS, year_rules
from ..metrics.bootstrap import bootstrap_official_scores, confidence_interval, two_sided_p_value
from ..metrics.official_score import official_score, score_table, section_rows
from .submission import check_same_clips, read_submission


SCORING_COLUMNS = ("machine", "section", "domain", "condition", "anomaly_score")


def evaluate_scores(
    dataset: Dataset,
    year: int = DEFAULT_YEAR,
    *,
    max_fpr: float = 0.1,
    resamples: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """
    The official scores of a scored dataset: per machine and section, per machine, and in total.

    Args:
        dataset (`datasets.Dataset`): test rows with the columns `machine`, `section`, `domain`, `condition`,
            `anomaly_score` and, where precision, recall and F1 are wanted, `is_anomaly`.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score (see
            [`~hf_asd.metrics.official_score.section_terms`]). 2020 needs no domains.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.
        resamples (`int`, *optional*, defaults to 0): number of bootstrap resamples for a confidence interval;
            0 for none.
        confidence (`float`, *optional*, defaults to 0.95): probability that the interval covers the score.
        seed (`int`, *optional*, defaults to 0): seed of the bootstrap.

    Returns:
        `dict`: the result of [`~hf_asd.metrics.official_score.score_table`] (`official_score`, means of the terms,
        `machines`, `sections`); with resamples also `confidence_interval` (low, high) of the official score,
        `confidence` and `resamples`.

    Raises:
        ValueError: a column or a class is missing, a condition is unknown, a score is NaN; names machine and section.
    """
    columns = _columns(dataset)
    result = score_table(*columns, year, decisions=_decisions(dataset), max_fpr=max_fpr)
    if resamples:
        samples = bootstrap_official_scores(*columns, year, resamples=resamples, seed=seed, max_fpr=max_fpr)
        interval = confidence_interval(samples, confidence)
        result |= {"confidence_interval": interval, "confidence": confidence, "resamples": resamples}
    return result


def labeled_subset(scored: Dataset) -> tuple[Dataset, int]:
    """
    The rows that can be evaluated. Own recordings may lack labels.

    Args:
        scored (`datasets.Dataset`): rows as for [`evaluate_scores`], with any condition and domain.

    Returns:
        `tuple[Dataset, int]`: the rows of known condition of those machines (and sections) that have normal and
        anomalous clips, perhaps no rows; and the challenge year whose official score can be computed: 2025 where all
        domains are known and have normal clips, else 2020, whose score (the mean of AUC and pAUC) needs no domains.
    """
    conditions, domains = np.array(scored["condition"][:]), np.array(scored["domain"][:])
    kept, has_domains = [], True
    for _, _, rows in section_rows(scored["machine"], scored["section"]):
        normal, anomalous = (rows[conditions[rows] == condition] for condition in ("normal", "anomaly"))
        if len(normal) and len(anomalous):
            kept += sorted([*normal, *anomalous])
            has_domains &= set(domains[normal]) == {"source", "target"} >= set(domains[anomalous])
    return scored.select(kept), DEFAULT_YEAR if has_domains else YEAR_WITHOUT_DOMAINS


def evaluate_submission(
    folder: str | Path,
    truth: str | Path,
    year: int = DEFAULT_YEAR,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """
    The official scores of a folder of submission files.

    Args:
        folder (`str` or `Path`): folder of the result files (see [`~hf_asd.evaluation.submission.read_submission`]).
        truth (`str` or `Path`): the ground truth (see [`~hf_asd.data.dcase.ground_truth.load_ground_truth`]).
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
        resamples (`int`, *optional*, defaults to 1000), confidence (`float`, *optional*, defaults to 0.95), seed
            (`int`, *optional*, defaults to 0): for the bootstrap, as for [`evaluate_scores`].

    Returns:
        `dict`: as for [`evaluate_scores`].

    Raises:
        FileNotFoundError, ValueError: the folders cannot be read, or they are not of the same clips.
    """
    dataset = _with_truth(folder, truth, year)
    return evaluate_scores(dataset, year, resamples=resamples, confidence=confidence, seed=seed)


def compare_scores(
    a: Dataset,
    b: Dataset,
    year: int = DEFAULT_YEAR,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """
    Compares two systems on the same clips by a paired bootstrap: every resample has the same clips for both.

    Args:
        a (`datasets.Dataset`), b (`datasets.Dataset`): scored rows as for [`evaluate_scores`], with `clip_id`; the
            order may differ.
        year (`int`, *optional*, defaults to 2025), resamples (`int`, *optional*, defaults to 1000), confidence
            (`float`, *optional*, defaults to 0.95), seed (`int`, *optional*, defaults to 0): as for
            [`evaluate_scores`].

    Returns:
        `dict`: `a` and `b` (their results), `difference` (b minus a) of the official scores, its
        `confidence_interval`, `p_value` (two-sided: how often the difference has the other sign in a resample) and
        `machines`, machine -> difference.

    Raises:
        ValueError: the two are not of the same clips or disagree on a clip's condition or domain.
    """
    check_same_clips(a["clip_id"][:], b["clip_id"][:], "the first system", "the second")
    place = {clip_id: row for row, clip_id in enumerate(b["clip_id"][:])}
    b = b.select([place[clip_id] for clip_id in a["clip_id"][:]])
    ours, theirs = _columns(a), _columns(b)
    for name in ("labels", "domains"):
        differing = np.flatnonzero(getattr(ours, name) != getattr(theirs, name))
        if len(differing):
            clip_id = a["clip_id"][int(differing[0])]
            raise ValueError(f"the two systems disagree on the {name} of {len(differing)} clips, such as {clip_id}.")
    result_a, result_b = evaluate_scores(a, year), evaluate_scores(b, year)
    both = ours._replace(scores=np.stack([ours.scores, theirs.scores]))
    samples = bootstrap_official_scores(*both, year, resamples=resamples, seed=seed)
    differences = samples[1] - samples[0]
    return {
        "a": result_a,
        "b": result_b,
        "difference": result_b["official_score"] - result_a["official_score"],
        "confidence_interval": confidence_interval(differences, confidence),
        "confidence": confidence,
        "resamples": resamples,
        "p_value": two_sided_p_value(differences),
        "machines": {
            machine: result_b["machines"][machine]["official_score"] - means["official_score"]
            for machine, means in result_a["machines"].items()
        },
    }


def compare_systems(
    a: str | Path,
    b: str | Path,
    truth: str | Path,
    year: int = DEFAULT_YEAR,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """
    Compares two folders of submission files by [`compare_scores`].

    Args:
        a (`str` or `Path`), b (`str` or `Path`): folders of result files.
        truth (`str` or `Path`): the ground truth.
        year, resamples, confidence, seed: as for [`compare_scores`].

    Returns:
        `dict`: as for [`compare_scores`].
    """
    first, second = (_with_truth(folder, truth, year) for folder in (a, b))
    return compare_scores(first, second, year, resamples=resamples, confidence=confidence, seed=seed)


def format_table(result: dict) -> str:
    """
    A result as a text table, in percent.

    Args:
        result (`dict`): the result of [`evaluate_scores`] or [`evaluate_submission`].

    Returns:
        `str`: one line per section, the mean over all sections (harmonic or, for 2020, arithmetic), and the official
        score.
    """
    rules = year_rules(result["year"])
    names = rules.terms
    decided = [name for name in result["sections"][0] if name.startswith("f1")]
    columns = [*names, "official", *decided]
    machines = [f"{section['machine']} {section['section']}" for section in result["sections"]]
    width = max(len("harmonic mean"), *map(len, machines)) + 2
    lines = ["".join([f"{'machine':<{width}}", *(f"{name.replace('_', ' '):>13}" for name in columns)])]
    for machine, section in zip(machines, result["sections"], strict=True):
        values = [section[name] for name in names]
        values += [official_score([section], result["year"]), *(section[name] for name in decided)]
        lines.append("".join([f"{machine:<{width}}", *(f"{100 * value:13.2f}" for value in values)]))
    label = "mean" if rules.mean == "arithmetic" else "harmonic mean"
    totals = [result[name] for name in names] + [result["official_score"]]
    lines.append("".join([f"{label:<{width}}", *(f"{100 * value:13.2f}" for value in totals)]))
    score = f"official score {result['year']}: {100 * result['official_score']:.2f} %"
    if "confidence_interval" in result:
        low, high = result["confidence_interval"]
        score += f" ({100 * result['confidence']:.0f} % confidence interval {100 * low:.2f} to {100 * high:.2f})"
    return "\n".join([*lines, score])


def format_comparison(result: dict, a: str = "a", b: str = "b") -> str:
    """
    A comparison as a text table, in percent.

    Args:
        result (`dict`): the result of [`compare_scores`] or [`compare_systems`].
        a (`str`, *optional*, defaults to `"a"`), b (`str`, *optional*, defaults to `"b"`): names of the systems.

    Returns:
        `str`: one line per machine, one for the official score, and the conclusion.
    """
    width = max(len("official score"), *map(len, result["machines"])) + 2
    shown = [name if len(name) <= 20 else f"...{name[-17:]}" for name in (a, b)]
    lines = [f"{'machine':<{width}}{shown[0]:>22}{shown[1]:>22}{'difference':>13}"]
    rows = [
        (machine, *(result[side]["machines"][machine]["official_score"] for side in "ab"), difference)
        for machine, difference in result["machines"].items()
    ]
    rows.append(("official score", *(result[side]["official_score"] for side in "ab"), result["difference"]))
    for name, first, second, difference in rows:
        lines.append(f"{name:<{width}}{100 * first:22.2f}{100 * second:22.2f}{100 * difference:+13.2f}")
    low, high = result["confidence_interval"]
    better = "no clear difference" if low <= 0 <= high else f"{b if low > 0 else a} is better"
    return "\n".join(
        [
            *lines,
            f"difference {100 * result['difference']:+.2f}, {100 * result['confidence']:.0f} % confidence interval "
            f"{100 * low:+.2f} to {100 * high:+.2f}, p = {result['p_value']:.3g} "
            f"(paired bootstrap, {result['resamples']} resamples): {better}",
        ]
    )


class ScoredClips(NamedTuple):
    """Arrays of shape `(clips,)` (`scores` also `(systems, clips)`), in the order of the arguments of scoring."""

    labels: np.ndarray
    scores: np.ndarray
    machines: np.ndarray
    sections: np.ndarray
    domains: np.ndarray


def _columns(dataset: Dataset) -> ScoredClips:
    """The columns that scoring needs, as arrays named as in [`~hf_asd.metrics.official_score.score_table`]."""
    missing = [name for name in SCORING_COLUMNS if name not in dataset.column_names]
    if missing:
        raise ValueError(f"the dataset lacks {', '.join(missing)}; it has {', '.join(dataset.column_names)}.")
    machines, sections, domains, conditions, scores = (np.array(dataset[name][:]) for name in SCORING_COLUMNS)
    unknown = sorted(set(conditions.tolist()) - {"normal", "anomaly"})
    if unknown:
        raise ValueError(
            f"{np.isin(conditions, unknown).sum()} of {len(conditions)} clips have the condition "
            f"{', '.join(unknown)}; scoring needs normal or anomaly. For evaluation data give the ground truth."
        )
    labels = (conditions == "anomaly").astype(int)
    return ScoredClips(labels, scores, machines, sections, domains)


def _decisions(dataset: Dataset) -> np.ndarray | None:
    if "is_anomaly" not in dataset.column_names or None in dataset["is_anomaly"][:]:
        return None
    return np.array(dataset["is_anomaly"][:]).astype(int)


def _with_truth(folder: str | Path, truth: str | Path, year: int) -> Dataset:
    """Submitted scores with the true conditions and domains, matched by machine and file name."""
    submitted = read_submission(folder, year)
    known = load_ground_truth(truth, year)
    # Later submissions may name clips as they were revealed after the challenge, with condition and attributes.
    revealed = load_revealed_names(truth, year)
    keys: list[tuple[str, str]] = []
    for machine, name in zip(map(str, submitted["machine"][:]), map(str, submitted["file_name"][:]), strict=True):
        keys.append((machine, name if (machine, name) in known else revealed.get((machine, name), name)))
    check_same_clips(keys, known, f"{folder}", f"{truth}")
    columns = {name: submitted[name][:] for name in submitted.column_names}
    columns["domain"] = [known[key]["domain"] for key in keys]
    columns["condition"] = [known[key]["condition"] for key in keys]
    columns["clip_id"] = [f"{machine}/test/{name.rsplit('.', 1)[0]}" for machine, name in keys]
    return Dataset.from_dict(columns)
