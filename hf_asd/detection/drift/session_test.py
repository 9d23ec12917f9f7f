"""A sequential test: is a session of recordings unlike all sessions before it?"""

from dataclasses import dataclass

import numpy as np
import torch

from ...embedding.band_statistics import DECIBELS, NUM_BANDS, QUANTILES
from ..memory_bank import MemoryBank


RATE, PERIOD = 0.05, 30  # drift is raised without drift in this share of installations, in so many sessions
# Of the rate that is used: days differ by more than normal distributions let expect. p-values below 0.001 are twice as
# frequent on 172 installations of benchmarks/drift.py and three times on 84 with the days of benchmarks/sessions.py.
RESERVE = 0.3
LEVELS = len(QUANTILES) * NUM_BANDS
CLIPS_AT_ONCE = 3  # clips whose mean is compared in shape: sessions of all sizes are then alike
FEWEST_SESSIONS = 4  # fewer do not show how sessions differ
LOUDEST = 2  # place of the 90 % quantile over time
LEAST_BETWEEN = 0.1  # variance of sessions, at least this part of that of clips


@dataclass(frozen=True)
class SessionResult:
    """
    Args:
        p_value (`float`, *optional*): that sessions like the earlier ones are as unlike them as this one and the one
            before it are together; `None` where there are too few earlier sessions.
        is_drift (`bool`): whether that is below what the rate allows a session.
        num_sessions (`int`): 1 where this session alone is more unlike the earlier ones than both together are, or
            where it is the first; else 2.
    """

    p_value: float | None
    is_drift: bool
    num_sessions: int = 1


class SessionTest:
    """
    Compares each session and the one before it, together, with all sessions before them, those of the normal clips
    included; the first one alone.

    Two things are compared: the level of the loudest tenth of the time, and the shape of the levels in all bands
    beside it. Their p-values follow from the distribution that the earlier sessions have (Student's t for one more of
    them, the squared distance of shapes in logarithms). A moved microphone changes both, and without drift they change
    independently of each other (on simulated installations their correlation is 0.02), so that the product of the
    p-values counts (R. Fisher 1925, "Statistical Methods for Research Workers"). The rate is divided evenly among 30
    sessions (Bonferroni), so that in 30 sessions without drift at most 5 % of installations raise one. Ranks alone, as
    conformal martingales use them (V. Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for
    change-point detection"), would need dozens of sessions first: after six, no rank is less likely than one in seven.

    Args:
        bank ([`MemoryBank`]): of the machine. Where it does not know sessions, all its clips are one.

    Raises:
        ValueError: the embeddings hold no band statistics.
    """

    def __init__(self, bank: MemoryBank):
        embeddings = torch.cat(list(bank.embeddings.values())).float().numpy()
        if not bank.config.has_statistics:
            raise ValueError(
                "this detector has no band statistics, which drift is told by; fit it without --encoder, with the "
                "bundled encoder, or with --with-statistics."
            )
        levels = clip_levels(embeddings)
        groups = bank.recordings if bank.sessions is None else bank.sessions
        numbers = np.zeros(len(levels), int) if groups is None else np.asarray(groups)[: len(levels)]
        self.training = [levels[numbers == number] for number in np.unique(numbers)]
        self._within = _within(self.training)[:, LOUDEST].mean(1).var() if len(levels) > 1 else 1.0
        self._loudness = [float(own[:, LOUDEST].mean()) for own in self.training]
        self._sizes = [len(own) for own in self.training]
        self._mean = np.mean([own.mean(0) for own in self.training], axis=0)
        self._precision = _precision(self.training)
        self._shapes = self._left_out_shapes()

    @property
    def num_sessions(self) -> int:
        """Sessions that the next one is compared with."""
        return len(self._loudness)

    def add(self, levels: np.ndarray) -> SessionResult:
        """
        Compares the next session, and takes it among the earlier ones.

        Args:
            levels (`np.ndarray` of shape `(clips, 3, 31)`): of [`clip_levels`].
        """
        self._loudness.append(float(levels[:, LOUDEST].mean()))
        self._sizes.append(len(levels))
        self._shapes.append(self._shape(levels, self._mean, self._precision, len(self.training)))
        alone, together = self._p_value(1), self._p_value(2)
        p_value = alone if together is None else together
        if p_value is None or alone is None:
            return SessionResult(None, False)
        return SessionResult(p_value, p_value < RESERVE * RATE / PERIOD, 1 if alone <= p_value else 2)

    def _p_value(self, count: int) -> float | None:
        """Of the last sessions together; `None` where there are too few before them."""
        level, shape = self._loudness_p(count), self._shape_p(count)
        if level is None or shape is None:
            return None
        product = max(level * shape, 1e-300)
        return product * (1 - np.log(product))  # chi-squared with four degrees of freedom, of -2 log(product)

    def _loudness_p(self, count: int) -> float | None:
        from scipy import stats

        values, sizes = np.array(self._loudness), np.array(self._sizes)
        before = len(values) - count
        if before < max(FEWEST_SESSIONS, len(self.training)):
            return None
        between = max(values[:before].var(ddof=1) - self._within * (1 / sizes[:before]).mean(), 0.0)
        variance = max(between, LEAST_BETWEEN * self._within) + self._within / sizes
        weights = 1 / variance
        old, new = slice(0, before), slice(before, None)
        mean = np.average(values[old], weights=weights[old])
        spread = (weights[old] * np.square(values[old] - mean)).sum() / (before - 1)
        distance = np.average(values[new], weights=weights[new]) - mean
        scale = spread * (1 / weights[old].sum() + 1 / weights[new].sum())
        return float(2 * stats.t.sf(abs(distance) / np.sqrt(max(scale, 1e-12)), before - 1))

    def _shape_p(self, count: int) -> float | None:
        from scipy import stats

        before = len(self._shapes) - count
        if before < FEWEST_SESSIONS or len(self._loudness) - count < len(self.training):
            return None
        values = np.log(np.maximum(self._shapes, 1e-9))
        spread = max(float(values[:before].std(ddof=1)), 1e-6) * np.sqrt(1 / count + 1 / before)
        return float(stats.t.sf((values[before:].mean() - values[:before].mean()) / spread, before - 1))

    def _left_out_shapes(self) -> list[float]:
        """Of each session of the normal clips beside the others; none where there is only one."""
        shapes, count = [], len(self.training)
        for place, own in enumerate(self.training):
            others = self.training[:place] + self.training[place + 1 :]
            if others:
                mean = np.mean([other.mean(0) for other in others], axis=0)
                shapes.append(self._shape(own, mean, _precision(others), count - 1))
        return shapes

    @staticmethod
    def _shape(levels: np.ndarray, mean: np.ndarray, precision: np.ndarray, count: int) -> float:
        """How far the levels of a session lie from the mean of others, as a squared distance."""
        parts = np.array_split(levels, max(1, len(levels) // CLIPS_AT_ONCE))
        distances = np.stack([_shape_of(part.mean(0) - mean).ravel() for part in parts])
        size = min(CLIPS_AT_ONCE, len(levels)) / CLIPS_AT_ONCE
        return float(np.median(np.einsum("ij,jk,ik->i", distances, precision, distances)) * size / (1 + 1 / count))


def clip_levels(embeddings: np.ndarray) -> np.ndarray:
    """
    Levels of clips in dB: the 10, 50 and 90 % quantiles over time of each of 31 bands.

    Args:
        embeddings (`np.ndarray` of shape `(clips, dimensions)`): band statistics first.

    Returns:
        `np.ndarray` of shape `(clips, 3, 31)`.
    """
    return DECIBELS * embeddings[:, :LEVELS].astype(np.float64).reshape(-1, len(QUANTILES), NUM_BANDS)


def _shape_of(levels: np.ndarray) -> np.ndarray:
    """Levels beside that of the loudest tenth of the time, the mean over its bands."""
    return levels - levels[..., LOUDEST : LOUDEST + 1, :].mean(-1, keepdims=True)


def _within(sessions: list[np.ndarray]) -> np.ndarray:
    """Clips around the mean of their session, scaled so that their variance is that of clips in a session."""
    count = sum(map(len, sessions))
    scale = np.sqrt(count / max(count - len(sessions), 1))
    return np.concatenate([own - own.mean(0) for own in sessions]) * scale


def _precision(sessions: list[np.ndarray]) -> np.ndarray:
    from sklearn.covariance import ledoit_wolf

    deviations = _shape_of(_within(sessions)).reshape(sum(map(len, sessions)), -1)
    covariance = ledoit_wolf(deviations, assume_centered=True)[0]
    return np.linalg.inv(covariance + 1e-6 * np.eye(len(covariance)))
