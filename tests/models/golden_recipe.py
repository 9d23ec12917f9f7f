"""What the numbers in `golden/` were made from, for a test to make it again; the files tell the rest in words."""

import json
from pathlib import Path

import numpy as np
import torch


def read_golden(name):
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text())


def fill_with_waves(model):
    """
    In the alphabetical order of our names, weight number p holds 0.5 sin(0.7 i + p) at position i of its rows laid end
    to end; weights of norms have 1 added.
    """
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
            waves = 0.5 * torch.sin(0.7 * torch.arange(parameter.numel(), dtype=torch.float64) + number)
            parameter.copy_((waves + ("norm" in name and name.endswith("weight"))).view_as(parameter))
    return model.eval()


def golden_clip(seconds):
    """Noise of numpy's generator with seed 0, and a tone of 440 Hz that comes and goes twice a second, 16 kHz."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return (noise + 0.1 * np.sin(2 * np.pi * 440 * time) * np.sin(2 * np.pi * time) ** 2).astype(np.float32)
