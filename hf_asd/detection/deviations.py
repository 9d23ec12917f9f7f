"""Largest standardised deviation joined with standardised nearest neighbours: the backend for few normal clips."""

import torch


# Share of the mean spread that is added to each dimension's own: ten clips do not tell a narrow range from a lucky
# one.
SPREAD_FLOOR = 0.25


class StandardisedDeviations:
    """
    How far a clip leaves the range that normal clips keep to, dimension by dimension.

    Two scores over dimensions standardised by the normal clips' mean and spread: the largest absolute deviation (a
    fault that moves one band out of its narrow range drowns in a distance over all bands) and the distance to the
    nearest normal clip (a machine with several states has no one mean). Each is standardised by its own leave-one-out
    scores and they are added.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): spectral statistics of normal clips, float32; at
            least 4.

    Raises:
        ValueError: the bank has fewer than 4 clips.
    """

    def __init__(self, bank: torch.Tensor):
        if len(bank) < 4:
            raise ValueError(f"{len(bank)} normal clips are too few to tell their spread by; at least 4 are needed.")
        self.bank = bank
        wide = bank.double()
        self.mean, self.spread = wide.mean(0), _floored(wide.std(0))
        parts = self._leave_one_out_parts()
        # Identical clips leave nothing to standardise by.
        self.location, self.scale = parts.mean(0), parts.std(0).clamp_min(1e-6)
        self._left_out = parts

    def score(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Anomaly scores of clips that are not in the bank.

        Args:
            queries (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`, each of shape `(clips,)`: scores (float32, higher is more anomalous)
            and the bank's row of the nearest reference (int64).
        """
        standardised = (queries.double() - self.mean) / self.spread
        references = (self.bank.double() - self.mean) / self.spread
        largest = standardised.abs().amax(1)
        distances, nearest = torch.cdist(standardised, references).min(1)
        return self._join(torch.stack([largest, distances], dim=1)), nearest

    def leave_one_out(self) -> torch.Tensor:
        """
        The score of each clip of the bank against mean, spread and neighbours of the others.

        Returns:
            `torch.Tensor` of shape `(references,)`, float32.
        """
        return self._join(self._left_out)

    def _join(self, parts: torch.Tensor) -> torch.Tensor:
        return ((parts - self.location) / self.scale).sum(1).float()

    def _leave_one_out_parts(self) -> torch.Tensor:
        wide, n = self.bank.double(), len(self.bank)
        # Mean and variance without one clip, in closed form.
        deviations = wide - self.mean
        variance = (wide.var(0) * (n - 1) - deviations.square() * n / (n - 1)).clamp_min(0) / (n - 2)
        means, spreads = self.mean - deviations / (n - 1), _floored(variance.sqrt())
        parts = torch.empty(n, 2, dtype=torch.float64)
        for row in range(n):
            parts[row, 0] = ((wide[row] - means[row]) / spreads[row]).abs().amax()
            distances = ((wide - wide[row]) / spreads[row]).norm(dim=1)
            distances[row] = torch.inf
            parts[row, 1] = distances.amin()
        return parts


def _floored(spread: torch.Tensor) -> torch.Tensor:
    return (spread + SPREAD_FLOOR * spread.mean(-1, keepdim=True)).clamp_min(1e-6)
