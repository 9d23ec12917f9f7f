"""The options of a detector."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..audio.channels import Channel
from ..audio.pipes.raw import RawFormat
from ..data.recording_time import parse_time
from ..models.choices import POOLING_PARAMETER, PRECISION, PoolingName, PrecisionName, StatisticsName
from ..options import check_options, option
from .backends import BackendName


if TYPE_CHECKING:
    from ..embedding.transformer import TransformerEncoder


Fusion = Literal["mean", "min", "max"]
BandFusion = Literal["mean", "mean_max", "max", "z_mean", "z_min", "z_max"]
Normalization = Literal["none", "ratio", "difference", "varmin", "log_varmin", "z"]
ThresholdMethod = Literal["tail", "conformal", "quantile", "gamma"]
DtypeName = Literal["float32", "float16"]
WindowSeconds = float | Literal["auto"] | None
# Accepted lengths of the windows of long recordings in seconds: memory holds a few windows at a time.
WINDOW_LENGTHS = {"at_least": 0.5, "at_most": 600.0}

# Chosen by benchmarks/power.py over simulated factories and real machines. The Mahalanobis distance alone scores up to
# half a point more on factories; conditional deviations stay beside it for faults of one band, which no distance over
# all bands shows when normal clips are few.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"backends": ("cosine",), "fusion": "mean", "normalization": "none"},
    "standard": {"backends": ("conditional", "mahalanobis"), "fusion": "mean", "normalization": "none"},
}


@dataclass
class ScoringConfig:
    """How clips are compared with normal ones; options that are not given come from the preset."""

    preset: Literal["fast", "standard"] = option("standard", "a set of backends, fusion and normalization")
    backends: tuple[BackendName, ...] | None = option(None, "one or more backends; none: those of the preset")
    fusion: Fusion | None = option(None, "how z-scores of several backends become one; none: that of the preset")
    num_neighbors: int = option(1, "nearest neighbors whose distances are averaged into a score", at_least=1)
    normalization: Normalization | tuple[Normalization, ...] | None = option(
        None,
        "cosine and euclidean distances divided by the local density of the references (ratio), minus it "
        "(difference), minus a fitted multiple of it (varmin), or the same in logarithms (log_varmin); z: scores of "
        "any backend, domain by domain; none: no normalization; one for all backends or one for each; not set: that "
        "of the preset",
    )
    density_neighbors: int = option(4, "neighbors of a reference that make its local density", at_least=1)
    per_domain_banks: bool = option(
        False, "one memory bank for source and one for target clips; the lower score counts"
    )
    target: Literal["as_is", "smote", "mem_mixup"] = option(
        "as_is",
        "target references: as they are, as many as source ones by SMOTE, or mixed with a tenth of the nearest source "
        "reference; needs per_domain_banks",
    )
    reduction: Literal["none", "k_means", "k_center"] = option(
        "none", "fewer references: cluster centers (k_means) or chosen clips (k_center)"
    )
    num_references: int = option(64, "references of a memory bank after a reduction", at_least=1)
    num_bands: int = option(
        1,
        "equal parts of an embedding with a memory bank each (BEAM); with pooling bands the number of bands",
        at_least=1,
    )
    band_fusion: BandFusion = option(
        "mean",
        "how the scores of the bands become one: mean, largest, half of both; z_mean, z_min, z_max: of their z-scores",
    )
    pca_variance: float = option(
        0.95, "share of the normal clips' variance that pca_residual takes for normal", above=0, below=1
    )
    with_statistics: bool = option(
        False, "spectral statistics beside the encoder: compared separately, z-scores of both averaged"
    )
    encoder_weight: float = option(
        1.0, "weight of the encoder's z-score in that average, where statistics have 1; needs with_statistics", above=0
    )
    event_share: float = option(
        0.2,
        "share of the false-alarm rate that is for short events (knocks, dropouts); with band statistics; 0: none",
        at_least=0,
        below=1,
    )
    threshold_method: ThresholdMethod = option(
        "tail",
        "how the threshold follows from the scores of normal clips: by an exponential tail fitted to the highest of "
        "them (tail), by rank (conformal), as their quantile, or as the quantile of a gamma distribution",
    )
    false_alarm_rate: float = option(0.05, "accepted share of false alarms among normal clips", above=0, below=1)

    def __post_init__(self):
        check_options(self)
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.backends = tuple(self.backends or ())
        if not self.backends:
            raise ValueError("backends is empty; give one or more, or leave it out for those of the preset.")
        if isinstance(self.normalization, tuple | list) and len(self.normalization) not in (1, len(self.backends)):
            raise ValueError(
                f"normalization has {len(self.normalization)} words for {len(self.backends)} backends; accepted are "
                "one for all and one for each."
            )
        if self.target != "as_is" and not self.per_domain_banks:
            raise ValueError(f"target is {self.target!r}, which needs a target bank; set per_domain_banks to true.")

    @property
    def normalizations(self) -> tuple[Normalization, ...]:
        """The normalization of each backend."""
        given = self.normalization or "none"
        listed = (given,) if isinstance(given, str) else tuple(given)
        return listed * len(self.backends or ()) if len(listed) == 1 else listed

    @property
    def has_statistics(self) -> bool:
        """Whether band statistics come first in an embedding."""
        return self.with_statistics

    @property
    def minimum_clips(self) -> int:
        """The fewest normal clips that every backend can work with."""
        from .backends import backend_class

        return max(backend_class(name).minimum_clips for name in self.backends or ())


@dataclass
class DetectorConfig(ScoringConfig):
    """How clips become embeddings, and, as [`ScoringConfig`] says, how these are compared with normal ones."""

    pooling: PoolingName | None = option(
        None,
        "how the tokens of a named encoder become one embedding; none: mean, or the pooling of a fine-tuned encoder",
    )
    pooling_parameter: float | None = option(None, POOLING_PARAMETER, at_least=0)
    layer: int | Literal["mean"] | None = option(
        None,
        "transformer layer of a named encoder, from 1, or from -1 backwards, or the mean of all; none: its output",
    )
    clamp_outlier_channels: bool = option(False, "clamp the outlier feature channels of published EAT weights")
    precision: PrecisionName = option("fp32", PRECISION)
    statistics: StatisticsName | None = option(
        None,
        "without an encoder: levels, flutter and events of bands (band_statistics), the mean over time of the log "
        "energy in each mel band, or acoustic features (levels, tones, knocks, rhythms); none: band_statistics",
    )
    drop_outliers: bool = option(
        False,
        "leave out normal recordings that are unlike all others, instead of naming them; more false alarms are then "
        "promised: new ones can be unlike the others as well",
    )
    channel: Channel = option(0, "channel of a recording with several, from 0, or what is made of them", at_least=0)

    @property
    def has_statistics(self) -> bool:
        """Whether band statistics come first in an embedding."""
        return self.with_statistics or self.statistics == "band_statistics"

    def given_encoder_options(self) -> list[str]:
        """Options for an encoder that the user names, as far as they differ from their defaults."""
        names = ("pooling", "pooling_parameter", "layer", "clamp_outlier_channels", "precision")
        names += ("with_statistics", "encoder_weight")
        defaults = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != defaults[name]]

    def load_encoder(self, encoder: "str | Path") -> "TransformerEncoder":
        """A pretrained encoder with these options; see [`~hf_asd.TransformerEncoder.from_pretrained`]."""
        from ..embedding.transformer import TransformerEncoder

        return TransformerEncoder.from_pretrained(
            encoder,
            self.pooling,
            layer=self.layer,
            clamp_outlier_channels=self.clamp_outlier_channels,
            with_statistics=self.with_statistics,
            pooling_parameter=self.pooling_parameter,
            precision=self.precision,
        )


@dataclass
class MonitorConfig:
    """How a stream of sound is divided into windows, and how long to wait for more of it."""

    window_seconds: float | Literal["auto"] = option(
        "auto",
        "length in seconds of the sound that one decision is about; auto: that of the normal clips (10 where unknown)",
        at_least=0.5,
        at_most=3600,
    )
    wait_seconds: float = option(
        0.0,
        "seconds to wait for a file to grow or another file to appear; inf: for ever",
        at_least=0,
        may_be_infinite=True,
    )
    settle_seconds: float = option(
        10.0,
        "seconds without a change after which a file that was put into a folder is whole, if its header does not say "
        "how long it is, or cut off, if it is shorter than its header says; for waiting",
        at_least=0,
    )
    subfolders: bool = option(True, "watch the subfolders of a folder as well")
    machines: bool = option(
        False, "a folder of many machines: the first subfolder of each recording names its machine"
    )
    state: Path | None = option(
        None,
        "file that keeps which recordings of a folder were decided, alarms that stand, and the days of drift, so that "
        "a restart decides no recording again and goes on with the same events",
    )
    sampling_rate: int | None = option(
        None, "sampling rate in Hz of a pipe without a header; none: 16000", at_least=1, at_most=10_000_000
    )
    channels: int | None = option(None, "channels of a pipe without a header; none: 1", at_least=1, at_most=1024)
    sample_format: RawFormat | None = option(
        None, "samples of a pipe without a header: bits, integers (s) or floats (f), little endian; none: s16le"
    )
    start: str | None = option(
        None,
        "when the recording or the pipe began, as a date with a time (ISO 8601; local time where it has no offset); "
        "none: the time in the file's name, else when it was last modified; of a pipe the clock",
    )
    explain: bool = option(False, "give reasons for each anomalous window")

    def __post_init__(self):
        check_options(self)
        if self.start is not None:
            parse_time(self.start)
