"""The output of a converted encoder for a built-in test tone: it shows that weights, shape and code fit together."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files import read_json, write_json


TONE_FILE = "tone_output.json"
TONE_HZ, SECONDS, RATE = 440.0, 0.5, 16_000
# Of the root mean square of the output. TF32 stays below it; a wrong residual or normalization does not, even with
# random weights.
TOLERANCE = 0.01


@torch.no_grad()
def tone_output(model: Any, feature_extractor: Any) -> list[float]:
    """
    An encoder's output for a tone of 440 Hz that swells over half a second: the mean of its tokens.

    Args:
        model (`PreTrainedModel`): an encoder in evaluation mode.
        feature_extractor (`FeatureExtractionMixin`): its feature extractor.

    Returns:
        `list[float]`: a number for each channel.
    """
    time = np.arange(int(SECONDS * RATE)) / RATE
    tone = (0.1 * time / SECONDS * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.float32)
    inputs = feature_extractor([tone], sampling_rate=RATE, return_tensors="pt")[model.main_input_name]
    tokens = model(inputs.to(model.device, model.dtype)).last_hidden_state
    return tokens.float().mean((0, 1)).tolist()


def store_tone_output(model: Any, feature_extractor: Any, folder: Path) -> None:
    """Writes the output for the test tone beside a converted encoder."""
    write_json(folder / TONE_FILE, {"output": tone_output(model.eval(), feature_extractor)})


def check_tone_output(model: Any, feature_extractor: Any, folder: str | Path) -> None:
    """
    Compares the output for the test tone with the stored one, where one is stored.

    Args:
        model (`PreTrainedModel`): the encoder, with all of its layers.
        feature_extractor (`FeatureExtractionMixin`): its feature extractor.
        folder (`str` or `Path`): where both were loaded from.

    Raises:
        ValueError: they differ.
    """
    file = Path(folder) / TONE_FILE
    if not file.is_file():
        return
    stored = np.array(read_json(file)["output"])
    found = np.array(tone_output(model.eval(), feature_extractor))
    difference = np.inf if found.shape != stored.shape else np.abs(found - stored).max()
    scale = max(float(np.sqrt(np.square(stored).mean())), 1e-6)
    if not difference <= TOLERANCE * scale:
        raise ValueError(
            f"{folder}: for a test tone the encoder gives another output than when it was converted (it differs by "
            f"{difference / scale:.1%} of its size). Its config.json, its feature extractor's or its weights were "
            "changed, such as BEATs' residual_scale; convert it again."
        )
