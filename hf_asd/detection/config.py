"""The options of a detector."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..embedding import TransformerEncoder
from ..models.pooling import POOLINGS
from .scoring import ScoringConfig


@dataclass
class DetectorConfig(ScoringConfig):
    """How clips are turned into embeddings, and, as [`ScoringConfig`] says, compared with normal ones."""

    pooling: str = field(
        default="mean", metadata={"help": f"how an encoder's tokens become one embedding: {', '.join(POOLINGS)}"}
    )
    layer: int | Literal["mean"] | None = field(
        default=None,
        metadata={"help": "an encoder's block, from 1 or back from -1, or 'mean' of all; by default its last output"},
    )
    clean_up: bool = field(
        default=False, metadata={"help": "bounds the few channels of published EAT weights that dwarf all others"}
    )
    statistics: str = field(
        default="quantiles",
        metadata={"help": "without an encoder: quantiles or mean of each band's log energy over time, or description"},
    )
    channel: int | str = field(
        default=0,
        metadata={"help": "channel of several from 0, 'mean', 'near-minus-far' or 'spectral-subtraction'"},
    )

    def load_encoder(self, encoder: str | Path) -> TransformerEncoder:
        """A pretrained encoder as these options want it; see [`TransformerEncoder.from_pretrained`]."""
        return TransformerEncoder.from_pretrained(
            encoder,
            self.pooling,
            layer=self.layer,
            clean_up=self.clean_up,
            with_statistics=self.with_statistics,
        )
