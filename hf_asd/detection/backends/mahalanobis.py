"""Mahalanobis distance with a shrunk covariance: what varies together among normal clips counts less."""

from typing import ClassVar, Self

import torch

from ..config import ScoringConfig


class Mahalanobis:
    """
    Distance from the mean of the normal clips, measured by their covariance.

    Dimensions that rise and fall together among normal clips (a louder background lifts all bands) are told from
    those that leave the pattern. The covariance is shrunk towards a multiple of the identity, which makes it usable
    with fewer clips than dimensions. One object a domain, of which the lower score counts, is the selective
    Mahalanobis distance (N. Harada et al. 2023) of the challenge's baseline.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32; at least 2.

    References:
        O. Ledoit, M. Wolf 2004, "A Well-Conditioned SklearnScorer for Large-Dimensional Covariance Matrices".
    """

    description: ClassVar[str] = "Mahalanobis distance from the mean of the normal recordings"
    minimum_clips: ClassVar[int] = 2

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank)

    def __init__(self, bank: torch.Tensor):
        if len(bank) < 2:
            raise ValueError("A single normal clip has no covariance; at least 2 are needed.")
        wide = bank.double()
        self.mean = wide.mean(0)
        # The scale takes no part in the result, but keeps identical clips from dividing by 0.
        self.deviations = wide - self.mean
        self.scale = self.deviations.square().mean().sqrt().clamp_min(1e-6)
        self.deviations /= self.scale
        # The smaller of the two products of the clips tells both the shrinkage and the inverse.
        self.by_clips = len(bank) < bank.shape[1]
        self.product = self.deviations @ self.deviations.T if self.by_clips else self.deviations.T @ self.deviations
        self.shrinkage, self.ridge = _ledoit_wolf(self.deviations, self.product)
        self.share = max(1 - self.shrinkage, 1e-12)
        self.factor = self._factor(self.share / len(bank))

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        standardized = (queries.to(self.mean.device).double() - self.mean) / self.scale
        return self._lengths(standardized, self.factor).sqrt()

    def leave_one_out(self) -> torch.Tensor:
        """
        The score of each clip of the bank from mean and covariance of the others, in closed form: leaving one out
        changes the covariance by a matrix of rank one (J. Sherman, W. Morrison 1950). The shrinkage of all clips is
        kept.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.
        """
        n = len(self.deviations)
        share = self.share / (n - 1)
        lengths = self._lengths(self.deviations, self._factor(share))
        # The others' scatter lacks n / (n - 1) of this clip's square, and their mean lies that much farther away.
        without = lengths / (1 - share * n / (n - 1) * lengths).clamp_min(1e-12)
        return without.sqrt() * n / (n - 1)

    def _factor(self, share: float) -> torch.Tensor:
        """Cholesky factor for the covariance `share * scatter + ridge * identity`."""
        # Of fewer clips than dimensions by the matrix inversion lemma (M. Woodbury 1950).
        product = self.product.clone() if self.by_clips else share * self.product
        product.diagonal().add_(self.ridge / share if self.by_clips else self.ridge)
        return torch.linalg.cholesky(product)

    def _lengths(self, clips: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Squared length of each clip under the inverse of the covariance."""
        sides = clips @ self.deviations.T if self.by_clips else clips
        squares = torch.linalg.solve_triangular(factor, sides.T, upper=False).square().sum(0)
        if not self.by_clips:
            return squares
        return ((clips.square().sum(1) - squares) / self.ridge).clamp_min(0)


def _ledoit_wolf(deviations: torch.Tensor, product: torch.Tensor) -> tuple[float, float]:
    """
    Share of the identity in the covariance, as `sklearn.covariance.ledoit_wolf_shrinkage` gives it, and how much of
    the identity that is. scikit-learn would compute the clips' product, the dearest part, twice more.
    """
    n, dimensions = deviations.shape
    variance = float(product.diagonal().sum()) / n / dimensions
    squares = float(product.square().sum()) / n**2
    noise = float(deviations.square().sum(1).square().sum()) / n
    # How far the covariance lies from a multiple of the identity, and how much of that is the clips' own scatter.
    distance = squares / dimensions - variance**2
    scatter = min((noise - squares) / (dimensions * n), distance)
    shrinkage = scatter / distance if scatter > 0 else 0.0
    return shrinkage, max(shrinkage * variance, 1e-6)
