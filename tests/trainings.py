"""Shared by the tests of pre-training and fine-tuning: recordings, an encoder, options of short runs, weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

from hf_asd import EatConfig, EatFeatureExtractor, EatModel, load_folder
from hf_asd.training.trainer import SeededTrainer


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PRETRAIN: dict[str, Any] = {
    "model": TINY | {"decoder_layers": 1},
    "crop_seconds": 0.5,
    "num_masks": 2,
    "batch_size": 4,
    "max_steps": 6,
    "save_steps": 2,
    "training": {"disable_tqdm": True},
}
FINETUNE: dict[str, Any] = {"crop_seconds": 0.5, "batch_size": 4, "max_steps": 6, "save_steps": 2}


@pytest.fixture(name="clips")
def twelve_clips(tmp_path):
    """Two machines of six short clips each, every machine with two loads."""
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        for load in ("low", "high"):
            (tmp_path / "clips" / machine / load).mkdir(parents=True)
            for clip in range(3):
                samples = 0.1 * rng.standard_normal(16_000) * (1 + np.sin(np.arange(16_000) * 0.01 * (clip + 1)))
                soundfile.write(tmp_path / "clips" / machine / load / f"{clip}.wav", samples, 16_000)
    return load_folder(tmp_path / "clips")["train"]


def tiny_encoder(folder: Path, **options) -> Path:
    """Writes an EAT with random weights, and its feature extractor."""
    torch.manual_seed(0)
    EatModel(EatConfig(**TINY | options)).save_pretrained(folder)
    EatFeatureExtractor().save_pretrained(folder)
    return folder


def weights(folder):
    return AutoModel.from_pretrained(folder).state_dict()


def assert_same_bits(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def stop_at(monkeypatch, step):
    """Interrupts the run at a step, without any clean-up."""
    checked = SeededTrainer.checked

    def stops(self, loss):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return checked(self, loss)

    monkeypatch.setattr(SeededTrainer, "checked", stops)
