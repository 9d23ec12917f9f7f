"""Whether recordings are pieces of one recording: each begins where the one before it ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...audio.stored_sound import StoredSound


ORDER = 32  # samples that predict the next one
JOINED = 32  # samples beyond a cut that are compared
TOGETHER = 512  # clips that are compared at a time
OTHERS = 30  # clips that might follow instead, against which the next one is compared
BEYOND_DOUBT = 10.0  # natural logarithm: likelier by so much than every clip that might follow instead
PROVEN_JOINS = 3  # joins beyond doubt; fewer may be chance or a single recording that was split
# For each sample of a head (column) and each sample before it (row): which coefficient belongs to it. Coefficients
# beyond the order of a predictor are 0.
_lags = np.arange(JOINED)[None] - np.arange(JOINED)[:, None]
ALONE_ORDERS, ALONE_LAGS = np.broadcast_to(np.arange(JOINED), (JOINED, JOINED)), np.where(_lags < 0, ORDER, _lags)
_lags = ORDER + np.arange(JOINED)[None] - np.arange(ORDER + JOINED)[:, None]
IS_BEFORE = (_lags >= 0) & (_lags <= ORDER)
CONTINUED_LAGS = np.where(IS_BEFORE, _lags, 0)
LIKELY_TOGETHER = 4.0  # standard deviations of the mean rank: 3 in 100 000 sets of independent clips


@dataclass(frozen=True)
class Ends:
    """
    How a clip begins, and what its end lets expect.

    Args:
        head (`np.ndarray` of shape `(32,)`): its first samples.
        last (`np.ndarray` of shape `(32,)`): its last samples.
        correlation (`np.ndarray` of shape `(33,)`): of its end with itself, 0 to 32 samples apart.
        sampling_rate (`int`): in Hz.
    """

    head: np.ndarray
    last: np.ndarray
    correlation: np.ndarray
    sampling_rate: int

    @classmethod
    def of(cls, stored: StoredSound, sampling_rate: int) -> "Ends | None":
        """Of a clip; `None` where it ends in silence, which predicts nothing."""
        tail = stored.tail.astype(np.float64)
        mean = tail.mean()
        tail = tail - mean
        correlation = np.array([tail[: len(tail) - lag] @ tail[lag:] for lag in range(ORDER + 1)]) / len(tail)
        if correlation[0] <= 0:
            return None
        correlation[0] *= 1 + 1e-9  # a steady tone is predicted without an error
        return cls(stored.head[:JOINED] - mean, tail[-ORDER:], correlation, sampling_rate)


def predict(correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Linear predictors of all orders of the ends of clips, by the recursion of Levinson and Durbin.

    Args:
        correlations (`np.ndarray` of shape `(clips, 33)`): of each end.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: predictors of shape `(clips, 33, 33)`, of which row `k` predicts from `k`
        samples before, as coefficients of a residual, the newest sample first; and the variances of these residuals,
        of shape `(clips, 33)`.
    """
    predictors = np.zeros((len(correlations), ORDER + 1, ORDER + 1))
    variances = np.zeros((len(correlations), ORDER + 1))
    predictors[:, :, 0], variances[:, 0] = 1, correlations[:, 0]
    for order in range(1, ORDER + 1):
        before = predictors[:, order - 1, :order]
        reflection = -(before * correlations[:, order:0:-1]).sum(1) / variances[:, order - 1]
        predictors[:, order, : order + 1] = predictors[:, order - 1, : order + 1]
        predictors[:, order, 1 : order + 1] += reflection[:, None] * before[:, ::-1]
        variances[:, order] = variances[:, order - 1] * (1 - reflection**2)
    return predictors, variances


def continuation(ends: Sequence[Ends], heads: np.ndarray, predictors: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """
    How much more likely the heads of clips are as continuations of others than by themselves.

    Args:
        ends (`Sequence[Ends]`): of the clips that may be continued.
        heads (`np.ndarray` of shape `(clips, followers, 32)`): first samples of clips that may follow.
        predictors (`np.ndarray` of shape `(clips, 33, 33)`), variances (`np.ndarray` of shape `(clips, 33)`): of
            [`predict`], of the ends.

    Returns:
        `np.ndarray` of shape `(clips, followers)`: the logarithm of the likelihood ratio under a clip's linear
        prediction, for normally distributed residuals.
    """
    lasts = np.stack([end.last for end in ends])[:, None]
    joined = np.concatenate([np.broadcast_to(lasts, (*heads.shape[:2], ORDER)), heads], axis=2)
    # Each sample from those before it: of the head alone, which are few at first, and with the end before it.
    alone = heads @ predictors[:, ALONE_ORDERS, ALONE_LAGS]
    continued = joined @ np.where(IS_BEFORE, predictors[:, ORDER, CONTINUED_LAGS], 0)
    first, last = variances[:, None, :JOINED], variances[:, None, ORDER:]
    alone = np.square(alone) / first + np.log(first)
    continued = np.square(continued) / last + np.log(last)
    return 0.5 * (alone - continued).sum(2)


def count_joined(ends: Sequence[Ends | None]) -> int:
    """
    How many clips begin where the one before them ends.

    Each clip is compared with the clips that might follow instead. Two things are proof enough: joins of which each is
    beyond doubt, or many joins that are a little likelier than chance, all of them together.

    Args:
        ends (`Sequence[Ends]`): of the clips in the order of their names; `None` for clips that cannot be used.

    Returns:
        `int`: 0 where nothing is proven.
    """
    compared = list(_compared(ends))
    if not compared:
        return 0
    proven = sum(int((own > np.maximum(others.max(1) + BEYOND_DOUBT, 0)).sum()) for own, others in compared)
    if proven >= PROVEN_JOINS:
        return proven
    likelihoods = np.concatenate([own for own, _ in compared])
    ranks = np.concatenate([(own[:, None] > others).mean(1) for own, others in compared])
    # Ranks are spread evenly from 0 to 1 where the next clip is one like the others.
    deviation = (np.mean(ranks) - 0.5) * np.sqrt(12 * len(ranks))
    return len(ranks) if deviation > LIKELY_TOGETHER and np.median(likelihoods) > 0 else 0


def _compared(ends: Sequence[Ends | None]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """
    Of some hundred clips at a time, how likely the next clip continues them, of shape `(clips,)`, and how likely clips
    do that might follow instead, of shape `(clips, others)`.
    """
    rng = np.random.default_rng(0)
    rates = np.array([0 if end is None else end.sampling_rate for end in ends])
    heads = np.array([np.zeros(JOINED) if end is None else end.head for end in ends])
    for rate in sorted(set(rates.tolist()) - {0}):
        own = np.flatnonzero(rates == rate)
        rows = own[:-1][np.diff(own) == 1]
        others = len(own) - 2
        for start in range(0, len(rows) if others > 0 else 0, TOGETHER):
            some = rows[start : start + TOGETHER]
            chosen = np.stack(
                [rng.choice(others, min(OTHERS, others), replace=False, shuffle=False) for _ in some.tolist()]
            )
            # All of this rate but the two themselves, which lie beside each other.
            chosen = own[chosen + 2 * (chosen >= np.searchsorted(own, some)[:, None])]
            followers = heads[np.concatenate([some[:, None] + 1, chosen], axis=1)]
            continued = [end for row in some.tolist() if (end := ends[row]) is not None]
            predicted = predict(np.stack([end.correlation for end in continued]))
            likelihoods = continuation(continued, followers, *predicted)
            yield likelihoods[:, 0], likelihoods[:, 1:]
