"""A detector on disk: weights as safetensors, the rest in `detector.json`, which also vouches for every other file."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..embedding import TransformerEncoder
from ..hub.manifest import DETECTOR_RECORDS, MANIFEST, checksums, read_manifest
from .config import DetectorConfig
from .explanation.normal_profile import NormalProfile
from .memory_bank import MemoryBank


FORMAT_VERSION = 2


def save_detector(detector, folder: Path) -> Path:
    """What [`AnomalyDetector.save_pretrained`] does."""
    folder.mkdir(parents=True, exist_ok=True)
    # What was measured on another detector that was saved here does not hold for this one.
    for name in DETECTOR_RECORDS if (folder / MANIFEST).is_file() else ():
        (folder / name).unlink(missing_ok=True)
    tensors, machines = {}, {}
    for machine, bank in detector.machines.items():
        machines[machine] = {
            "threshold": bank.threshold,
            "false_alarm_rate": bank.false_alarm_rate,
            "clip_ids": bank.clip_ids,
        }
        tensors[f"{machine}/normal_scores"] = torch.from_numpy(bank.normal_scores)
        for domain, embeddings in bank.embeddings.items():
            tensors[f"{machine}/{domain}"] = embeddings.to(detector.bank_dtype).contiguous()
    _save(tensors, folder / "memory_bank.safetensors")
    sounds = {
        f"{machine}/{name}": torch.from_numpy(values).half()
        for machine, profile in detector.profiles.items()
        for name, values in profile.summaries.items()
    }
    if sounds:
        _save(sounds, folder / "normal_sounds.safetensors")
    else:  # those of another detector that was saved here
        (folder / "normal_sounds.safetensors").unlink(missing_ok=True)
    config = asdict(detector.config)
    if isinstance(detector.encoder, TransformerEncoder):
        detector.encoder.save_pretrained(folder / "encoder")
        # Counted from the front: the encoder is saved without the blocks behind it.
        config["layer"] = detector.encoder.layer
    # Tells transformers' pipeline what this is; all the rest is in detector.json.
    (folder / "config.json").write_text(json.dumps({"model_type": "anomaly_detector"}), encoding="utf-8")
    content = {
        "format_version": FORMAT_VERSION,
        "encoder": "encoder" if isinstance(detector.encoder, TransformerEncoder) else None,
        "config": config,
        "machines": machines,
        "profiles": list(detector.profiles),
        "training_summary": detector.training_summary,
        "base_model": detector.base_model,
        "files": checksums(folder),
    }
    # Last, because it is what from_pretrained looks for.
    (folder / "detector.json.partial").write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(folder / "detector.json.partial", folder / "detector.json")
    return folder


def load_detector(cls, folder: Path):
    """What [`AnomalyDetector.from_pretrained`] does with a folder."""
    content = read_manifest(folder, FORMAT_VERSION)
    config = DetectorConfig(**content["config"])
    encoder = None
    if content["encoder"] is not None:
        encoder = config.load_encoder(folder / content["encoder"])
    detector = cls(encoder, config)
    detector.training_summary, detector.base_model = content["training_summary"], content["base_model"]
    tensors = load_file(folder / "memory_bank.safetensors")
    for machine, told in content["machines"].items():
        embeddings = {domain: tensors[f"{machine}/{domain}"].float() for domain in told["clip_ids"]}
        detector.bank_dtype = tensors[f"{machine}/{next(iter(embeddings))}"].dtype
        for domain, bank in embeddings.items():
            expected = (len(told["clip_ids"][domain]), detector.encoder.dimensions)
            if bank.shape != expected:
                raise ValueError(
                    f"{folder}: the memory bank of {machine}, {domain} domain, has the shape {tuple(bank.shape)}, "
                    f"but the encoder and the listed clips make {expected}. The files are of different detectors."
                )
        detector.machines[machine] = MemoryBank(
            embeddings=embeddings,
            clip_ids=told["clip_ids"],
            normal_scores=tensors[f"{machine}/normal_scores"].numpy(),
            threshold=told["threshold"],
            false_alarm_rate=told["false_alarm_rate"],
            config=config,
        )
    sounds = load_file(folder / "normal_sounds.safetensors") if content["profiles"] else {}
    for machine in content["profiles"]:
        detector.profiles[machine] = NormalProfile(
            {
                name.removeprefix(f"{machine}/"): values.numpy()
                for name, values in sounds.items()
                if name.rpartition("/")[0] == machine
            }
        )
    return detector


def _save(tensors: dict[str, torch.Tensor], path: Path):
    """The whole file or none."""
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial)
    os.replace(partial, path)
