"""
AUC, partial AUC, precision, recall and harmonic mean as plain numpy functions.

Labels are 1 for an anomaly and 0 for a normal clip; a higher score means more anomalous. Tied scores count half, as in
the trapezoidal ROC. Infinite scores are valid: they rank first or last and tie with each other. A NaN is an error, and
so is a class without clips, because then no AUC exists.
"""

import sys

import numpy as np


def auc(labels, scores) -> float:
    """
    Area under the ROC curve.

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)`): higher is more anomalous.

    Returns:
        `float` in [0, 1]: the probability that an anomaly scores higher than a normal clip; ties count half.

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
        raise ValueError(f"{labels.size} labels but {decisions.size} decisions; each clip needs one decision.")
    if not np.isin(decisions, (0, 1)).all():
        raise ValueError(f"decisions hold {sorted(set(decisions.tolist()) - {0, 1})}; accepted are 0 and 1.")
    hits, detected, anomalies = (labels * decisions).sum(), decisions.sum(), labels.sum()
    precision = hits / detected if detected else 0.0
    recall = hits / anomalies if anomalies else 0.0
    f1 = 2 * hits / (detected + anomalies) if detected + anomalies else 0.0
    return float(precision), float(recall), float(f1)


def harmonic_mean(values, axis=None):
    """
    Harmonic mean with values of at least machine epsilon, as the challenge computes it: a single 0 makes it about 0.

    Args:
        values (array of `float`): values in [0, 1].
        axis (`int`, *optional*): the axis to average over; defaults to all.

    Returns:
        `float` or array.
    """
    return 1 / np.mean(1 / np.maximum(np.asarray(values, dtype=float), sys.float_info.epsilon), axis=axis)


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
    # The curve has a corner only where the score changes: tied clips form one step.
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
    """Labels and scores as arrays; raises `ValueError` if an AUC cannot be computed from them."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f"labels of shape {labels.shape} but scores of shape {scores.shape}; each clip needs one of each."
        )
    if np.isnan(scores).any():
        where = np.flatnonzero(np.isnan(scores))
        raise ValueError(f"{len(where)} of {len(scores)} scores are NaN, the first at position {where[0]}.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels hold {sorted(set(labels.tolist()) - {0, 1})[:5]}; accepted are 0 and 1.")
    if labels.sum() in (0, len(labels)):
        missing = "anomalous" if not labels.sum() else "normal"
        raise ValueError(f"none of the {len(labels)} clips is {missing}; an AUC needs clips of both classes.")
    return labels.astype(int), scores
