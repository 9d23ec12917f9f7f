"""From leave-one-out scores of normal clips to p-values and a threshold."""

import math

import numpy as np


def p_values(scores: np.ndarray, normal_scores: np.ndarray) -> np.ndarray:
    """
    Conformal p-values: how often a normal clip scores as high.

    Args:
        scores (`np.ndarray` of shape `(clips,)`): anomaly scores, float.
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64, from `1 / (references + 1)` to 1: the share of normal clips, the
        clip itself counted in, that score at least as high (V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in
        a Random World").
    """
    ordered = np.sort(normal_scores)
    as_high = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (as_high + 1) / (len(ordered) + 1)


def threshold_from(normal_scores: np.ndarray, false_alarm_rate: float) -> tuple[float, float]:
    """
    The threshold that normal clips exceed at a given rate.

    Args:
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.
        false_alarm_rate (`float`): accepted share of false alarms among normal clips, between 0 and 1.

    Returns:
        `tuple[float, float]`: the threshold (a clip is anomalous when its score exceeds it) and the false-alarm rate
        that it stands for. With `n` normal clips no rate below `1 / (n + 1)` can be promised; then the threshold is
        their highest score and the second value says `1 / (n + 1)`.

    Raises:
        ValueError: the rate is not between 0 and 1.
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(
            f"false_alarm_rate is {false_alarm_rate}; accepted is a share between 0 and 1, for example 0.05."
        )
    n = len(normal_scores)
    # The share of normal clips above the r-th smallest of n scores is (n + 1 - r) / (n + 1) on average. The tiny term
    # keeps a product such as 0.95 * 20 from being rounded up to 20.
    rank = min(math.ceil((1 - false_alarm_rate) * (n + 1) - 1e-9), n)
    return float(np.sort(normal_scores)[rank - 1]), max(false_alarm_rate, 1 / (n + 1))
