"""Mahalanobis distance with a shrunk covariance: what varies together among normal clips counts less."""

import torch
from sklearn.covariance import ledoit_wolf_shrinkage


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
        O. Ledoit, M. Wolf 2004, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices"; the share of
        the identity is scikit-learn's.
    """

    def __init__(self, bank: torch.Tensor):
        if len(bank) < 2:
            raise ValueError("A single normal clip has no covariance; at least 2 are needed.")
        wide = bank.double()
        self.mean = wide.mean(0)
        # The scale takes no part in the result, but keeps identical clips from dividing by 0.
        self.scale = wide.std(0).mean().clamp_min(1e-6)
        self.deviations = (wide - self.mean) / self.scale
        self.shrinkage = float(ledoit_wolf_shrinkage(self.deviations.cpu().numpy(), assume_centered=True))
        self.ridge = max(self.shrinkage * float(self.deviations.square().mean()), 1e-6)
        self.inverse = _Inverse(self.deviations, (1 - self.shrinkage) / len(bank), self.ridge)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.inverse.lengths((queries.to(self.mean.device).double() - self.mean) / self.scale).sqrt()

    def leave_one_out(self) -> torch.Tensor:
        """
        The score of each clip of the bank from mean and covariance of the others, in closed form: leaving one out
        changes the covariance by a matrix of rank one (J. Sherman, W. Morrison 1950). The shrinkage of all clips is
        kept, its multiple of the identity being `n / (n - 1)` of theirs.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.
        """
        n = len(self.deviations)
        share = (1 - self.shrinkage) / (n - 1)
        lengths = self.inverse.lengths(self.deviations) * (n - 1) / n
        # The others' scatter lacks n / (n - 1) of this clip's square, and their mean lies that much farther away.
        without = lengths / (1 - share * n / (n - 1) * lengths).clamp_min(1e-12)
        return without.sqrt() * n / (n - 1)


class _Inverse:
    """Of `share * rows.T @ rows + ridge * identity`, by a Cholesky factor of the smaller side."""

    def __init__(self, rows: torch.Tensor, share: float, ridge: float):
        self.ridge, self.rows = ridge, None
        if len(rows) < rows.shape[1] and share > 0:  # by the matrix inversion lemma (M. Woodbury 1950)
            self.rows, product = rows, rows @ rows.T
            ridge = ridge / share
        else:
            product = share * rows.T @ rows
        product.diagonal().add_(ridge)
        self.factor = torch.linalg.cholesky(product)

    def lengths(self, queries: torch.Tensor) -> torch.Tensor:
        """Squared length of each query under the inverse."""
        sides = queries if self.rows is None else queries @ self.rows.T
        squares = torch.linalg.solve_triangular(self.factor, sides.T, upper=False).square().sum(0)
        if self.rows is None:
            return squares
        return ((queries.square().sum(1) - squares) / self.ridge).clamp_min(0)
