"""p-values and a threshold from the leave-one-out scores of normal clips."""

import math
import warnings

import numpy as np

from ..options import check_word
from .config import ThresholdMethod


# For cards.
DESCRIPTIONS: dict[ThresholdMethod, str] = {
    "conformal": "at the rank among them that a new normal recording exceeds at the stated rate on average",
    "quantile": "their quantile, which new normal recordings exceed more often where there are few",
    "gamma": "the quantile of a gamma distribution fitted to them (of their rank where none fits)",
}
GAMMA_CLIPS = 50  # fewer scores determine neither a shape nor whether it fits
FIT_LEVEL = 0.05
LEAST_SKEWNESS = 0.2  # with less, a gamma distribution is practically a normal one


def p_values(scores: np.ndarray, normal_scores: np.ndarray) -> np.ndarray:
    """
    Conformal p-values: the share of normal clips that score as high.

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


def threshold_from(
    normal_scores: np.ndarray, false_alarm_rate: float, method: ThresholdMethod = "conformal"
) -> tuple[float, float]:
    """
    The threshold that normal clips exceed at a given rate.

    Args:
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.
        false_alarm_rate (`float`): accepted share of false alarms among normal clips, between 0 and 1.
        method (`str`, *optional*, defaults to `"conformal"`):
            - `"conformal"`: the score of the rank that a new normal clip exceeds at most at the accepted rate, on
              average over installations, whatever the distribution of the scores;
            - `"quantile"`: the empirical quantile, interpolated; exceeded more often where clips are few;
            - `"gamma"`: the quantile of a gamma distribution; its location is fixed first, by the moments of the
              scores. It can promise rates below `1 / (n + 1)`, as far as the distribution is right: with fewer than 50
              clips, or where the scores do not follow it, a warning is given and `"conformal"` is used.

    Returns:
        `tuple[float, float]`: the threshold (a clip is anomalous when its score exceeds it) and the false-alarm rate
        that it stands for. With `n` normal clips no rate below `1 / (n + 1)` can be promised without an assumption on
        the distribution; then the threshold is their highest score and the second value says `1 / (n + 1)`.

    Raises:
        ValueError: the rate is not between 0 and 1, or an unknown method.
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(
            f"false_alarm_rate is {false_alarm_rate}; accepted is a share between 0 and 1, for example 0.05."
        )
    check_word("threshold_method", method, ThresholdMethod)
    n = len(normal_scores)
    promised = max(false_alarm_rate, 1 / (n + 1))
    if method == "quantile":
        return float(np.quantile(normal_scores, 1 - false_alarm_rate)), promised
    if method == "gamma":
        threshold = _gamma_threshold(np.asarray(normal_scores, dtype=float), false_alarm_rate)
        if threshold is not None:
            return threshold, false_alarm_rate
    # The share of normal clips above the r-th smallest of n scores is (n + 1 - r) / (n + 1) on average. The tiny term
    # keeps a product such as 0.95 * 20 from being rounded up to 20.
    rank = min(math.ceil((1 - false_alarm_rate) * (n + 1) - 1e-9), n)
    return float(np.sort(normal_scores)[rank - 1]), promised


def _gamma_threshold(scores: np.ndarray, false_alarm_rate: float) -> float | None:
    """`None`, with a warning, where no gamma distribution can be fitted."""
    from scipy import stats  # takes a second, and few detectors need it

    if len(scores) < GAMMA_CLIPS or np.ptp(scores) == 0:
        warnings.warn(
            f"{len(scores)} normal clips (or identical ones) are too few to fit a gamma distribution, at least "
            f"{GAMMA_CLIPS} are needed; the conformal threshold is used.",
            stacklevel=3,
        )
        return None
    # The likelihood of a location grows without bound as it nears the lowest score, so it is set before the fit: by
    # the first three moments (skewness 2 / sqrt(shape)), below the lowest score.
    skewness = max(float(stats.skew(scores)), LEAST_SKEWNESS)
    location = float(min(scores.mean() - 2 * scores.std() / skewness, scores.min() - np.ptp(scores) / len(scores)))
    shape, _, scale = stats.gamma.fit(scores, floc=location)
    fit = stats.goodness_of_fit(
        stats.gamma,
        scores,
        known_params={"loc": location},
        statistic="ad",
        n_mc_samples=99,
        rng=np.random.default_rng(0),
    )
    if fit.pvalue <= FIT_LEVEL:
        warnings.warn(
            f"The normal clips' scores do not follow a gamma distribution (Anderson-Darling, p = {fit.pvalue:.3f}); "
            "the conformal threshold is used.",
            stacklevel=3,
        )
        return None
    return float(stats.gamma.ppf(1 - false_alarm_rate, shape, location, scale))
