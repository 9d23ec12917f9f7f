"""A detector on disk: weights as safetensors, the rest in `detector.json`, which lists size and hash of every file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..audio.channels import describe_channel
from ..files import write_json
from ..folders import read_whole, replaced_folder
from ..hub.manifest import (
    BANK_FILE,
    DETECTOR_FOLDER,
    ENCODER_FOLDER,
    MANIFEST,
    PROFILE_FILE,
    checksums,
    read_manifest,
)
from ..options import parse_option
from .backends.composite import describe_scoring
from .config import DetectorConfig
from .explanation.normal_profile import NormalProfile
from .heard_clips import HeardClips
from .memory_bank import MemoryBank
from .threshold import DESCRIPTIONS
from .verdicts import attach_faults, keep_verdicts, read_verdicts


if TYPE_CHECKING:
    from .detector import AnomalyDetector


FORMAT_VERSION = 6


def save_detector(detector: "AnomalyDetector", folder: Path) -> Path:
    """Does what [`AnomalyDetector.save_pretrained`] documents."""
    with detector_folder(folder) as partial:
        write_detector(detector, partial)
    keep_verdicts(detector, folder)
    return folder


def detector_folder(folder: str | Path) -> AbstractContextManager[Path]:
    """
    An empty folder for a detector, its results and its card. What [`write_detector`] and others write there takes the
    place of an older detector and its results as a whole; see [`~hf_asd.folders.replaced_folder`].
    """
    return replaced_folder(folder, DETECTOR_FOLDER)


def write_detector(detector: "AnomalyDetector", folder: Path, encoder_folder: Path | None = None) -> None:
    """
    Writes a detector into a folder of [`detector_folder`].

    Args:
        detector ([`AnomalyDetector`]): a fitted one.
        folder (`Path`): where to write.
        encoder_folder (`Path`, *optional*): where its encoder is saved already, so that many detectors share the place
            on the disk.
    """
    for name, tensors in {BANK_FILE: _bank_tensors(detector), PROFILE_FILE: _profile_tensors(detector)}.items():
        if tensors:
            save_file(tensors, folder / name)
    if detector.heard is not None:
        detector.heard.save(folder)
    save_encoder = getattr(detector.encoder, "save_pretrained", None)
    if save_encoder is not None and encoder_folder is not None:
        shutil.copytree(encoder_folder, folder / ENCODER_FOLDER, copy_function=_link_or_copy)
    elif save_encoder is not None:
        save_encoder(folder / ENCODER_FOLDER)
    # For transformers' pipeline, which looks up the kind of a model here; everything else is in detector.json.
    write_json(folder / "config.json", {"model_type": "anomaly_detector"})
    # Last: with it, the detector is whole.
    write_json(folder / MANIFEST, _manifest(detector, folder, with_encoder=save_encoder is not None))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _manifest(detector: "AnomalyDetector", folder: Path, with_encoder: bool) -> dict:
    config = detector.config
    return {
        "format_version": FORMAT_VERSION,
        "encoder": ENCODER_FOLDER if with_encoder else None,
        # The layer is counted from the first one: later layers are not saved.
        "config": asdict(config) | {"layer": getattr(detector.encoder, "layer", None)},
        "descriptions": {
            "embedding": detector.embedding_description,
            "score": describe_scoring(config),
            "threshold": DESCRIPTIONS[config.threshold_method],
            "channel": describe_channel(config.channel),
        },
        "machines": {
            machine: {
                "threshold": bank.threshold,
                "false_alarm_rate": bank.false_alarm_rate,
                "asked_false_alarm_rate": bank.config.false_alarm_rate,
                "num_normal_scores": len(bank.normal_scores),
                "num_dropped": bank.num_dropped,
                "clip_ids": bank.clip_ids,
                "sessions": bank.sessions,
                "added": _added(detector, bank),
            }
            for machine, bank in detector.machines.items()
        },
        "profiles": list(detector.profiles),
        "window_seconds": None if detector.heard is None else detector.heard.window_seconds,
        "training_summary": detector.training_summary,
        "base_model": detector.base_model,
        "precision_cosine": detector.precision_cosine,
        "files": checksums(folder),
    }


def _added(detector: "AnomalyDetector", bank: MemoryBank) -> list[str] | None:
    """The day on which each clip of a bank was learned from, where that is kept."""
    if detector.heard is None:
        return None
    days = dict(zip(detector.heard.rows["clip_id"][:], detector.heard.rows["added"][:], strict=True))
    return [days[clip_id] for clip_ids in bank.clip_ids.values() for clip_id in clip_ids]


def _bank_tensors(detector: "AnomalyDetector") -> dict[str, torch.Tensor]:
    tensors = {}
    for machine, bank in detector.machines.items():
        tensors[f"{machine}/normal_scores"] = torch.from_numpy(bank.normal_scores)
        if bank.recordings is not None:
            tensors[f"{machine}/recordings"] = torch.from_numpy(bank.recordings)
        for domain, embeddings in bank.embeddings.items():
            tensors[f"{machine}/{domain}"] = embeddings.to(detector.bank_dtype).contiguous()
    return tensors


def _profile_tensors(detector: "AnomalyDetector") -> dict[str, torch.Tensor]:
    return {
        f"{machine}/{name}": torch.from_numpy(values).half()
        for machine, profile in detector.profiles.items()
        for name, values in profile.summaries.items()
    }


def load_detector(cls: "type[AnomalyDetector]", folder: Path) -> "AnomalyDetector":
    """Does what [`AnomalyDetector.from_pretrained`] documents, for a folder."""
    detector = read_whole(folder, DETECTOR_FOLDER, lambda current: _load(cls, current))
    detector.verdicts = read_verdicts(folder)
    attach_faults(detector)
    return detector


def _load(cls: "type[AnomalyDetector]", folder: Path) -> "AnomalyDetector":
    content = read_manifest(folder, FORMAT_VERSION)
    config = _config(folder, content["config"])
    encoder = None if content["encoder"] is None else config.load_encoder(folder / content["encoder"])
    detector = cls(encoder, config)
    detector.training_summary = cast(dict[str, dict], content["training_summary"])
    detector.base_model = content["base_model"]
    detector.precision_cosine = content["precision_cosine"]
    with _tensors(folder, BANK_FILE) as tensors:
        for machine, saved in content["machines"].items():
            embeddings = {domain: tensors[f"{machine}/{domain}"].float() for domain in saved["clip_ids"]}
            detector.bank_dtype = tensors[f"{machine}/{next(iter(embeddings))}"].dtype
            recordings = tensors.get(f"{machine}/recordings")
            bank = MemoryBank(
                embeddings=embeddings,
                clip_ids=saved["clip_ids"],
                normal_scores=tensors[f"{machine}/normal_scores"].numpy(),
                threshold=saved["threshold"],
                false_alarm_rate=saved["false_alarm_rate"],
                config=replace(detector.config, false_alarm_rate=saved["asked_false_alarm_rate"]),
                recordings=None if recordings is None else recordings.numpy(),
                sessions=saved["sessions"],
                num_dropped=saved["num_dropped"],
            )
            _check_bank(folder, machine, bank, detector.encoder.dimensions)
            detector.machines[machine] = bank
    if all(saved["added"] is not None for saved in content["machines"].values()):
        detector.heard = HeardClips.load(folder, content["window_seconds"])
    if content["profiles"]:
        with _tensors(folder, PROFILE_FILE) as tensors:
            detector.profiles = {machine: _profile(machine, tensors) for machine in content["profiles"]}
    return detector


def _profile(machine: str, tensors: dict[str, torch.Tensor]) -> NormalProfile:
    own = {key: values for key, values in tensors.items() if key.rpartition("/")[0] == machine}
    if not own:
        raise KeyError(machine)
    return NormalProfile({key.removeprefix(f"{machine}/"): values.numpy() for key, values in own.items()})


def _config(folder: Path, saved: dict[str, Any]) -> DetectorConfig:
    """The config in a manifest, which has to have every option and no other."""
    known = {field.name: field for field in fields(DetectorConfig)}
    differing = sorted(known.keys() ^ saved.keys())
    if differing:
        raise ValueError(
            f"{folder / MANIFEST}: config differs from the options of this version in {', '.join(differing)}. Fit the "
            "detector again."
        )
    hints = get_type_hints(DetectorConfig)
    try:
        options = {name: parse_option(name, saved[name], hints[name], known[name].metadata) for name in known}
        return DetectorConfig(**options)
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST}: config: {error} Fit the detector again.") from error


@contextmanager
def _tensors(folder: Path, name: str) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors of a file; one that is damaged or lacks a tensor is an error that names it."""
    try:
        yield load_file(folder / name)
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{folder / name}: is damaged, or does not belong to {MANIFEST} beside it ({error}). Fit the detector "
            "again."
        ) from error


def _check_bank(folder: Path, machine: str, bank: MemoryBank, dimensions: int) -> None:
    for domain, embeddings in bank.embeddings.items():
        expected = (len(bank.clip_ids[domain]), dimensions)
        if embeddings.shape != expected:
            raise ValueError(
                f"{folder}: the memory bank of {machine}, {domain} domain, has the shape {tuple(embeddings.shape)}, "
                f"but the encoder and the listed clips need {expected}. The files belong to different detectors."
            )
        if not embeddings.isfinite().all():
            raise ValueError(f"{folder}: the memory bank of {machine} has values that are not finite. Fit it again.")
    scores = bank.normal_scores
    for what, values in {"recordings": bank.recordings, "sessions": bank.sessions}.items():
        if values is not None and len(values) != len(scores):
            raise ValueError(
                f"{folder}: the normal scores of {machine} and their {what} differ in number. Fit it again."
            )
    if not len(scores) or not np.isfinite(scores).all() or bank.threshold < scores.min():
        found = f"from {scores.min():.4g} to {scores.max():.4g}" if len(scores) else "missing"
        raise ValueError(
            f"{folder}: the threshold of {machine} is {bank.threshold:.4g}, but the scores of its normal recordings "
            f"are {found}: every recording would be an anomaly. Fit the detector again."
        )
