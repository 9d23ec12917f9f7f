"""A recipe: one YAML file with a section a stage, read into the stages' own config classes."""

import difflib
import types
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from ..clustering.config import ClusteringConfig
from ..detection.config import DetectorConfig
from ..simulation.config import FactoryConfig
from ..training.config import FinetuneConfig, PretrainConfig


@dataclass
class DataConfig:
    """Where recordings come from when no factory is simulated."""

    path: str | None = field(
        default=None, metadata={"help": "folder of DCASE or of own recordings; not needed with a factory section"}
    )
    year: int | None = field(
        default=2025,
        metadata={"help": "the challenge's year: layout and official score; none: a folder of own recordings"},
    )
    machines: list[str] | None = field(
        default=None, metadata={"help": "only these, for instance one for an encoder of its own; by default all"}
    )
    channel: int | str = field(
        default=0,
        metadata={"help": "channel of several from 0, 'mean', 'near-minus-far' or 'spectral-subtraction'"},
    )
    on_bad_audio: str = field(default="error", metadata={"help": "unusable recordings: 'error' or 'skip'"})


@dataclass
class EmbedConfig:
    """How the pre-trained encoder describes clips to the clustering."""

    pooling: str = field(default="mean", metadata={"help": "how tokens become one embedding, as for fit"})
    layer: int | None = field(
        default=None, metadata={"help": "the block to look at, from 1 or back from -1; by default the last output"}
    )


@dataclass
class ScoreConfig:
    """What is scored beside the learned detector."""

    baselines: bool = field(
        default=True, metadata={"help": "also score detectors that learn nothing: spectral statistics, mean log-mel"}
    )


@dataclass
class EvaluateConfig:
    """How sure the official score is."""

    resamples: int = field(default=1000, metadata={"help": "bootstrap resamples for the interval; 0 for none"})
    confidence: float = field(default=0.95, metadata={"help": "how often the interval should cover the score"})
    attributes_file: str | None = field(
        default=None,
        metadata={"help": "true attributes of hidden machines, to measure clusters against; the factory has its own"},
    )


@dataclass
class ReportConfig:
    """What the report is called."""

    title: str = field(default="Anomalous sound detection", metadata={"help": "the heading"})


@dataclass
class Recipe:
    """
    All stages of one experiment, in order.

    Args:
        output_dir (`str`): every stage's results, each in a folder of its own.
        seed (`int`, *optional*, defaults to 0): of pre-training and fine-tuning, where their sections give none. The
            factory keeps its own, so that another seed hears the same machines.
        attributes_file (`str`, *optional*): true attributes of training clips whose attributes are hidden, a table or
            a folder of them as of [`~hf_asd.data.dcase.attributes.load_attribute_truth`]: they are trained on as if they had
            been published, and those clips get no pseudo-attributes.
        data, factory, pretrain, embed, cluster, finetune, fit, score, evaluate, report: the sections; `factory` is
            `None` where the recordings come from `data.path`.
    """

    output_dir: str
    seed: int = 0
    attributes_file: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    factory: FactoryConfig | None = None
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    cluster: ClusteringConfig = field(default_factory=ClusteringConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    fit: DetectorConfig = field(default_factory=DetectorConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self):
        if (self.factory is None) == (self.data.path is None):
            raise ValueError("a recipe needs either a factory section or data.path, and not both.")
        if self.factory is not None and self.data.year is None:
            raise ValueError("data.year is none, which is for own recordings; the factory is laid out as in 2025.")


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """
    Reads a recipe; overrides win over the file, the file over the defaults.

    Args:
        path (`str` or `Path`): a YAML file, or a folder that holds `recipe.yaml`.
        overrides (`list[str]`, *optional*): as on a command line: `["--finetune.max_steps", "100", "--seed=1"]`.

    Returns:
        [`Recipe`].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown option (the nearest known one is named) or a value that is not accepted; names the
            file and the option.
    """
    path = Path(path)
    file = path / "recipe.yaml" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such recipe.")
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds {type(content).__name__}; accepted are sections with options.")
    for name, value in read_overrides(overrides or []):
        _set(content, name, value)
    content.setdefault("output_dir", f"runs/{file.parent.name if file.name == 'recipe.yaml' else file.stem}")
    if "seed" in content:
        _inherit(content, "seed", content["seed"], ("pretrain", "finetune"))
    if isinstance(content.get("data"), dict) and "channel" in content["data"]:
        _inherit(content, "channel", content["data"]["channel"], ("fit",))
    try:
        return build(Recipe, content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def build(config_class: type, values: dict, where: str = ""):
    """
    A config from plain values, as read from YAML; nested configs from nested dictionaries.

    Args:
        config_class (`type`): a dataclass.
        values (`dict`): option -> value; an option that is not there keeps its default.
        where (`str`, *optional*): dotted name of the section, for errors.

    Raises:
        ValueError: an unknown option or a value that is not accepted; names the option.
    """
    known = {option.name: option for option in fields(config_class)}
    hints = get_type_hints(config_class)
    built = {}
    for name, value in values.items():
        option = f"{where}.{name}" if where else str(name)
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0)
            raise ValueError(f"{option} is no option, did you mean {near[0]}? Accepted are {', '.join(known)}.")
        if get_origin(hints[name]) is list and hasattr(get_args(hints[name])[0], "__dataclass_fields__"):
            built[name] = [
                build(get_args(hints[name])[0], item, f"{option}[{number}]") for number, item in enumerate(value or [])
            ]
            continue
        section = next((kind for kind in _kinds(hints[name]) if hasattr(kind, "__dataclass_fields__")), None)
        if section is not None and (value is not None or types.NoneType not in _kinds(hints[name])):
            if not isinstance(value, dict | None):
                raise ValueError(f"{option} is {value!r}; accepted are options of its own, such as {option}.NAME.")
            built[name] = build(section, value or {}, option)
            continue
        try:
            built[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            reasons = "; ".join(dict.fromkeys(line["msg"] for line in error.errors()))
            raise ValueError(f"{option} is {value!r}, which is not accepted: {reasons}.") from error
    try:
        return config_class(**built)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error


def options_help() -> str:
    """Every option of a recipe with what it means and its default, one a line."""
    lines = []
    for section in fields(Recipe):
        kind = next(
            (k for k in _kinds(get_type_hints(Recipe)[section.name]) if hasattr(k, "__dataclass_fields__")), None
        )
        if kind is None:
            lines.append(f"  --{section.name}")
            continue
        for option, default in asdict(kind()).items():
            text = kind.__dataclass_fields__[option].metadata.get("help", "")
            lines.append(f"  --{section.name}.{option:<24} {text} (default: {default})")
    return "\n".join(lines)


def _kinds(annotation) -> tuple:
    return get_args(annotation) or (annotation,)


def read_overrides(overrides: list[str]) -> list[tuple[str, object]]:
    """
    Command-line words as (dotted name, value).

    Args:
        overrides (`list[str]`): `--name value` or `--name=value`; hyphens in a name count as underscores, and values
            are read as YAML.

    Raises:
        ValueError: a word that is no option, or an option without a value.
    """
    pairs, words = [], list(overrides)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"found {word!r}; accepted are overrides such as --finetune.learning_rate 1e-4.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{name} comes without a value.")
            value = words.pop(0)
        pairs.append((name.replace("-", "_"), yaml.safe_load(value)))
    return pairs


def _set(content: dict, name: str, value: object):
    *sections, option = name.split(".")
    for section in sections:
        if content.get(section) is None:
            content[section] = {}
        content = content[section]
        if not isinstance(content, dict):
            raise ValueError(f"--{name}: {section} has no options of its own.")
    content[option] = value


def _inherit(content: dict, option: str, value: object, sections: tuple[str, ...]):
    """Gives an option to the sections that do not set it."""
    for section in sections:
        if content.get(section) is None:
            content[section] = {}
        if isinstance(content[section], dict):
            content[section].setdefault(option, value)
