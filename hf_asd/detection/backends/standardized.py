"""Standardized deviations, of all dimensions or of events, and nearest neighbors over standardized dimensions."""

from functools import cached_property
from typing import ClassVar, Self

import torch

from ..config import ScoringConfig


# Share of the mean standard deviation that is added to that of each dimension: ten clips may have a narrow range by
# chance.
SPREAD_FLOOR = 0.25
EVENT_FLOOR = 3.0  # dB, added to the standard deviation of each event
CHUNK_ROWS = 2048
CHUNK_ENTRIES = 2**24  # distances held at a time: 64 MiB


class Standardized:
    """Mean and floored spread of every dimension, of all clips of a bank and of all but one."""

    minimum_clips: ClassVar[int] = 4
    fewest: ClassVar[int] = 4  # clips that one object can be made of

    def __init__(self, bank: torch.Tensor):
        if len(bank) < self.fewest:
            raise ValueError(
                f"{len(bank)} normal clips are too few to tell their spread by; at least {self.fewest} are needed."
            )
        self.mean = bank.double().mean(0)
        # Moved to the middle in double precision, a clip needs no more than single precision.
        self.deviations = torch.cat([(part.double() - self.mean).float() for part in bank.split(CHUNK_ROWS)])
        self.variance = self.deviations.square().sum(0) / (len(bank) - 1)
        self.spread = self._floored(self.variance.sqrt())

    def standardize(self, clips: torch.Tensor) -> torch.Tensor:
        """Float32."""
        return (clips.to(self.mean.device).double() - self.mean).float() / self.spread

    def _spread_without(self, rows: slice) -> torch.Tensor:
        n, squares = len(self.deviations), self.deviations[rows].square()
        variance = (self.variance * (n - 1) - squares * n / (n - 1)).clamp_min(0) / (n - 2)
        return self._floored(variance.sqrt())

    def _floored(self, spread: torch.Tensor) -> torch.Tensor:
        return (spread + SPREAD_FLOOR * spread.mean(-1, keepdim=True)).clamp_min(1e-6)


class MaxDeviation(Standardized):
    """
    How far a clip leaves the range that normal clips keep to, in the dimension where it leaves it farthest.

    Dimensions are standardized by the normal clips' mean and spread, to which a quarter of the mean spread is added.
    A fault that moves one band out of its narrow range drowns in a distance over all bands.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32; at least 4.

    Raises:
        ValueError: the bank has fewer than 4 clips.
    """

    description: ClassVar[str] = "largest standardized deviation from the normal recordings"

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self._largest(self.standardize(queries))

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank against mean and spread of the others, in closed form, float64."""
        n = len(self.deviations)
        # From the mean of the others a clip lies n / (n - 1) times as far as from the mean of all.
        own = self.deviations * n / (n - 1)
        return torch.cat([self._largest(part / self._spread_without(rows)) for part, rows in _parts(own)])

    def _largest(self, standardized: torch.Tensor) -> torch.Tensor:
        return standardized.abs().amax(1).double()


class MaxEvent(MaxDeviation):
    """
    How far the most unusual short event of a clip lies above those of the normal clips.

    Dimensions are standardized by the normal clips' mean and spread, to which 3 dB are added: where a band hardly
    varies among few normal clips, a small change would count as an event.

    Args:
        bank (`torch.Tensor` of shape `(references, 17)`): of [`~hf_asd.embedding.band_statistics.event_statistics`],
            float32, in dB; at least 4.
    """

    description: ClassVar[str] = "largest short event above those of the normal recordings"

    def _floored(self, spread: torch.Tensor) -> torch.Tensor:
        return spread + EVENT_FLOOR

    def _largest(self, standardized: torch.Tensor) -> torch.Tensor:
        return standardized.amax(1).double()


class StandardizedNeighbors(Standardized):
    """
    Euclidean distance to the nearest normal clips over dimensions standardized as for [`MaxDeviation`]: a machine
    with several states has no one mean.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32; at least 4.
        num_neighbors (`int`, *optional*, defaults to 1): distances averaged into a score; cut to what the bank has.

    Raises:
        ValueError: the bank has fewer than 4 clips.
    """

    description: ClassVar[str] = "distance to the nearest normal recordings over standardized dimensions"

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        return cls(bank, config.num_neighbors)

    def __init__(self, bank: torch.Tensor, num_neighbors: int = 1):
        super().__init__(bank)
        self.references = self.deviations / self.spread
        self.num_neighbors = num_neighbors

    @cached_property
    def squares(self) -> torch.Tensor:
        """Of the references, of shape `(dimensions, references)`; computed once for all clips."""
        return self.references.square().T

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.nearest(queries, self.num_neighbors)[0].mean(1)

    def nearest(self, queries: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Distances (float64, ascending) and bank rows (int64) of the nearest references, each of shape
        `(clips, min(count, references))`.
        """
        standardized = self.standardize(queries)
        return self._nearest(standardized, torch.ones_like(standardized), count, None)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank against spread and neighbors of the others, float64."""
        own = torch.arange(len(self.references), device=self.references.device)
        scores = []
        for part, rows in _parts(self.references):
            weights = (self.spread / self._spread_without(rows)).square()
            count = min(self.num_neighbors, len(self.references) - 1)
            scores.append(self._nearest(part, weights, count, own[rows])[0].mean(1))
        return torch.cat(scores)

    def _nearest(self, queries: torch.Tensor, weights: torch.Tensor, count: int, own: torch.Tensor | None):
        """Searches in single precision with weights a query and dimension, then measures again in double precision."""
        references = self.references
        size = min(CHUNK_ROWS, max(1, CHUNK_ENTRIES // len(references)))
        found = []
        for (part, rows), (weight, _) in zip(_parts(queries, size), _parts(weights, size), strict=True):
            # Without the query's own square, which is the same for all references.
            squares = (weight @ self.squares).addmm_(part * weight, references.T, alpha=-2)
            if own is not None:
                squares.scatter_(1, own[rows][:, None], torch.inf)
            nearest = squares.topk(min(count, len(references)), dim=1, largest=False).indices
            exact = (part[:, None].double() - references[nearest]).square() * weight[:, None]
            distances, order = exact.sum(2).sqrt().sort(1)
            found.append((distances, nearest.gather(1, order)))
        return torch.cat([distances for distances, _ in found]), torch.cat([nearest for _, nearest in found])


def _parts(rows: torch.Tensor, size: int = CHUNK_ROWS):
    for start in range(0, len(rows), size):
        yield rows[start : start + size], slice(start, start + size)
