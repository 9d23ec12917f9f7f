"""The sections of a recipe and their options."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from ..audio.channels import Channel
from ..audio.reading import OnBadAudio
from ..clustering.config import ClusteringConfig
from ..data.dcase.years import DEFAULT_YEAR, YEARS
from ..detection.config import DetectorConfig
from ..models.choices import POOLING_PARAMETER, PRECISION, PoolingName, PrecisionName
from ..options import check_options, option
from ..simulation.config import FactoryConfig
from ..training.config import FinetuneConfig, PretrainConfig


# In the order in which they run; each is a function in `stages.py`.
StageName = Literal["data", "pretrain", "embed", "cluster", "finetune", "fit", "score", "evaluate", "report"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
# Stages of training that a recipe can leave out.
SkippedStage = Literal["pretrain", "finetune"]
# Options of `fit` that are for encoders without fine-tuning.
NOT_FINETUNED = {
    "pooling": "the encoder is pooled as it was fine-tuned; set finetune.pooling",
    "pooling_parameter": "the encoder is pooled as it was fine-tuned; set finetune.pooling_parameter",
    "layer": "the encoder was fine-tuned on the output of its last layer",
    "clamp_outlier_channels": "the encoder was fine-tuned without it",
    "statistics": "a recipe's detector has an encoder; set fit.with_statistics to add spectral statistics",
}


@dataclass
class DataConfig:
    """Where recordings come from when no factory is simulated."""

    path: str | None = option(None, "folder of a DCASE year or of own recordings; not used with a factory section")
    year: int | None = option(
        DEFAULT_YEAR,
        "challenge year: layout of the folder and official score; none: a folder of own recordings",
        at_least=min(YEARS),
        at_most=max(YEARS),
    )
    machines: list[str] | None = option(
        None, "only these machines, for instance one machine for an encoder of its own; none: all"
    )
    channel: Channel = option(0, "channel of a recording with several, from 0, or what is made of them", at_least=0)
    on_bad_audio: OnBadAudio = option("error", "unusable recordings stop the run (error) or are left out (skip)")
    log_mel_gb: float = option(
        20,
        "largest size in GB of the log energies that are kept on disk, 0.5 MB for 10 s, so that recordings are "
        "decoded once for all stages; the others are decoded when they are needed; 0: none are kept",
        at_least=0,
    )

    def __post_init__(self):
        check_options(self)


@dataclass
class EmbedConfig:
    """How the pre-trained encoder makes the embeddings that clustering compares."""

    pooling: PoolingName = option("mean", "how tokens become one embedding")
    pooling_parameter: float | None = option(None, POOLING_PARAMETER, at_least=0)
    layer: int | Literal["mean"] | None = option(
        None,
        "transformer layer that is pooled, from 1, or from -1 backwards, or the mean of all; none: the last output",
    )
    precision: PrecisionName = option("fp32", PRECISION)

    def __post_init__(self):
        check_options(self)


@dataclass
class ScoreConfig:
    """What is scored besides the trained detector."""

    baselines: bool = option(
        True, "also score detectors without training: spectral statistics, and the mean log-mel spectrum"
    )


@dataclass
class EvaluateConfig:
    """How the official score and its confidence interval are computed."""

    resamples: int = option(1000, "bootstrap resamples for the confidence interval; 0: no interval", at_least=0)
    confidence: float = option(0.95, "confidence level of the interval", above=0, below=1)
    attributes_file: str | None = option(
        None,
        "table or folder with the true attributes of hidden machines, which clusters are compared with; none: those "
        "of the factory, if there is one",
    )

    def __post_init__(self):
        check_options(self)


@dataclass
class ReportConfig:
    """The report."""

    title: str = option("Anomalous sound detection", "heading of the report")
    published: str | None = option(
        None, "the published figure that the recipe aims at, in words; shown beside its own score"
    )


@dataclass
class Recipe:
    """
    All stages of one experiment, in order.

    Args:
        output_dir (`str`): folder for the results, a subfolder for each stage.
        seed (`int`, *optional*, defaults to 0): random seed of pre-training and fine-tuning, where their sections give
            none. The factory has its own seed, so that another seed trains on the same machines.
        attributes_file (`str`, *optional*): true attributes of training clips whose attributes are hidden, a table or
            a folder of tables as for [`~hf_asd.data.dcase.attributes.load_attribute_truth`]: training uses them as if
            they had been published, and those clips get no pseudo-attributes.
        skip (`tuple[str, ...]`, *optional*): stages of training that are left out, `"pretrain"` (the encoder is
            `pretrain.encoder` as it is, of any model type) and `"finetune"`.
        data, factory, pretrain, embed, cluster, finetune, fit, score, evaluate, report: the sections; `factory` is
            `None` where the recordings come from `data.path`.

    Raises:
        ValueError: sections that contradict each other, or an option that another section leaves unused.
    """

    output_dir: str = option(help="folder for the results, a subfolder for each stage")
    seed: int = option(0, "random seed of pre-training and fine-tuning, unless their sections have one", at_least=0)
    attributes_file: str | None = option(
        None, "table or folder with true attributes of hidden machines: training uses them as if they were published"
    )
    skip: tuple[SkippedStage, ...] = option(
        (), "stages of training that are left out; without pretrain the encoder is pretrain.encoder as it is"
    )
    data: DataConfig = option(default_factory=DataConfig)
    factory: FactoryConfig | None = option(None)
    pretrain: PretrainConfig = option(default_factory=PretrainConfig)
    embed: EmbedConfig = option(default_factory=EmbedConfig)
    cluster: ClusteringConfig = option(default_factory=ClusteringConfig)
    finetune: FinetuneConfig = option(default_factory=FinetuneConfig)
    fit: DetectorConfig = option(default_factory=DetectorConfig)
    score: ScoreConfig = option(default_factory=ScoreConfig)
    evaluate: EvaluateConfig = option(default_factory=EvaluateConfig)
    report: ReportConfig = option(default_factory=ReportConfig)

    def __post_init__(self):
        if (self.factory is None) == (self.data.path is None):
            raise ValueError("a recipe needs either a factory section or data.path, and not both.")
        if self.factory is not None and self.data.year is None:
            raise ValueError("data.year is none, which is for own recordings; the factory has the layout of 2025.")
        self._check_skipped()
        defaults = {field.name: field.default for field in fields(self.fit)}
        refused = {"statistics": NOT_FINETUNED["statistics"]} if "finetune" in self.skip else NOT_FINETUNED
        for name, reason in refused.items():
            value = getattr(self.fit, name)
            if value != defaults[name]:
                raise ValueError(f"fit.{name} is {value!r}, but it would not be used: {reason}. Leave fit.{name} out.")

    def _check_skipped(self):
        if "pretrain" in self.skip and self.pretrain.encoder is None:
            raise ValueError(
                "skip names pretrain, so an encoder is needed; give its id or folder as pretrain.encoder."
            )
        kept = {"pretrain": ("encoder", "seed"), "finetune": ("seed",)}
        for name in self.skip:
            section = getattr(self, name)
            plain = type(section)(**{option: getattr(section, option) for option in kept[name]})
            given = [
                field.name for field in fields(section) if getattr(section, field.name) != getattr(plain, field.name)
            ]
            if given:
                raise ValueError(
                    f"{name}.{given[0]} is given, but it would not be used: skip names {name}. Leave it out."
                )
