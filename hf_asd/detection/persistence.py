"""A detector on disk: weights as safetensors, the rest in `detector.json`, which lists size and hash of every file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from ..audio.channels import describe_channel
from ..files import whole_file, write_json
from ..hub.manifest import DETECTOR_RECORDS, MANIFEST, checksums, read_manifest
from .backends.composite import describe_scoring
from .config import DetectorConfig
from .explanation.normal_profile import NormalProfile
from .memory_bank import MemoryBank
from .threshold import DESCRIPTIONS


if TYPE_CHECKING:
    from .detector import AnomalyDetector


FORMAT_VERSION = 3
BANK_FILE, PROFILE_FILE, ENCODER_FOLDER = "memory_bank.safetensors", "normal_profiles.safetensors", "encoder"


def save_detector(detector: "AnomalyDetector", folder: Path) -> Path:
    """Does what [`AnomalyDetector.save_pretrained`] documents."""
    folder.mkdir(parents=True, exist_ok=True)
    # Results of another detector that was saved here do not hold for this one.
    for name in DETECTOR_RECORDS if (folder / MANIFEST).is_file() else ():
        (folder / name).unlink(missing_ok=True)
    _save(_bank_tensors(detector), folder / BANK_FILE)
    _save(_profile_tensors(detector), folder / PROFILE_FILE)
    save_encoder = getattr(detector.encoder, "save_pretrained", None)
    if save_encoder is not None:
        save_encoder(folder / ENCODER_FOLDER)
    # For transformers' pipeline, which looks up the kind of a model here; everything else is in detector.json.
    write_json(folder / "config.json", {"model_type": "anomaly_detector"})
    # Last, because from_pretrained looks for it.
    write_json(folder / MANIFEST, _manifest(detector, folder, with_encoder=save_encoder is not None))
    return folder


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
                "num_normal_scores": len(bank.normal_scores),
                "clip_ids": bank.clip_ids,
            }
            for machine, bank in detector.machines.items()
        },
        "profiles": list(detector.profiles),
        "training_summary": detector.training_summary,
        "base_model": detector.base_model,
        "files": checksums(folder),
    }


def _bank_tensors(detector: "AnomalyDetector") -> dict[str, torch.Tensor]:
    tensors = {}
    for machine, bank in detector.machines.items():
        tensors[f"{machine}/normal_scores"] = torch.from_numpy(bank.normal_scores)
        for domain, embeddings in bank.embeddings.items():
            tensors[f"{machine}/{domain}"] = embeddings.to(detector.bank_dtype).contiguous()
    return tensors


def _profile_tensors(detector: "AnomalyDetector") -> dict[str, torch.Tensor]:
    return {
        f"{machine}/{name}": torch.from_numpy(values).half()
        for machine, profile in detector.profiles.items()
        for name, values in profile.summaries.items()
    }


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Writes the file whole or not at all; without tensors an older one is removed."""
    if not tensors:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as partial:
        save_file(tensors, partial)


def load_detector(cls: "type[AnomalyDetector]", folder: Path) -> "AnomalyDetector":
    """Does what [`AnomalyDetector.from_pretrained`] documents, for a folder."""
    content = read_manifest(folder, FORMAT_VERSION)
    config = DetectorConfig(**content["config"])
    encoder = None if content["encoder"] is None else config.load_encoder(folder / content["encoder"])
    detector = cls(encoder, config)
    detector.training_summary, detector.base_model = content["training_summary"], content["base_model"]
    tensors = load_file(folder / BANK_FILE)
    for machine, saved in content["machines"].items():
        embeddings = {domain: tensors[f"{machine}/{domain}"].float() for domain in saved["clip_ids"]}
        detector.bank_dtype = tensors[f"{machine}/{next(iter(embeddings))}"].dtype
        _check_shapes(folder, machine, embeddings, saved["clip_ids"], detector.encoder.dimensions)
        detector.machines[machine] = MemoryBank(
            embeddings=embeddings,
            clip_ids=saved["clip_ids"],
            normal_scores=tensors[f"{machine}/normal_scores"].numpy(),
            threshold=saved["threshold"],
            false_alarm_rate=saved["false_alarm_rate"],
            config=detector.config,
        )
    summaries = load_file(folder / PROFILE_FILE) if content["profiles"] else {}
    for machine in content["profiles"]:
        own = {key: values.numpy() for key, values in summaries.items() if key.rpartition("/")[0] == machine}
        detector.profiles[machine] = NormalProfile({key.removeprefix(f"{machine}/"): own[key] for key in own})
    return detector


def _check_shapes(
    folder: Path, machine: str, embeddings: dict[str, torch.Tensor], clip_ids: dict[str, list[str]], dimensions: int
) -> None:
    for domain, bank in embeddings.items():
        expected = (len(clip_ids[domain]), dimensions)
        if bank.shape != expected:
            raise ValueError(
                f"{folder}: the memory bank of {machine}, {domain} domain, has the shape {tuple(bank.shape)}, but the "
                f"encoder and the listed clips need {expected}. The files belong to different detectors."
            )
