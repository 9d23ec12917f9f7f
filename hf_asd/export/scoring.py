"""Scores of a memory bank in operators that can be exported: the same numbers as the scorers' own."""

import torch

from ..detection.backends.composite import (
    BandScorer,
    ColumnScorer,
    FusedScorer,
    MinOverDomains,
    PiecesScorer,
    ReducedScorer,
    fuse,
)
from ..detection.backends.events import WithEvents
from ..detection.backends.nearest_neighbors import NearestNeighbors
from ..detection.backends.protocol import Scorer
from ..detection.backends.standardized import StandardizedNeighbors


def score(scorer: Scorer, queries: torch.Tensor) -> torch.Tensor:
    """
    As `scorer.score(queries)`, for any number of clips.

    Scorers over nearest neighbors search in parts, whose number an exported graph cannot depend on; here all distances
    are computed at once, in double precision.

    Args:
        scorer ([`Scorer`]): of a machine's memory bank.
        queries (`torch.Tensor` of shape `(clips, dimensions)`): embeddings, float32.

    Returns:
        `torch.Tensor` of shape `(clips,)`, float64.
    """
    if isinstance(scorer, ColumnScorer):
        return score(scorer.backend, queries[:, scorer.columns])
    if isinstance(scorer, ReducedScorer | PiecesScorer):
        return score(scorer.backend, queries)
    if isinstance(scorer, FusedScorer):
        parts = torch.stack([score(part, queries) for part in scorer.parts])
        return fuse(parts, scorer.leave_one_out_scores, scorer.how, scorer.weights)
    if isinstance(scorer, BandScorer):
        return scorer._join(torch.stack([score(band, queries) for band in scorer.bands]))
    if isinstance(scorer, MinOverDomains):
        return torch.stack([score(part, queries) for part in scorer.parts.values()]).amin(0)
    if isinstance(scorer, WithEvents):
        events = scorer._on_scale(score(scorer.events, queries))
        return torch.maximum(score(scorer.scorer, queries), events)
    if isinstance(scorer, NearestNeighbors):
        return _by_neighbors(scorer, queries)
    if isinstance(scorer, StandardizedNeighbors):
        return _by_standardized_neighbors(scorer, queries)
    return scorer.score(queries)


def _by_neighbors(scorer: NearestNeighbors, queries: torch.Tensor) -> torch.Tensor:
    center = scorer._directions(scorer.bank.double()).mean(0)  # far from it a difference of squares would be rounding
    squares = _squares(
        scorer._directions(queries.double()) - center, scorer._directions(scorer.bank.double()) - center
    )
    distances = squares / 2 if scorer.metric == "cosine" else squares.sqrt()
    distances = scorer._normalized(distances, scorer.density)
    return distances.topk(scorer.num_neighbors, dim=1, largest=False).values.mean(1)


def _by_standardized_neighbors(scorer: StandardizedNeighbors, queries: torch.Tensor) -> torch.Tensor:
    squares = _squares(scorer.standardize(queries).double(), scorer.references.double())
    count = min(scorer.num_neighbors, len(scorer.references))
    return squares.sqrt().topk(count, dim=1, largest=False).values.mean(1)


def _squares(clips: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Squared distances of shape `(clips, references)`."""
    products = clips @ references.T
    return (clips.square().sum(1, keepdim=True) + references.square().sum(1) - 2 * products).clamp_min(0)
