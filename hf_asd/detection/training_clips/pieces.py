"""Whether recordings are pieces of one recording: each begins where the one before it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ...audio.stored_sound import StoredSound


ORDER = 32  # samples that predict the next one
JOINED = 32  # samples beyond a cut that are compared
OTHERS = 30  # clips that might follow instead, against which the next one is compared
BEYOND_DOUBT = 10.0  # natural logarithm: likelier by so much than every clip that might follow instead
PROVEN_JOINS = 3  # joins beyond doubt; fewer may be chance or a single recording that was split
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

    Attributes:
        predictors (`np.ndarray` of shape `(33, 33)`): row `k` holds the linear predictor from `k` samples before, as
            coefficients of a residual, the newest sample first.
        variances (`np.ndarray` of shape `(33,)`): of the residuals of each.
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

    @property
    def predictors(self) -> np.ndarray:
        return self._prediction[0]

    @property
    def variances(self) -> np.ndarray:
        return self._prediction[1]

    @cached_property
    def _prediction(self) -> tuple[np.ndarray, np.ndarray]:
        return _levinson(self.correlation)


def _levinson(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictors of all orders, by the recursion of Levinson and Durbin."""
    predictors, variances = np.zeros((ORDER + 1, ORDER + 1)), np.zeros(ORDER + 1)
    predictors[:, 0], variances[0] = 1, correlation[0]
    for order in range(1, ORDER + 1):
        before = predictors[order - 1, :order]
        reflection = -(before @ correlation[order:0:-1]) / variances[order - 1]
        predictors[order, : order + 1] = predictors[order - 1, : order + 1]
        predictors[order, 1 : order + 1] += reflection * predictors[order - 1, order - 1 :: -1][:order]
        variances[order] = variances[order - 1] * (1 - reflection**2)
    return predictors, variances


def continuation(end: Ends, heads: np.ndarray) -> np.ndarray:
    """
    How much more likely the heads of clips are as a continuation of a clip than by themselves.

    Args:
        end ([`Ends`]): of the clip that may be continued.
        heads (`np.ndarray` of shape `(clips, 32)`): first samples of clips that may follow.

    Returns:
        `np.ndarray` of shape `(clips,)`: the logarithm of the likelihood ratio under the clip's linear prediction,
        for normally distributed residuals.
    """
    joined = np.concatenate([np.repeat(end.last[None], len(heads), axis=0), heads], axis=1)
    total = np.zeros(len(heads))
    for sample in range(JOINED):
        alone = _residual(end, heads, sample, min(sample, ORDER))
        continued = _residual(end, joined, ORDER + sample, ORDER)
        total += alone - continued
    return total


def _residual(end: Ends, signals: np.ndarray, sample: int, order: int) -> np.ndarray:
    """Minus the log likelihood of one sample given those before it."""
    window = signals[:, sample - order : sample + 1][:, ::-1]
    error = window @ end.predictors[order, : order + 1]
    return 0.5 * (np.square(error) / end.variances[order] + np.log(end.variances[order]))


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
    for row, (end, following) in enumerate(pairwise(ends)):
        if end is None or following is None or end.sampling_rate != following.sampling_rate:
            continue
        others = [
            other.head
            for place, other in enumerate(ends)
            if place not in (row, row + 1) and other is not None and other.sampling_rate == end.sampling_rate
        ]
        if not others:
            continue
        chosen = rng.permutation(len(others))[:OTHERS]
        heads = np.stack([following.head, *(others[place] for place in chosen)])
        likelihood, *others_likelihood = continuation(end, heads).tolist()
        likelihoods.append(likelihood)
        ranks.append(np.mean(likelihood > np.array(others_likelihood)))
        proven += likelihood > max(0, max(others_likelihood) + BEYOND_DOUBT)
    if proven >= PROVEN_JOINS:
        return proven
    # Ranks are spread evenly from 0 to 1 where the next clip is one like the others.
    deviation = (np.mean(ranks) - 0.5) * np.sqrt(12 * len(ranks)) if ranks else 0.0
    return len(ranks) if deviation > LIKELY_TOGETHER and np.median(likelihoods) > 0 else 0
