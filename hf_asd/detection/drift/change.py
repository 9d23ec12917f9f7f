"""What changed between two groups of recordings, in words: all bands at once, or some of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...embedding.band_statistics import MELS_APART, MELS_PER_BAND, NUM_BANDS
from ..explanation.band_deviations import mel_hertz
from ..explanation.words import frequency_range
from .session_test import LOUDEST


Cause = Literal["recording", "machine"]
# Chosen on installations of benchmarks/drift.py that no figure is from.
SAME_SHARE, SAME_DB = 2 / 3, 1.0  # of the bands that changed in one direction, and by how much at least
LEAST_OVERALL_DB = 2.5
LEAST_FLOOR_DB = 1.0
QUIETEST = 0  # place of the 10 % quantile over time


@dataclass(frozen=True)
class Change:
    """
    Args:
        cause (`str`): `"recording"` where most bands changed alike, as when a microphone was moved; else
            `"machine"`.
        text (`str`): what changed.
        level_db, floor_db (`float`): change of the loudest and of the quietest tenth of the time, mean over the bands.
    """

    cause: Cause
    text: str
    level_db: float
    floor_db: float


def describe_change(before: np.ndarray, after: np.ndarray) -> Change:
    """
    Args:
        before, after (`np.ndarray` of shape `(clips, 3, 31)`): of
            [`~hf_asd.detection.drift.session_test.clip_levels`].
    """
    change = after.mean(0) - before.mean(0)
    loud, floor = change[LOUDEST], float(change[QUIETEST].mean())
    overall = float(loud.mean())
    same = max(float((loud > SAME_DB).mean()), float((loud < -SAME_DB).mean()))
    floor_text = ""
    if abs(floor) >= LEAST_FLOOR_DB:
        floor_text = f", the noise floor {abs(floor):.0f} dB {'higher' if floor > 0 else 'lower'}"
    if same >= SAME_SHARE and abs(overall) >= LEAST_OVERALL_DB:
        word = "louder" if overall > 0 else "quieter"
        text = (
            f"most bands are {word} at once, by {abs(overall):.0f} dB{floor_text}: was the microphone moved, "
            "the recording level or the recorder changed? A fault of a machine seldom does that"
        )
        return Change("recording", text, overall, floor)
    bands = _bands(loud, before[:, LOUDEST].std(0))
    text = f"{bands}{floor_text}: has the machine another load, speed or product, or a fault?"
    return Change("machine", text, overall, floor)


def _bands(change: np.ndarray, spread: np.ndarray) -> str:
    """The neighboring bands that changed most beside how much clips differ."""
    strength = np.abs(change) / np.maximum(spread, 0.5)
    first = last = middle = int(strength.argmax())
    while first > 0 and change[first - 1] * change[middle] > 0 and strength[first - 1] >= strength[middle] / 2:
        first -= 1
    while (
        last < NUM_BANDS - 1 and change[last + 1] * change[middle] > 0 and strength[last + 1] >= strength[middle] / 2
    ):
        last += 1
    low, high = mel_hertz(MELS_APART * first + 0.5), mel_hertz(MELS_APART * last + MELS_PER_BAND + 0.5)
    word = "louder" if change[middle] > 0 else "quieter"
    return f"{word} {frequency_range(low, high)}, by up to {np.abs(change[first : last + 1]).max():.0f} dB"
