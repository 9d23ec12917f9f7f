"""Whether recordings are pieces of one recording: each begins where the one before it ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...audio.stored_sound import StoredSound


ORDER = 32  # samples that predict the next one
JOINED = 32  # samples beyond a cut that are compared
PREDICTED = 512  # clips whose predictors are held at a time
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


def continuation(end: Ends, heads: np.ndarray, predictors: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """
    How much more likely the heads of clips are as a continuation of a clip than by themselves.

    Args:
        end ([`Ends`]): of the clip that may be continued.
        heads (`np.ndarray` of shape `(clips, 32)`): first samples of clips that may follow.
        predictors (`np.ndarray` of shape `(33, 33)`), variances (`np.ndarray` of shape `(33,)`): of [`predict`], of
            the end.

    Returns:
        `np.ndarray` of shape `(clips,)`: the logarithm of the likelihood ratio under the clip's linear prediction,
        for normally distributed residuals.
    """
    joined = np.concatenate([np.repeat(end.last[None], len(heads), axis=0), heads], axis=1)
    # Each sample from those before it: of the head alone, which are few at first, and with the end before it.
    alone = heads @ predictors[ALONE_ORDERS, ALONE_LAGS]
    continued = joined @ np.where(IS_BEFORE, predictors[ORDER, CONTINUED_LAGS], 0)
    alone = np.square(alone) / variances[:JOINED] + np.log(variances[:JOINED])
    continued = np.square(continued) / variances[ORDER] + np.log(variances[ORDER])
    return 0.5 * (alone - continued).sum(1)


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
    rng, likelihoods, ranks, proven = np.random.default_rng(0), [], [], 0
    rates = np.array([0 if end is None else end.sampling_rate for end in ends])
    places = {rate: np.flatnonzero(rates == rate) for rate in set(rates.tolist()) - {0}}
    all_heads = np.array([np.zeros(JOINED) if end is None else end.head for end in ends])
    for row, predictors, variances in _predicted(ends):
        end, following = ends[row], ends[row + 1]
        if end is None or following is None or end.sampling_rate != following.sampling_rate:
            continue
        own = places[end.sampling_rate]
        others = len(own) - 2
        if not others:
            continue
        chosen = rng.choice(others, min(OTHERS, others), replace=False, shuffle=False)
        # All of this rate but the two themselves, which lie beside each other.
        chosen = own[chosen + 2 * (chosen >= np.searchsorted(own, row))]
        heads = np.concatenate([following.head[None], all_heads[chosen]])
        likelihood, *others_likelihood = continuation(end, heads, predictors, variances).tolist()
        likelihoods.append(likelihood)
        ranks.append(np.mean(likelihood > np.array(others_likelihood)))
        proven += likelihood > max(0, max(others_likelihood) + BEYOND_DOUBT)
    if proven >= PROVEN_JOINS:
        return proven
    # Ranks are spread evenly from 0 to 1 where the next clip is one like the others.
    deviation = (np.mean(ranks) - 0.5) * np.sqrt(12 * len(ranks)) if ranks else 0.0
    return len(ranks) if deviation > LIKELY_TOGETHER and np.median(likelihoods) > 0 else 0


def _predicted(ends: Sequence[Ends | None]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The number of each clip but the last that can be continued, with its predictors; some hundred at a time."""
    known = [(row, end.correlation) for row, end in enumerate(ends[:-1]) if end is not None]
    for start in range(0, len(known), PREDICTED):
        rows, correlations = zip(*known[start : start + PREDICTED], strict=True)
        yield from zip(rows, *predict(np.stack(correlations)), strict=True)
