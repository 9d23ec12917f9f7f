"""A scored dataset -> the official table of its year."""

from collections.abc import Iterable

import numpy as np
from datasets import Dataset

from .metrics.functional import auc, harmonic_mean, official_score, precision_recall_f1, section_terms, term_names
from .submission import read_submission, write_submission


__all__ = ["evaluate_scores", "format_table", "read_submission", "write_submission"]


DECISION_NAMES = ("precision", "recall", "f1")


def evaluate_scores(dataset: Dataset, year: int = 2025, *, max_fpr: float = 0.1) -> dict:
    """
    The official scores of a scored dataset: per machine and section, per machine, and in total.

    Args:
        dataset (`datasets.Dataset`): test rows with the columns `machine`, `section`, `domain`, `condition`,
            `anomaly_score` and, where precision, recall and F1 are wanted, `is_anomaly`.
        year (`int`, *optional*, defaults to 2025): whose definition is used, 2020 to 2026 (see
            [`~hf_asd.metrics.functional.section_terms`]). 2020 needs no domains.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict`: `year`, `official_score`, the mean of each term over all sections (harmonic; arithmetic for 2020), the
        `arithmetic_mean` and `harmonic_mean` over all terms; `machines`, a dictionary machine -> its `official_score`
        and terms, averaged likewise over its sections; `sections`, a list of dictionaries with `machine`, `section`,
        `clips`, the terms, `auc` (all clips, both domains) and, from decisions, `precision_<domain>`,
        `recall_<domain>`, `f1_<domain>` (that domain's clips only; without a suffix for 2020).

    Raises:
        ValueError: a column or a class is missing, a condition is unknown, a score is NaN; names machine and section.
    """
    needed = ["machine", "section", "domain", "condition", "anomaly_score"]
    missing = [name for name in needed if name not in dataset.column_names]
    if missing:
        raise ValueError(f"the dataset lacks {', '.join(missing)}; it has {', '.join(dataset.column_names)}.")
    if len(dataset) == 0:
        raise ValueError("the dataset has no rows, there is nothing to evaluate.")
    decided = "is_anomaly" in dataset.column_names
    columns = {name: np.array(dataset[name][:]) for name in needed + ["is_anomaly"] * decided}
    sections = []
    for machine, section, rows in section_rows(columns["machine"], columns["section"]):
        part = {name: values[rows] for name, values in columns.items()}
        try:
            sections.append({"machine": machine, "section": section, **_section_scores(part, year, max_fpr)})
        except ValueError as error:
            raise ValueError(f"{machine}, section {section}: {error}") from error
    return summarise(sections, year)


def summarise(sections: list[dict], year: int) -> dict:
    """The table of [`evaluate_scores`] from its `sections`; published tables can be fed in as well."""
    values = [section[name] for section in sections for name in term_names(year)]
    return {
        "year": year,
        **_means(sections, year),
        "arithmetic_mean": float(np.mean(values)),
        "harmonic_mean": float(harmonic_mean(values)),
        "machines": {
            machine: _means([section for section in sections if section["machine"] == machine], year)
            for machine in dict.fromkeys(section["machine"] for section in sections)
        },
        "sections": sections,
    }


def section_rows(machines: np.ndarray, sections: np.ndarray) -> Iterable[tuple[str, str, np.ndarray]]:
    """Machine, section and the positions of its rows, in alphabetical order."""
    groups = {}
    for position, key in enumerate(zip(machines.tolist(), sections.tolist(), strict=True)):
        groups.setdefault(key, []).append(position)
    for (machine, section), rows in sorted(groups.items()):
        yield machine, section, np.array(rows)


def format_table(result: dict) -> str:
    """
    A result as a text table, in percent.

    Args:
        result (`dict`): of [`evaluate_scores`] or [`~hf_asd.submission.evaluate_submission`].

    Returns:
        `str`: one line a section, and the mean over all of them (harmonic; arithmetic for 2020).
    """
    names = term_names(result["year"])
    decided = [name for name in result["sections"][0] if name.startswith("f1")]
    columns = [*names, "official", *decided]
    machines = [f"{section['machine']} {section['section']}" for section in result["sections"]]
    width = max(len("harmonic mean"), *map(len, machines)) + 2
    lines = ["".join([f"{'machine':<{width}}", *(f"{name.replace('_', ' '):>13}" for name in columns)])]
    for machine, section in zip(machines, result["sections"], strict=True):
        values = [section[name] for name in names]
        values += [official_score([section], result["year"]), *(section[name] for name in decided)]
        lines.append("".join([f"{machine:<{width}}", *(f"{100 * value:13.2f}" for value in values)]))
    label = "mean" if result["year"] == 2020 else "harmonic mean"
    totals = [result[name] for name in names] + [result["official_score"]]
    lines.append("".join([f"{label:<{width}}", *(f"{100 * value:13.2f}" for value in totals)]))
    score = f"official score {result['year']}: {100 * result['official_score']:.2f} %"
    if "confidence_interval" in result:
        low, high = result["confidence_interval"]
        score += f", {100 * result['confidence']:.0f} % confidence interval {100 * low:.2f} to {100 * high:.2f}"
    return "\n".join([*lines, score])


def labels_of(conditions: np.ndarray) -> np.ndarray:
    """1 for an anomaly, 0 for a normal clip."""
    strange = sorted(set(conditions.tolist()) - {"normal", "anomaly"})
    if strange:
        raise ValueError(
            f"{np.isin(conditions, strange).sum()} of {len(conditions)} clips have the condition "
            f"{', '.join(strange)}; scoring needs normal or anomaly. For evaluation data give the ground truth."
        )
    return (conditions == "anomaly").astype(int)


def _section_scores(part: dict[str, np.ndarray], year: int, max_fpr: float) -> dict:
    labels = labels_of(part["condition"])
    scores = {"clips": len(labels), "auc": auc(labels, part["anomaly_score"])}
    scores |= section_terms(labels, part["anomaly_score"], part["domain"], year, max_fpr)
    if "is_anomaly" in part:
        for domain in ("source", "target") if year > 2020 else ("",):
            inside = part["domain"] == domain if domain else np.ones(len(labels), bool)
            values = precision_recall_f1(labels[inside], part["is_anomaly"][inside].astype(int))
            names = [f"{name}_{domain}".rstrip("_") for name in DECISION_NAMES]
            scores |= dict(zip(names, values, strict=True))
    return scores


def _means(sections: list[dict], year: int) -> dict[str, float]:
    mean = np.mean if year == 2020 else harmonic_mean
    means = {name: float(mean([section[name] for section in sections])) for name in term_names(year)}
    return {"official_score": official_score(sections, year), **means}
