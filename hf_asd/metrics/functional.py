"""
Plain numpy metrics of DCASE Task 2: AUC, partial AUC, the official score of every year.

Labels are 1 for an anomaly and 0 for a normal clip; a higher score means more anomalous. Ties count half, as in the
trapezoidal ROC. Infinite scores are scores like any other (they rank last or first and tie with each other); NaN is an
error, and so is a class without a clip, because then no AUC exists.
"""

import sys

import numpy as np


YEARS = range(2020, 2027)


def auc(labels, scores) -> float:
    """
    Area under the ROC curve.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.

    Returns:
        `float` in [0, 1]: the probability that an anomaly scores higher than a normal clip, ties counting half.

    Raises:
        ValueError: unequal lengths, a NaN, a label other than 0 and 1, or a class without a clip.
    """
    labels, scores = check(labels, scores)
    return float(roc_areas(labels, scores, [1.0])[0])


def pauc(labels, scores, max_fpr: float = 0.1) -> float:
    """
    Partial AUC up to a false-positive rate, standardized after McClish (1989): 0.5 is chance, 1 is perfect. The
    definition of `sklearn.metrics.roc_auc_score(max_fpr=...)`.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.
        max_fpr (`float`, *optional*, defaults to 0.1): the largest false-positive rate, above 0 and at most 1.

    Returns:
        `float` in [0, 1].

    Raises:
        ValueError: as for [`auc`], or `max_fpr` is out of range.
    """
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr is {max_fpr!r}; accepted are values above 0 and at most 1.")
    labels, scores = check(labels, scores)
    return float(mcclish(roc_areas(labels, scores, [max_fpr])[0], max_fpr))


def precision_recall_f1(labels, decisions) -> tuple[float, float, float]:
    """
    Precision, recall and F1 of the anomalies.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        decisions (array of `int` or `bool`, shape `(clips,)`): 1 where an anomaly was detected.

    Returns:
        `tuple[float, float, float]`; 0 where a denominator is 0.
    """
    labels, decisions = np.asarray(labels), np.asarray(decisions)
    if labels.shape != decisions.shape:
        raise ValueError(f"{labels.size} labels but {decisions.size} decisions; one decision a clip is needed.")
    if not np.isin(decisions, (0, 1)).all():
        raise ValueError(f"decisions hold {sorted(set(decisions.tolist()) - {0, 1})}; accepted are 0 and 1.")
    hits, detected, anomalies = (labels * decisions).sum(), decisions.sum(), labels.sum()
    precision = hits / detected if detected else 0.0
    recall = hits / anomalies if anomalies else 0.0
    f1 = 2 * hits / (detected + anomalies) if detected + anomalies else 0.0
    return float(precision), float(recall), float(f1)


def harmonic_mean(values, axis=None):
    """
    Harmonic mean with values floored at machine epsilon, as the challenge does: one value of 0 pulls it to about 0.

    Args:
        values (array of `float`): values in [0, 1].
        axis (`int`, *optional*): the axis to average over; defaults to all.

    Returns:
        `float` or array.
    """
    return 1 / np.mean(1 / np.maximum(np.asarray(values, dtype=float), sys.float_info.epsilon), axis=axis)


def section_terms(labels, scores, domains, year: int = 2025, max_fpr: float = 0.1) -> dict[str, float]:
    """
    The terms of one machine's section (a machine id in 2020) that enter the official score of a year.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`; not read for 2020.
        year (`int`, *optional*, defaults to 2025): 2020 to 2026.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict[str, float]`: 2020 `auc`, `pauc`; 2021 `auc_source`, `auc_target`, `pauc_source`, `pauc_target`, each
        from its domain's clips only (arXiv 2106.04492); from 2022 on `auc_source` and `auc_target`, where that
        domain's normal clips meet the anomalies of **both** domains, and `pauc` over all clips (arXiv 2206.05876,
        2305.07828).

    Raises:
        ValueError: as for [`auc`], an unknown year, a domain that is neither of the two or lacks the clips.
    """
    labels, scores = check(labels, scores)
    ones = np.ones((1, len(labels)))
    return {
        name: float(value[0]) for name, value in weighted_terms(labels, scores, domains, ones, year, max_fpr).items()
    }


def official_score(terms: list[dict[str, float]], year: int = 2025) -> float:
    """
    The official score of a year from the terms of all its sections.

    Args:
        terms (`list[dict[str, float]]`): one dictionary a section, as of [`section_terms`]; other keys are not read.
        year (`int`, *optional*, defaults to 2025): 2020 to 2026.

    Returns:
        `float`: harmonic mean over the flat list of terms; for 2020 their arithmetic mean.
    """
    values = [section[name] for section in terms for name in term_names(year)]
    return float(np.mean(values) if year == 2020 else harmonic_mean(values))


def score_table(
    labels, scores, machines, sections, domains, year: int = 2025, *, decisions=None, max_fpr: float = 0.1
) -> dict:
    """
    The official scores of a year: per machine and section, per machine, and in total.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.
        machines (array of `str`, shape `(clips,)`), sections (array of `str`, shape `(clips,)`): a machine id of 2020
            is a section.
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`; not read for 2020.
        year (`int`, *optional*, defaults to 2025): 2020 to 2026.
        decisions (array of `int` or `bool`, shape `(clips,)`, *optional*): 1 where an anomaly was detected.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict`: `year`, `official_score`, the mean of each term over all sections (harmonic; arithmetic for 2020), the
        `arithmetic_mean` and `harmonic_mean` over all terms; `machines`, a dictionary machine -> its `official_score`
        and terms, averaged likewise over its sections; `sections`, a list of dictionaries with `machine`, `section`,
        `clips`, the terms, `auc` (all clips, both domains) and, from decisions, `precision_<domain>`,
        `recall_<domain>`, `f1_<domain>` (that domain's clips only; without a suffix for 2020).

    Raises:
        ValueError: as for [`section_terms`], unequal lengths, no clips; names machine and section.
    """
    labels, scores, domains = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(domains)
    columns = {"scores": scores, "machines": machines, "sections": sections, "domains": domains}
    columns |= {} if decisions is None else {"decisions": decisions}
    for name, values in columns.items():
        if len(values) != len(labels):
            raise ValueError(f"{len(labels)} labels but {len(values)} {name}; one of each a clip is needed.")
    if len(labels) == 0:
        raise ValueError("there are no clips, nothing to score.")
    table = []
    for machine, section, rows in section_rows(machines, sections):
        row = {"machine": machine, "section": section, "clips": len(rows)}
        try:
            row["auc"] = auc(labels[rows], scores[rows])
            row |= section_terms(labels[rows], scores[rows], domains[rows], year, max_fpr)
            for domain in () if decisions is None else ("",) if year == 2020 else ("source", "target"):
                inside = rows if year == 2020 else rows[domains[rows] == domain]
                values = precision_recall_f1(labels[inside], np.asarray(decisions)[inside])
                names = [f"{name}_{domain}".rstrip("_") for name in ("precision", "recall", "f1")]
                row |= dict(zip(names, values, strict=True))
        except ValueError as error:
            raise ValueError(f"{machine}, section {section}: {error}") from error
        table.append(row)
    return summarize(table, year)


def summarize(sections: list[dict], year: int) -> dict:
    """The result of [`score_table`] from its `sections`; a published table can be fed in, too."""
    values = [section[name] for section in sections for name in term_names(year)]
    mean = np.mean if year == 2020 else harmonic_mean
    result = {"year": year, "machines": {}}
    for machine in (None, *dict.fromkeys(section["machine"] for section in sections)):
        part = [section for section in sections if machine in (None, section["machine"])]
        means = {name: float(mean([section[name] for section in part])) for name in term_names(year)}
        means = {"official_score": official_score(part, year), **means}
        if machine is None:
            result |= means
        else:
            result["machines"][machine] = means
    result |= {"arithmetic_mean": float(np.mean(values)), "harmonic_mean": float(harmonic_mean(values))}
    return {**result, "sections": sections}


def section_rows(machines, sections) -> list[tuple[str, str, np.ndarray]]:
    """Machine, section and the positions of its clips, in alphabetical order."""
    groups = {}
    for position, key in enumerate(zip(machines, sections, strict=True)):
        groups.setdefault((str(key[0]), str(key[1])), []).append(position)
    return [(machine, section, np.array(rows)) for (machine, section), rows in sorted(groups.items())]


def term_names(year: int) -> tuple[str, ...]:
    """The names of a section's terms in a year's official score."""
    if year not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are 2020 to 2026.")
    if year == 2020:
        return ("auc", "pauc")
    if year == 2021:
        return ("auc_source", "auc_target", "pauc_source", "pauc_target")
    return ("auc_source", "auc_target", "pauc")


def weighted_terms(labels, scores, domains, weights, year: int, max_fpr: float = 0.1) -> dict[str, np.ndarray]:
    """
    [`section_terms`] for many weightings of the same clips at once: a bootstrap resample is a row of counts.

    Args:
        labels (`np.ndarray` of shape `(clips,)`), scores (`np.ndarray` of shape `(clips,)`): checked by [`check`].
        domains (array of `str`, shape `(clips,)`): `"source"` or `"target"`.
        weights (`np.ndarray` of shape `(resamples, clips)`): how often each clip counts.
        year (`int`): 2020 to 2026.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `dict[str, np.ndarray]`: arrays of shape `(resamples,)`.
    """
    names = term_names(year)
    if year == 2020:
        area, partial = roc_areas(labels, scores, [1.0, max_fpr], weights)
        return {"auc": area, "pauc": mcclish(partial, max_fpr)}
    domains = np.asarray(domains)
    strange = sorted(set(domains.tolist()) - {"source", "target"})
    if len(domains) != len(labels) or strange:
        raise ValueError(
            f"{len(labels)} clips with {len(domains)} domains, of which unknown: {strange}; the official score of "
            f"{year} needs 'source' or 'target' for every clip. Scoring as in 2020 needs no domain."
        )
    terms = {}
    for domain in ("source", "target"):
        inside = domains == domain
        # Since 2022 the anomalies of both domains count, because a system has one threshold for both.
        used = inside if year == 2021 else inside | (labels == 1)
        if not (inside & (labels == 0)).any() or not (used & (labels == 1)).any():
            raise ValueError(
                f"no {'normal' if not (inside & (labels == 0)).any() else 'anomalous'} clip for the {domain} domain; "
                f"the official score of {year} needs both. Scoring as in 2020 needs no domain."
            )
        area, partial = roc_areas(labels[used], scores[used], [1.0, max_fpr], weights[:, used])
        terms |= {f"auc_{domain}": area, f"pauc_{domain}": mcclish(partial, max_fpr)}
    if year > 2021:
        terms["pauc"] = mcclish(roc_areas(labels, scores, [max_fpr], weights)[0], max_fpr)
    return {name: terms[name] for name in names}


def roc_areas(labels, scores, max_fprs: list[float], weights=None) -> np.ndarray:
    """
    Areas under the trapezoidal ROC curve up to several false-positive rates, for many weightings of the clips.

    Args:
        labels (`np.ndarray` of shape `(clips,)`), scores (`np.ndarray` of shape `(clips,)`): checked by [`check`].
        max_fprs (`list[float]`): false-positive rates.
        weights (`np.ndarray` of shape `(resamples, clips)`, *optional*): how often each clip counts; defaults to once.

    Returns:
        `np.ndarray` of shape `(len(max_fprs), resamples)`, or `(len(max_fprs),)` without weights.
    """
    plain = weights is None
    weights = np.ones((1, len(labels))) if plain else weights
    order = np.argsort(-scores, kind="stable")
    # The curve has a corner only where the score changes: clips that tie are taken in one step.
    ends = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    anomalous = labels[order] == 1
    hits = np.cumsum(weights[:, order] * anomalous, axis=1)[:, ends]
    alarms = np.cumsum(weights[:, order] * ~anomalous, axis=1)[:, ends]
    tpr = np.pad(hits / hits[:, -1:], ((0, 0), (1, 0)))
    fpr = np.pad(alarms / alarms[:, -1:], ((0, 0), (1, 0)))
    width, height = np.diff(fpr), np.diff(tpr)
    areas = []
    for max_fpr in max_fprs:
        inside = np.clip(max_fpr - fpr[:, :-1], 0, width)
        slope = np.divide(height, width, out=np.zeros_like(width), where=width > 0)
        areas.append((inside * (tpr[:, :-1] + inside * slope / 2)).sum(axis=1))
    return np.array(areas)[:, 0] if plain else np.array(areas)


def mcclish(area, max_fpr: float):
    """Standardizes a partial area so that chance is 0.5 and perfection 1 (McClish 1989)."""
    if max_fpr == 1:
        return area
    return 0.5 * (1 + (area - max_fpr**2 / 2) / (max_fpr - max_fpr**2 / 2))


def check(labels, scores) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as arrays, or a `ValueError` that says what is wrong with them."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"labels of shape {labels.shape} but scores of shape {scores.shape}; one of each a clip.")
    if np.isnan(scores).any():
        where = np.flatnonzero(np.isnan(scores))
        raise ValueError(f"{len(where)} of {len(scores)} scores are NaN, the first at position {where[0]}.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels hold {sorted(set(labels.tolist()) - {0, 1})[:5]}; accepted are 0 and 1.")
    if labels.sum() in (0, len(labels)):
        missing = "anomalous" if not labels.sum() else "normal"
        raise ValueError(f"none of the {len(labels)} clips is {missing}; an AUC needs clips of both classes.")
    return labels.astype(int), scores
