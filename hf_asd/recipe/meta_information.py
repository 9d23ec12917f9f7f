"""
The meta information that the challenge wants with each system: what the run says about it, and from a file of the
author what only the author knows.

Fields and their order are those of a package of 2025, comments of the official template of 2021.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..audio.reading import SAMPLING_RATE
from ..data.dcase.years import PartName, year_rules
from ..data.schema import read_table
from ..detection.backends import backend_class
from ..detection.detector import AnomalyDetector
from ..embedding.transformer import TransformerEncoder
from ..evaluation.scores import evaluate_scores, labeled_subset
from ..hub.transfer import hub_id
from ..models.architectures import architecture_of
from .reading_yaml import read_yaml
from .scored_run import ScoredRun


MACS_SECONDS = 10  # length of the clip whose multiplications are counted
AUGMENTATIONS = {
    "noise_probability": "mixing with other clips",
    "eq_db": "equalization",
    "gain_db": "gain",
    "mixup": "mixup",
    "time_mask": "SpecAugment",
    "frequency_mask": "SpecAugment",
    "fault_probability": "synthetic faults",
}
FUSION_WORDS = {"mean": "average", "min": "minimum", "max": "maximum"}


class _Entries(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, str_min_length=1)


class Affiliation(_Entries):
    """Where an author works."""

    institution: str
    department: str | None = None
    location: str


class Author(_Entries):
    """An author; one of all is the corresponding one."""

    lastname: str
    firstname: str
    email: str
    corresponding: bool = False
    affiliation: Affiliation


class Description(_Entries):
    """What the challenge asks about a system; comma-separated lists of general words, None where nothing applies."""

    input_sampling_rate: str | None = None
    data_augmentation: str | None = None
    front_end: str | None = None
    acoustic_features: str | None = None
    embeddings: str | None = None
    machine_learning_method: str | None = None
    aggregation_method: str | None = None
    domain_adaptation_method: str | None = None
    domain_generalization_method: str | None = None
    ensemble_method_subsystem_count: int | None = None
    decision_making: str | None = None
    attribute_usage: str | None = None
    external_data_usage: str | None = None
    development_data_usage: str | None = None


class SystemEntry(_Entries):
    """How a system is called in the tables of results, and what its description says better than the run knows."""

    name: str
    abbreviation: Annotated[str, Field(max_length=10)]
    description: Description = Description()


class ExternalDataset(_Entries):
    """Recordings from outside of the challenge that a system, or an encoder that it starts from, was trained on."""

    name: str
    url: str


class SubmissionEntries(_Entries):
    """
    The author's file.

    Args:
        label (`str`): last name of the corresponding author and abbreviation of the institute, `Kim_UoX`.
        authors (`list[Author]`): in the order in which they are listed.
        systems (`list[SystemEntry]`): one for each run, in the order in which runs are given.
        external_datasets (`list[ExternalDataset]`, *optional*): needed where a system starts from an encoder.
        source_code (`str`, *optional*): address of the code.
    """

    label: Annotated[str, Field(pattern="^[A-Za-z0-9-]+_[A-Za-z0-9-]+$")]
    authors: Annotated[list[Author], Field(min_length=1)]
    systems: Annotated[list[SystemEntry], Field(min_length=1)]
    external_datasets: list[ExternalDataset] | None = None
    source_code: str | None = None


def read_entries(file: str | Path) -> SubmissionEntries:
    """
    Reads the author's file.

    Raises:
        ValueError: it is not YAML, entries are missing, unknown or of another kind, or not exactly one author is the
            corresponding one; names all of them.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file; recipes/submission.yaml is one to fill in.")
    try:
        entries = SubmissionEntries.model_validate(read_yaml(str(file), file.read_bytes()) or {})
    except ValidationError as error:
        faults = {True: [], False: []}
        for fault in error.errors():
            entry = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"])
            is_missing = fault["type"] == "missing" or fault["input"] in (None, "")
            faults[is_missing].append(entry if is_missing else f"{entry} is {fault['input']!r}: {fault['msg']}")
        texts = [f"lacks what only you know: {', '.join(faults[True])}"] if faults[True] else []
        raise ValueError(f"{file}: {'; '.join(texts + faults[False])}. See recipes/submission.yaml.") from error
    corresponding = sum(author.corresponding for author in entries.authors)
    if corresponding != 1:
        raise ValueError(
            f"{file}: {corresponding} authors are corresponding; give corresponding: true to exactly one of them."
        )
    for field in ("name", "abbreviation"):
        words = [getattr(system, field) for system in entries.systems]
        if len(set(words)) < len(words):
            raise ValueError(f"{file}: {field} is the same for two systems; tables of results need different ones.")
    return entries


def meta_information(run: ScoredRun, entries: SubmissionEntries, number: int) -> dict[str, Any]:
    """
    The content of a system's `.meta.yaml`.

    Args:
        run ([`ScoredRun`]): the run that scored the system.
        entries ([`SubmissionEntries`]): the author's file.
        number (`int`): which of its systems this is, from 1.

    Raises:
        ValueError: the system uses recordings from outside of the challenge that the author's file does not name.
    """
    system = entries.systems[number - 1]
    detector = AnomalyDetector.from_pretrained(run.folders["fit"] / "detector")
    description = describe_system(run, detector)
    if description.external_data_usage is not None and entries.external_datasets is None:
        raise ValueError(
            f"system {number} starts from {description.embeddings or 'further recordings'}; list in external_datasets "
            "what it was trained on, for instance {name: AudioSet, url: https://research.google.com/audioset/}."
        )
    given = {name: getattr(system.description, name) for name in system.description.model_fields_set}
    return {
        "submission": {
            "label": system_label(entries, number),
            "name": system.name,
            "abbreviation": system.abbreviation,
            "authors": [_author(author) for author in entries.authors],
        },
        "system": {
            "description": description.model_copy(update=given).model_dump(),
            "complexity": {"total_parameters": count_parameters(detector), "MACS": count_macs(detector)},
            "external_datasets": [dataset.model_dump() for dataset in entries.external_datasets or []] or None,
            "source_code": entries.source_code,
        },
        "results": {"development_dataset": development_results(run) or None},
    }


def system_label(entries: SubmissionEntries, number: int) -> str:
    """The label of a system, under which its files are found: `Kim_UoX_task2_1`."""
    return f"{entries.label}_task2_{number}"


def _author(author: Author) -> dict[str, Any]:
    return author.model_dump(exclude_none=True, exclude=None if author.corresponding else {"corresponding"})


def describe_system(run: ScoredRun, detector: AnomalyDetector) -> Description:
    """What a run and its detector say about a system."""
    assert isinstance(detector.encoder, TransformerEncoder)  # a recipe has no other
    config, training = detector.config, [run.options(stage) for stage in run.trained]
    encoder = run.options("pretrain")["encoder"]
    has_bands = architecture_of(detector.encoder.shape).num_bands is not None
    methods = [f"transformer ({detector.encoder.shape.model_type})"]
    methods += [f"classification with {run.options('finetune')['loss']}"] * ("finetune" in run.trained)
    methods += [backend_class(name).description for name in config.backends or ()]
    domains = [f"score normalization ({name})" for name in config.normalizations if name != "none"]
    domains += ["a memory bank for each domain"] * config.per_domain_banks
    domains += [config.target] * (config.target != "as_is")
    count = len(config.backends or ()) * (2 if config.with_statistics else 1)
    decisions = [FUSION_WORDS[config.fusion or "mean"]] * (len(config.backends or ()) > 1)
    decisions += ["average"] * config.with_statistics  # of the encoder and of spectral statistics
    external = ["pre-trained model"] * (encoder is not None)
    external += ["pre-training"] * ("pretrain" in run.trained and bool(run.options("pretrain")["datasets"]))
    uses_development = bool(set(detector.machines) & machines_of(run.data["year"], "dev"))
    stages = [{"pretrain": "pre-training", "finetune": "fine-tuning"}[stage] for stage in run.trained]
    return Description(
        input_sampling_rate=f"{SAMPLING_RATE // 1000}kHz",
        data_augmentation=_listed(
            word for key, word in AUGMENTATIONS.items() if any(one.get(key) for one in training)
        ),
        front_end=None if isinstance(run.data["channel"], int) else run.data["channel"],
        acoustic_features=_listed(
            ["log-mel energies" if has_bands else "raw waveform", *["spectral statistics"] * config.with_statistics]
        ),
        embeddings=None if encoder is None else hub_id(encoder) or Path(encoder).name,
        machine_learning_method=_listed(methods),
        aggregation_method=detector.encoder.pooling,
        domain_generalization_method=_listed(domains),
        ensemble_method_subsystem_count=count if count > 1 else None,
        decision_making=_listed(decisions),
        attribute_usage="attributes and pseudo-attributes as classes" if "finetune" in run.trained else None,
        external_data_usage=_listed(external),
        development_data_usage=_listed(["development", *stages]) if uses_development else None,
    )


def _listed(words: Iterable[str]) -> str | None:
    """The different words as a comma-separated list, in their order."""
    return ", ".join(dict.fromkeys(words)) or None


def machines_of(year: int, part: PartName) -> set[str]:
    """The machines of a part of a year."""
    return {machine for record in year_rules(year).records if record.part == part for machine in record.machines}


def count_parameters(detector: AnomalyDetector) -> int:
    """Number of weights of the encoder, with the head that it was fine-tuned with."""
    assert isinstance(detector.encoder, TransformerEncoder)
    return sum(weight.numel() for weight in detector.encoder.model.parameters())


def count_macs(detector: AnomalyDetector) -> int:
    """Multiply-adds for a clip of 10 s in matrix products and convolutions, those of the filter bank included."""
    clip = np.zeros(MACS_SECONDS * SAMPLING_RATE, np.float32)
    assert isinstance(detector.encoder, TransformerEncoder)
    # The counter follows gradients, which inference mode has not.
    detector.encoder.model.requires_grad_(False)
    # Attention as plain matrix products: PyTorch does not count all of its fast versions.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        detector.encoder([clip])
    return counter.get_total_flops() // 2


def development_results(run: ScoredRun) -> dict[str, dict[str, float]]:
    """The official terms of each labeled machine in percent; empty where no test clips have labels."""
    rows, _ = labeled_subset(read_table(run.folders["score"] / "test.parquet"))
    if not len(rows):
        return {}
    year = run.data["year"]
    machines = evaluate_scores(rows, year)["machines"]
    return {
        machine: {term: round(100 * means[term], 4) for term in year_rules(year).terms}
        for machine, means in machines.items()
    }
