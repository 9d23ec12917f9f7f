"""Mean and shrunk covariance of the normal clips: Mahalanobis distance and conditional deviations."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from ..config import ScoringConfig
from .cross_scores import cross_scores, single_splits
from .standardized import CHUNK_ROWS, Standardized


NUM_DEVIATIONS = 5
EXACT_CLIPS = 64  # up to here leaving one clip out also changes spread and shrinkage noticeably


@dataclass(frozen=True)
class PrecisionMatrix:
    """
    The inverse of a covariance, to multiply clips with.

    Args:
        diagonal (`torch.Tensor` of shape `(dimensions,)`): float64.
        matrix (`torch.Tensor` of shape `(dimensions, dimensions)`): float64; or, with references,
            `(references, dimensions)`.
        references (`torch.Tensor` of shape `(references, dimensions)`, *optional*): of fewer clips than dimensions,
            by the matrix inversion lemma (M. Woodbury 1950).
        ridge (`float`): the multiple of the identity in the covariance; read with references only.
    """

    diagonal: torch.Tensor
    matrix: torch.Tensor
    references: torch.Tensor | None = None
    ridge: float = 1.0

    def times(self, clips: torch.Tensor) -> torch.Tensor:
        """Of shape `(clips, dimensions)`, as the clips, float64."""
        if self.references is None:
            return clips @ self.matrix
        return (clips - (clips @ self.references.T) @ self.matrix) / self.ridge


class Gaussian(Standardized):
    """
    Mean and covariance of the normal clips, over dimensions standardized by their own mean and spread.

    Dimensions that rise and fall together among normal clips (a louder background lifts all bands) are told from those
    that leave the pattern. The covariance is shrunk towards a multiple of the identity, which makes it usable with
    fewer clips than dimensions.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32; at least 3.

    Raises:
        ValueError: the bank has fewer than 3 clips.

    References:
        O. Ledoit, M. Wolf 2004, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices".
    """

    fewest: ClassVar[int] = 3  # of four clips three remain without one

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank)

    def __init__(self, bank: torch.Tensor):
        super().__init__(bank)
        self.bank = bank
        self.references = (self.deviations / self.spread).double()
        # The smaller of the two products of the clips gives both the shrinkage and the inverse.
        self.by_clips = len(bank) < bank.shape[1]
        self.product = self.references @ self.references.T if self.by_clips else self.references.T @ self.references
        self.shrinkage, self.ridge = ledoit_wolf(self.references, self.product)
        self.precision = self._precision_of(len(bank))

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        standardized = self.standardize(queries).double()
        return self._combine(standardized, self.precision.times(standardized), self.precision.diagonal)

    def leave_one_out(self) -> torch.Tensor:
        """
        The score of each clip of the bank by the others.

        With more than 64 clips in closed form: leaving one out changes the covariance by a matrix of rank one
        (J. Sherman, W. Morrison 1950); spread and shrinkage of all clips are kept.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.
        """
        n = len(self.references)
        if n <= EXACT_CLIPS:
            return cross_scores(type(self), self.bank, single_splits(n))
        precision = self._precision_of(n - 1)
        return torch.cat([self._left_out(part, precision) for part in self.references.split(CHUNK_ROWS)])

    def _left_out(self, clips: torch.Tensor, precision: PrecisionMatrix) -> torch.Tensor:
        """Leave-one-out scores of some clips of the bank, in closed form."""
        n = len(self.references)
        weighted = precision.times(clips)
        # The others' scatter lacks n / (n - 1) of this clip's square, and their mean lies that much farther away.
        missing = (1 - self.shrinkage) / (n - 1) * n / (n - 1)
        lengths = (clips * weighted).sum(1)
        factor = (1 - missing * lengths).clamp_min(1e-12).reciprocal()[:, None]
        precisions = precision.diagonal + missing * factor * weighted.square()
        farther = n / (n - 1)
        return self._combine(clips * farther, weighted * factor * farther, precisions)

    def _precision_of(self, count: int) -> PrecisionMatrix:
        """Of the covariance, the scatter divided by `count`."""
        share = max(1 - self.shrinkage, 1e-12) / count
        product = self.product.clone() if self.by_clips else share * self.product
        product.diagonal().add_(self.ridge / share if self.by_clips else self.ridge)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(product))
        if not self.by_clips:
            return PrecisionMatrix(inverse.diagonal(), inverse)
        right = inverse @ self.references
        diagonal = (1 - (self.references * right).sum(0)).clamp_min(1e-12) / self.ridge
        return PrecisionMatrix(diagonal, right, self.references, self.ridge)

    def _combine(self, clips: torch.Tensor, weighted: torch.Tensor, precisions: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Mahalanobis(Gaussian):
    """
    Distance from the mean of the normal clips, measured by their covariance.

    One object a domain, of which the lower score counts, is the selective Mahalanobis distance (N. Harada et al. 2023)
    of the challenge's baseline.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): as for [`Gaussian`].
    """

    description: ClassVar[str] = "Mahalanobis distance from the mean of the normal recordings"

    def likeness(self, clips: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """
        Whether clips differ from the normal ones in the same way: the cosine of the angle between their deviations,
        measured by the covariance of the normal clips.

        Args:
            clips (`torch.Tensor` of shape `(clips, dimensions)`), others (`torch.Tensor` of shape
                `(others, dimensions)`): embeddings, float32.

        Returns:
            `torch.Tensor` of shape `(clips, others)`, float64, from -1 to 1.
        """
        standardized = [self.standardize(rows).double() for rows in (clips, others)]
        weighted = [self.precision.times(rows) for rows in standardized]
        lengths = [self._combine(*pair, self.precision.diagonal) for pair in zip(standardized, weighted, strict=True)]
        return standardized[0] @ weighted[1].T / (lengths[0][:, None] * lengths[1]).clamp_min(1e-12)

    def _combine(self, clips: torch.Tensor, weighted: torch.Tensor, precisions: torch.Tensor) -> torch.Tensor:
        return (clips * weighted).sum(1).clamp_min(0).sqrt()


class ConditionalDeviations(Gaussian):
    """
    How far single dimensions lie from what all other dimensions of the same clip let expect.

    The expectation is the linear regression on the other dimensions that the covariance implies, and the deviation is
    counted in its standard deviations; the five largest are averaged. One tone more shows in one band whose neighbors
    stay as they were, though the band itself may vary much from clip to clip.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): as for [`Gaussian`].

    References:
        S. Lauritzen 1996, "Graphical Models", section 5.1: the precision matrix holds these regressions.
    """

    description: ClassVar[str] = "deviation of single values from what all others of the same recording let expect"

    def deviations_of(self, queries: torch.Tensor) -> torch.Tensor:
        """The deviation of each dimension with its sign, of clips that are not in the bank, float64."""
        return self.precision.times(self.standardize(queries).double()) / self.precision.diagonal.sqrt()

    def _combine(self, clips: torch.Tensor, weighted: torch.Tensor, precisions: torch.Tensor) -> torch.Tensor:
        deviations = weighted.abs() / precisions.sqrt()
        return deviations.topk(min(NUM_DEVIATIONS, deviations.shape[1]), dim=1).values.mean(1)


def ledoit_wolf(centered: torch.Tensor, product: torch.Tensor) -> tuple[float, float]:
    """
    Share of the identity in the covariance, as `sklearn.covariance.ledoit_wolf_shrinkage` gives it, and how much of
    the identity that is. scikit-learn would compute the clips' product, the dearest part, twice more.
    """
    n, dimensions = centered.shape
    variance = float(product.diagonal().sum()) / n / dimensions
    squares = float(product.square().sum()) / n**2
    lengths = torch.cat([part.square().sum(1) for part in centered.split(CHUNK_ROWS)])
    noise = float(lengths.square().sum()) / n
    # How far the covariance lies from a multiple of the identity, and how much of that is the clips' own scatter.
    distance = squares / dimensions - variance**2
    scatter = min((noise - squares) / (dimensions * n), distance)
    shrinkage = scatter / distance if scatter > 0 else 0.0
    return shrinkage, max(shrinkage * variance, 1e-6)
