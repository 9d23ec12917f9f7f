"""
The official score of DCASE Task 2 as plain numpy functions, for every year.

What differs between the years (terms, mean, domains) is read from [`~hf_asd.data.dcase.years.YEARS`].
"""

import numpy as np

from ..data.dcase.years import DEFAULT_YEAR, YEAR_WITHOUT_DOMAINS, year_rules
from .functional import auc, check, harmonic_mean, mcclish, precision_recall_f1, roc_areas


def section_terms(labels, scores, domains, year: int = DEFAULT_YEAR, max_fpr: float = 0.1) -> dict[str, float]:
    """
    The terms of one machine's section (a machine id in 2020) that enter the official score of a year.

    2020: `auc`, `pauc`. 2021: `auc_source`, `auc_target`, `pauc_source`, `pauc_target`, each from the clips of its
    domain only (arXiv 2106.04492). Since 2022: `auc_source` and `auc_target`, which compare the normal clips of that
    domain with the anomalies of **both** domains, and `pauc` over all clips (arXiv 2206.05876, 2305.07828).

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`; not used for years without domains.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict[str, float]`: name of the term -> its value in [0, 1].

    Raises:
        ValueError: as for [`~hf_asd.metrics.functional.auc`], an unknown year, an unknown domain, or a domain without
            the clips that its terms need.
    """
    labels, scores = check(labels, scores)
    ones = np.ones((1, len(labels)))
    return {
        name: float(value[0]) for name, value in weighted_terms(labels, scores, domains, ones, year, max_fpr).items()
    }


def official_score(terms: list[dict[str, float]], year: int = DEFAULT_YEAR) -> float:
    """
    The official score of a year from the terms of all its sections.

    Args:
        terms (`list[dict[str, float]]`): one result of [`section_terms`] per section; other keys are ignored.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.

    Returns:
        `float`: the mean over the flat list of terms, harmonic or (2020) arithmetic.
    """
    values = [section[name] for section in terms for name in year_rules(year).terms]
    return float(mean_of_terms(values, year))


def mean_of_terms(values, year: int, axis: int | None = None):
    """
    The mean that a year's official score takes over its terms.

    Args:
        values (array of `float`): values in [0, 1].
        year (`int`): challenge year that defines the score.
        axis (`int`, *optional*): the axis to average over; defaults to all.

    Returns:
        `float` or array.
    """
    arithmetic = year_rules(year).mean == "arithmetic"
    return np.mean(values, axis=axis) if arithmetic else harmonic_mean(values, axis=axis)


def score_table(
    labels, scores, machines, sections, domains, year: int = DEFAULT_YEAR, *, decisions=None, max_fpr: float = 0.1
) -> dict:
    """
    The official scores of a year: per machine and section, per machine, and in total.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.
        machines (array of `str`, shape `(clips,)`), sections (array of `str`, shape `(clips,)`): a machine id of 2020
            is a section.
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`; not used for years without domains.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
        decisions (array of `int` or `bool`, shape `(clips,)`, *optional*): 1 where an anomaly was detected.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict`: `year`, `official_score`, the mean of each term over all sections (harmonic or, for 2020, arithmetic),
        the `arithmetic_mean` and `harmonic_mean` over all terms; `machines`, a dictionary machine -> its
        `official_score` and terms, averaged likewise over its sections; `sections`, a list of dictionaries with
        `machine`, `section`, `clips`, the terms, `auc` (all clips, both domains) and, from decisions,
        `precision_<domain>`, `recall_<domain>`, `f1_<domain>` (from the clips of that domain; without a suffix for
        years without domains).

    Raises:
        ValueError: as for [`section_terms`], unequal lengths, or no clips; names machine and section.
    """
    labels, scores, domains = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(domains)
    columns = {"scores": scores, "machines": machines, "sections": sections, "domains": domains}
    columns |= {} if decisions is None else {"decisions": decisions}
    for name, values in columns.items():
        if len(values) != len(labels):
            raise ValueError(f"{len(labels)} labels but {len(values)} {name}; each clip needs one of each.")
    if len(labels) == 0:
        raise ValueError("there are no clips to score.")
    table = []
    for machine, section, rows in section_rows(machines, sections):
        row = {"machine": machine, "section": section, "clips": len(rows)}
        try:
            row["auc"] = auc(labels[rows], scores[rows])
            row |= section_terms(labels[rows], scores[rows], domains[rows], year, max_fpr)
            if decisions is not None:
                row |= _decision_rates(labels[rows], np.asarray(decisions)[rows], domains[rows], year)
        except ValueError as error:
            raise ValueError(f"{machine}, section {section}: {error}") from error
        table.append(row)
    return summarize(table, year)


def _decision_rates(labels: np.ndarray, decisions: np.ndarray, domains: np.ndarray, year: int) -> dict[str, float]:
    """Precision, recall and F1 of a section's decisions, for each domain where the year has domains."""
    names = ("precision", "recall", "f1")
    if not year_rules(year).has_domains:
        return dict(zip(names, precision_recall_f1(labels, decisions), strict=True))
    rates = {}
    for domain in ("source", "target"):
        inside = domains == domain
        values = precision_recall_f1(labels[inside], decisions[inside])
        rates |= {f"{name}_{domain}": value for name, value in zip(names, values, strict=True)}
    return rates


def summarize(sections: list[dict], year: int) -> dict:
    """The result of [`score_table`] from its `sections`; sections of a published table work, too."""
    names = year_rules(year).terms
    values = [section[name] for section in sections for name in names]
    total, machines = _means(sections, year), {}
    for machine in dict.fromkeys(section["machine"] for section in sections):
        machines[machine] = _means([section for section in sections if section["machine"] == machine], year)
    return {
        "year": year,
        "machines": machines,
        **total,
        "arithmetic_mean": float(np.mean(values)),
        "harmonic_mean": float(harmonic_mean(values)),
        "sections": sections,
    }


def _means(sections: list[dict], year: int) -> dict[str, float]:
    """Official score of some sections, and the mean of each term over them."""
    terms = {
        name: float(mean_of_terms([section[name] for section in sections], year)) for name in year_rules(year).terms
    }
    return {"official_score": official_score(sections, year), **terms}


def section_rows(machines, sections) -> list[tuple[str, str, np.ndarray]]:
    """Machine, section and the positions of its clips, in alphabetical order."""
    groups = {}
    for position, key in enumerate(zip(machines, sections, strict=True)):
        groups.setdefault((str(key[0]), str(key[1])), []).append(position)
    return [(machine, section, np.array(rows)) for (machine, section), rows in sorted(groups.items())]


def weighted_terms(labels, scores, domains, weights, year: int, max_fpr: float = 0.1) -> dict[str, np.ndarray]:
    """
    [`section_terms`] for many weightings of the same clips at once: a bootstrap resample is a row of counts.

    Args:
        labels (`np.ndarray` of shape `(clips,)`), scores (`np.ndarray` of shape `(clips,)`): checked by
            [`~hf_asd.metrics.functional.check`].
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`.
        weights (`np.ndarray` of shape `(resamples, clips)`): how often each clip counts.
        year (`int`): challenge year that defines the score.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict[str, np.ndarray]`: arrays of shape `(resamples,)`.
    """
    rules = year_rules(year)
    if not rules.has_domains:
        area, partial = roc_areas(labels, scores, [1.0, max_fpr], weights)
        return {"auc": area, "pauc": mcclish(partial, max_fpr)}
    domains = np.asarray(domains)
    unknown = sorted(set(domains.tolist()) - {"source", "target"})
    if len(domains) != len(labels) or unknown:
        raise ValueError(
            f"{len(labels)} clips with {len(domains)} domains, of which unknown: {unknown}; the official score of "
            f"{year} needs 'source' or 'target' for every clip. The score of {YEAR_WITHOUT_DOMAINS} needs no domains."
        )
    terms = {}
    for domain in ("source", "target"):
        inside = domains == domain
        used = inside | (labels == 1) if rules.anomalies_of_both_domains else inside
        if not (inside & (labels == 0)).any() or not (used & (labels == 1)).any():
            raise ValueError(
                f"no {'normal' if not (inside & (labels == 0)).any() else 'anomalous'} clip for the {domain} domain; "
                f"the official score of {year} needs both. The score of {YEAR_WITHOUT_DOMAINS} needs no domains."
            )
        area, partial = roc_areas(labels[used], scores[used], [1.0, max_fpr], weights[:, used])
        terms |= {f"auc_{domain}": area, f"pauc_{domain}": mcclish(partial, max_fpr)}
    if "pauc" in rules.terms:
        terms["pauc"] = mcclish(roc_areas(labels, scores, [max_fpr], weights)[0], max_fpr)
    return {name: terms[name] for name in rules.terms}
