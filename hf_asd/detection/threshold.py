"""p-values and a threshold from the leave-one-out scores of normal clips."""

import warnings
from typing import Literal

import numpy as np

from ..options import check_word
from .config import ThresholdMethod
from .score_tail import ScoreTail


# For cards.
DESCRIPTIONS: dict[ThresholdMethod, str] = {
    "tail": "where an exponential tail fitted to the highest of them reaches the stated rate, and no higher than "
    "their quantile where they are enough for it",
    "conformal": "at the rank among them that a new normal recording exceeds at the stated rate on average",
    "quantile": "their quantile, which new normal recordings exceed more often where there are few",
    "gamma": "the quantile of a gamma distribution fitted to them (of their rank where none fits)",
}
FEW_CLIPS, FEW_CLIPS_FACTOR = 20, 3
UNUSUAL_FACTOR, UNUSUAL_SHARE = 2, 0.95
GAMMA_CLIPS = 50  # fewer scores determine neither a shape nor whether it fits
FIT_LEVEL = 0.05
MOST_WEIGHT = 2.0  # of a recording whose session has few
LEAST_SKEWNESS = 0.2  # with less, a gamma distribution is practically a normal one


def recording_weights(recordings: np.ndarray | None, count: int, sessions: np.ndarray | None = None) -> np.ndarray:
    """
    How much the score of each normal clip counts.

    Pieces of one recording resemble one another, so that a hundred of them tell no more about the next recording than
    one. Each recording counts once, its pieces in equal parts. Of a single recording nothing but the pieces can be
    counted: then each counts once, and what follows holds for sound like that of this recording only. Where sessions
    are known, all of them count the same together, however many recordings each has: a new recording is of a new
    session. But no recording counts for more than two: a session of one or two does not show what sessions are like.

    Args:
        recordings (`np.ndarray` of shape `(clips,)`, *optional*): a number for each clip, the same for all pieces of a
            recording; `None` where each clip is a recording of its own.
        count (`int`): how many clips there are.
        sessions (`np.ndarray` of shape `(clips,)`, *optional*): a number for each clip, the same for a whole session.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64: their sum is the number of recordings, or of the pieces of a single
        one.
    """
    weights = np.ones(count)
    if recordings is not None:
        _, own, pieces = np.unique(recordings, return_inverse=True, return_counts=True)
        weights = weights if len(pieces) == 1 else 1 / pieces[own]
    if sessions is None:
        return weights
    _, own = np.unique(sessions, return_inverse=True)
    totals = np.bincount(own, weights)
    # The factor of each session; what one may not have is for the others.
    factors, is_free = np.ones(len(totals)), np.ones(len(totals), dtype=bool)
    while is_free.any():
        left = totals.sum() - factors[~is_free] @ totals[~is_free]
        factors[is_free] = left / is_free.sum() / totals[is_free]
        is_over = is_free & (factors > MOST_WEIGHT)
        if not is_over.any():
            break
        factors[is_over], is_free[is_over] = MOST_WEIGHT, False
    return weights * factors[own]


def p_values(scores: np.ndarray, normal_scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """
    Conformal p-values: the share of normal clips that score as high.

    Args:
        scores (`np.ndarray` of shape `(clips,)`): anomaly scores, float.
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.
        weights (`np.ndarray` of shape `(references,)`, *optional*): of [`recording_weights`]; by default each clip is
            a recording.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64, from `1 / (recordings + 1)` to 1: the share of normal recordings,
        the new one itself counted in, that score at least as high (V. Vovk, A. Gammerman, G. Shafer, "Algorithmic
        Learning in a Random World"; with several pieces a recording: Y. Lee, R. Barber, R. Willett 2023,
        "Distribution-free inference with hierarchical data", arXiv 2306.06342).
    """
    weights = np.ones(len(normal_scores)) if weights is None else weights
    order = np.argsort(normal_scores)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    as_high = above[np.searchsorted(normal_scores[order], scores, side="left")]
    return (as_high + 1) / (weights.sum() + 1)


def threshold_from(
    normal_scores: np.ndarray,
    false_alarm_rate: float,
    method: ThresholdMethod = "tail",
    weights: np.ndarray | None = None,
) -> tuple[float, float]:
    """
    The threshold that normal clips exceed at a given rate.

    Args:
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.
        false_alarm_rate (`float`): accepted share of false alarms among normal clips, between 0 and 1.
        method (`str`, *optional*, defaults to `"tail"`):
            - `"tail"`: the score with this p-value by [`~hf_asd.detection.score_tail.ScoreTail`]: new normal clips
              exceed it at the accepted rate on average over installations, neither more nor less often, as far as the
              highest scores fall off exponentially. One unusual normal clip does not set it alone. Where there are so
              many clips that ranks promise as much (from 19 on for 5 %), it is no higher than the quantile between
              their ranks (type 6 of R. Hyndman and Y. Fan 1996). The tail of fewer clips is so uncertain that its
              threshold would hide most faults: where a single one of them is at most three times the accepted share
              (6 to 18 clips for 5 %), the threshold is no higher than the highest normal score;
            - `"conformal"`: the score of the rank that a new normal clip exceeds at most at the accepted rate, on
              average over installations, whatever the distribution of the scores;
            - `"quantile"`: the empirical quantile, interpolated; exceeded more often where clips are few;
            - `"gamma"`: the quantile of a gamma distribution; its location is fixed first, by the moments of the
              scores. It can promise rates below `1 / (n + 1)`, as far as the distribution is right: with fewer than 50
              clips, or where the scores do not follow it, a warning is given and `"conformal"` is used.
        weights (`np.ndarray` of shape `(references,)`, *optional*): of [`recording_weights`]; by default each clip is
            a recording.

    Returns:
        `tuple[float, float]`: the threshold (a clip is anomalous when its score exceeds it) and the false-alarm rate
        that it stands for. With `n` normal recordings no rate below `1 / (n + 1)` can be promised without an
        assumption on the distribution; then the second value says what can be. `"tail"` makes this assumption, and
        promises the accepted rate from 20 recordings on. The conformal threshold is then the highest score, or, where
        recordings were cut into pieces, the score that half of the accepted rate of the pieces exceed: the highest of
        hundreds of pieces would hide most faults.

    Raises:
        ValueError: the rate is not between 0 and 1, or an unknown method.
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(
            f"false_alarm_rate is {false_alarm_rate}; accepted is a share between 0 and 1, for example 0.05."
        )
    check_word("threshold_method", method, ThresholdMethod)
    weights = np.ones(len(normal_scores)) if weights is None else weights
    n = weights.sum()
    if method == "tail":
        return _tail_threshold(np.asarray(normal_scores), false_alarm_rate, weights)
    if method == "quantile":
        return _quantile(normal_scores, 1 - false_alarm_rate, weights), max(false_alarm_rate, 1 / (n + 1))
    if method == "gamma":
        threshold = _gamma_threshold(np.asarray(normal_scores, dtype=float), false_alarm_rate)
        if threshold is not None:
            return threshold, false_alarm_rate
    return _conformal(np.asarray(normal_scores), false_alarm_rate, weights)


def promise_without(false_alarm_rate: float, kept: int, dropped: int) -> float:
    """
    The share of false alarms after normal recordings that stood out were left out.

    As many of the new recordings can stand out as of the old ones, and each of these raises the alarm.

    Args:
        false_alarm_rate (`float`): that the threshold stands for by the recordings that were kept.
        kept, dropped (`int`): numbers of recordings.
    """
    return (false_alarm_rate * (kept + 1) + dropped) / (kept + dropped + 1)


def _conformal(normal_scores: np.ndarray, false_alarm_rate: float, weights: np.ndarray) -> tuple[float, float]:
    n = weights.sum()
    # On average a share of (1 + a) / (n + 1) of new recordings lies above a score that `a` of n normal recordings
    # exceed. The tiny term keeps a sum such as 20 times 0.05 from being rounded below 1.
    allowed = max(false_alarm_rate * (n + 1) - 1, false_alarm_rate * n / 2) + 1e-9
    order = np.argsort(normal_scores)[::-1]
    above = np.cumsum(weights[order]) - weights[order]  # of the scores in falling order
    place = int(np.searchsorted(above, allowed, side="right")) - 1
    return float(normal_scores[order[place]]), max(false_alarm_rate, float((1 + above[place]) / (n + 1)))


def _interpolated(scores: np.ndarray, false_alarm_rate: float, weights: np.ndarray) -> float:
    """The quantile of type 6 of R. Hyndman and Y. Fan 1996, which new normal recordings exceed at the rate."""
    order = np.argsort(scores)[::-1]
    above = np.cumsum(weights[order]) - weights[order]
    return float(np.interp(false_alarm_rate, (1 + above) / (weights.sum() + 1), scores[order]))


def unusual_threshold(
    normal_scores: np.ndarray, false_alarm_rate: float, method: ThresholdMethod, weights: np.ndarray
) -> float:
    """
    The score above which a clip is called unusual: the threshold for twice the rate of false alarms, or what 95 % of
    the normal clips do not exceed, whichever is lower.

    Args:
        normal_scores, false_alarm_rate, method, weights: as for [`threshold_from`].
    """
    usual = _quantile(np.asarray(normal_scores), UNUSUAL_SHARE, weights, method="inverted_cdf")
    rate = UNUSUAL_FACTOR * false_alarm_rate
    if rate >= 1:
        return usual
    # Whether a gamma distribution fits takes long to find out, for a word that needs no such precision.
    return min(usual, threshold_from(normal_scores, rate, "tail" if method == "gamma" else method, weights)[0])


def _tail_threshold(scores: np.ndarray, false_alarm_rate: float, weights: np.ndarray) -> tuple[float, float]:
    threshold, n = ScoreTail(scores, weights).score(false_alarm_rate), weights.sum()
    if false_alarm_rate * (n + 1) >= 1 - 1e-9:
        return min(threshold, _interpolated(scores, false_alarm_rate, weights)), false_alarm_rate
    if n >= FEW_CLIPS:
        return threshold, false_alarm_rate
    lowest_rate = float(1 / (n + 1))
    if lowest_rate <= FEW_CLIPS_FACTOR * false_alarm_rate:
        threshold = min(threshold, float(scores.max()))
    return threshold, lowest_rate


def _quantile(
    scores: np.ndarray, share: float, weights: np.ndarray, method: Literal["linear", "inverted_cdf"] = "linear"
) -> float:
    if (weights == 1).all():
        return float(np.quantile(scores, share, method=method))
    return float(np.quantile(scores, share, weights=weights, method="inverted_cdf"))


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
