import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from hf_asd import TransformerEncoder
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER


RECIPE = Path(__file__).parents[2] / "recipes" / "offline_encoder" / "make.py"


def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("make", RECIPE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_and_distinguishes_knocks():
    file = BUNDLED_ENCODER / "model.safetensors"
    weights = load_file(file)
    assert file.stat().st_size <= 12e6 and sum(tensor.numel() for tensor in weights.values()) <= 6e6
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    encoder = TransformerEncoder.from_pretrained(BUNDLED_ENCODER, "bands_std")
    assert encoder.model.dtype == torch.float32
    rng = np.random.default_rng(0)
    quiet, loud = 0.01 * rng.standard_normal((2, 32_000)).astype(np.float32)
    loud[::4000] += 0.5  # knocks
    embeddings = encoder([quiet, loud])
    assert embeddings.shape == (2, 2048) and np.isfinite(embeddings).all()
    assert np.abs(embeddings[0] - embeddings[1]).max() > 0.1


def test_its_recipe_does_not_train_on_the_machines_it_is_evaluated_on():
    make = recipe()
    assert not {"fan", "valve"} & set(make.TRAINING_MACHINES)
    clips = [clip for machine in make.TRAINING_MACHINES for place in range(3) for clip in make.plan(machine, place)]
    assert {clip.machine for clip in clips} == set(make.TRAINING_MACHINES)
    faulty = [clip for clip in clips if clip.fault is not None]
    assert len(faulty) == len(clips) / 2 and min(clip.severity for clip in faulty) >= 0.3
    assert make.plan("pump", 0) == make.plan("pump", 0) != make.plan("pump", 1)


def test_its_recipe_writes_every_clip_once(tmp_path):
    make = recipe()
    make.SECONDS, make.TRAINING_MACHINES = 1.0, ("pump",)
    rows = make.simulate(tmp_path, places=1)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.wav")}
    assert len(times) == len(rows) == make.CLIPS_PER_PLACE
    assert set(rows["attribute_label"]) > {"fault=none"}
    next(iter(times)).unlink()
    assert make.simulate(tmp_path, places=1)["clip_id"][:] == rows["clip_id"][:]
    assert sum(file.stat().st_mtime_ns != times[file] for file in tmp_path.rglob("*.wav")) == 1
