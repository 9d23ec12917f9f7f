"""Residual of a principal component analysis: what of a clip the normal clips' main directions cannot express."""

from typing import ClassVar, Self

import torch

from ..config import ScoringConfig
from .cross_scores import cross_scores


class PcaResidual:
    """
    Distance of a clip from the subspace that the normal clips' principal components span, around their mean.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32; at least 3, for
            leave-one-out scores at least 4.
        variance (`float`, *optional*, defaults to 0.95): share of the normal clips' variance that the kept components
            hold; at least one is kept, and at least one direction of the clips is not.

    References:
        arXiv 2606.19269 (2026), "Scoring Backends Matter More Than Pooling": one of its four backends. How many
        components it keeps could not be read; the share is this project's choice.
    """

    description: ClassVar[str] = "distance from the principal components of the normal recordings"
    minimum_clips: ClassVar[int] = 4

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank, config.pca_variance)

    def __init__(self, bank: torch.Tensor, variance: float = 0.95):
        if len(bank) < 3:
            raise ValueError(f"{len(bank)} normal clips are too few for principal components; at least 3 are needed.")
        self.bank, self.variance = bank, variance
        wide = bank.double()
        self.mean = wide.mean(0)
        _, sizes, directions = torch.linalg.svd(wide - self.mean, full_matrices=False)
        shares = sizes.square().cumsum(0) / sizes.square().sum().clamp_min(1e-30)
        kept = int((shares < variance).sum()) + 1
        # All directions of the clips together would leave none of the clips itself; identical clips have none.
        varying = int((sizes > 1e-9 * wide.norm(dim=1).max()).sum())
        self.components = directions[: min(kept, len(bank) - 2, varying)]

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        centered = queries.to(self.mean.device).double() - self.mean
        return (centered - centered @ self.components.T @ self.components).norm(dim=1)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank by components without it; see [`cross_scores`]."""
        return cross_scores(lambda kept: PcaResidual(kept, self.variance), self.bank)
