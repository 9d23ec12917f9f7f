"""Backends that scikit-learn has: mixture and local outlier factor."""

from typing import ClassVar, Self

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from ..config import ScoringConfig
from .cross_scores import cross_scores


CLIPS_PER_COMPONENT = 10  # fewer clips give no spread
MAXIMUM_COMPONENTS = 4
OUTLIER_NEIGHBORS = 20  # scikit-learn's default


class SklearnScorer:
    """
    A scikit-learn estimator over one domain's bank.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32.
    """

    description: ClassVar[str]
    minimum_clips: ClassVar[int] = 3

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank)

    def __init__(self, bank: torch.Tensor):
        self.bank = bank
        clips = _array(bank)
        # Identical clips have no spread to divide by.
        self.mean, self.scale = clips.mean(0), max(float(clips.std()), 1e-6)
        self.estimator = self.fit_estimator((clips - self.mean) / self.scale)

    def fit_estimator(self, clips: np.ndarray):
        """The fitted estimator, with `score_samples`; `clips` has the shape `(references, dimensions)`, float64."""
        raise NotImplementedError

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        clips = (_array(queries) - self.mean) / self.scale
        return torch.from_numpy(-self.estimator.score_samples(clips)).to(self.bank.device)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank by an estimator that was fitted without it; see [`cross_scores`]."""
        return cross_scores(type(self), self.bank)


class GaussianMixtureScorer(SklearnScorer):
    """
    Minus the log-likelihood of a Gaussian mixture with diagonal covariances: 4 components, or one for every ten clips
    where that is fewer.
    """

    description = "likelihood under a Gaussian mixture of the normal recordings"

    def fit_estimator(self, clips: np.ndarray) -> GaussianMixture:
        components = max(1, min(MAXIMUM_COMPONENTS, len(clips) // CLIPS_PER_COMPONENT))
        return GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, random_state=0).fit(clips)


class LocalOutlierFactorScorer(SklearnScorer):
    """Local outlier factor among 20 neighbors (M. Breunig et al. 2000)."""

    description = "local outlier factor among the normal recordings"

    def fit_estimator(self, clips: np.ndarray) -> LocalOutlierFactor:
        return LocalOutlierFactor(min(OUTLIER_NEIGHBORS, len(clips) - 1), novelty=True).fit(clips)


def _array(rows: torch.Tensor) -> np.ndarray:
    return rows.double().cpu().numpy()
