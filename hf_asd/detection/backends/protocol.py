"""What every backend offers."""

from typing import ClassVar, Protocol, Self

import torch

from ..config import ScoringConfig


class Scorer(Protocol):
    """Scores clips against the memory bank it was made of: a backend, or several of them as one."""

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """
        Args:
            queries (`torch.Tensor` of shape `(clips, dimensions)`): embeddings of clips that are not in the bank,
                float32.

        Returns:
            `torch.Tensor` of shape `(clips,)`, float64: anomaly scores, higher is more anomalous.
        """
        ...

    def leave_one_out(self) -> torch.Tensor:
        """
        The score that each clip of the bank would get from a bank without it.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.
        """
        ...


class Backend(Scorer, Protocol):
    """One way to compare a clip with the normal clips of one domain."""

    # For cards and reports, such as "cosine distance to the nearest normal recordings".
    description: ClassVar[str]
    minimum_clips: ClassVar[int]

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        """
        Args:
            bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32.
            config ([`ScoringConfig`]): the options that concern this backend are read from it.
        """
        ...
