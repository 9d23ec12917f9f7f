"""The faults of a probe: sounds at graded strengths that are added to a normal clip."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from zlib import crc32

import numpy as np
import scipy.fft

from ...audio.reading import SAMPLING_RATE


KNOCK_SAMPLES, KNOCK_DECAY = 1024, 0.03 * SAMPLING_RATE  # 64 ms, in which a knock falls to an eighth
DROPOUT_SECONDS = 0.1
SILENCE = 1e-12  # power below -120 dB of full scale

# A clip of shape `(samples,)` and a random generator -> the sound of a fault, of the same shape, at a gain of 1.
MakeSound = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class ProbeFault:
    """
    A fault at graded strengths.

    Args:
        name (`str`): such as `"a tone at 60 Hz"`.
        unit (`str`): what its strength is counted from, such as `"above its band"`.
        sentence (`str`): the fault with a strength, for `format(db=...)`.
        strengths (`tuple[float, ...]`): in dB, rising.
        sound (`Callable`): makes what is added to a clip.
        gain (`Callable`): from a strength in dB to what the sound is multiplied by.
    """

    name: str
    unit: str
    sentence: str
    strengths: tuple[float, ...]
    sound: MakeSound
    gain: Callable[[float], float]

    def sound_for(self, clip: np.ndarray, number: int) -> np.ndarray:
        """The sound for a clip; moment, band and phase follow from `number`, so that they are always the same."""
        return self.sound(clip, np.random.default_rng((number, crc32(self.name.encode()))))

    def add(self, clip: np.ndarray, sound: np.ndarray, db: float) -> np.ndarray:
        """A clip with this fault, float32."""
        return (clip + self.gain(db) * sound).astype(np.float32)


def tone(samples: np.ndarray, rng: np.random.Generator, hertz: float) -> np.ndarray:
    """A steady tone as strong as the clip in the third of an octave around it."""
    band = _power(_band(samples, hertz / 2 ** (1 / 6), hertz * 2 ** (1 / 6)))
    turns = hertz * np.arange(len(samples)) / SAMPLING_RATE + rng.random()
    return np.sqrt(2 * band) * np.sin(2 * np.pi * turns)


def noise(samples: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Steady noise from `low` to `high` Hz, as strong as the clip there."""
    sound = _band(rng.standard_normal(len(samples)), low, high)
    return sound * np.sqrt(_power(_band(samples, low, high)) / _power(sound))


def knock(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    One knock: a burst of noise that decays within 64 ms, one octave wide, somewhere between 200 and 4500 Hz and
    somewhere in the clip; as strong as the median moment of the clip in the same octave.
    """
    middle = float(np.exp(rng.uniform(np.log(200), np.log(4500))))
    low, high = middle / 2**0.5, middle * 2**0.5
    start = int(rng.uniform(0.1, 0.8) * len(samples))
    after = np.arange(len(samples)) - start
    envelope = np.where(after >= 0, np.exp(-np.maximum(after, 0) / KNOCK_DECAY), 0)
    sound = _band(rng.standard_normal(len(samples)), low, high) * envelope
    around = _band(samples, low, high)
    moments = around[: len(around) // KNOCK_SAMPLES * KNOCK_SAMPLES].reshape(-1, KNOCK_SAMPLES)
    power = max(float(np.median(np.square(moments).mean(1))), SILENCE)
    return sound * np.sqrt(power / _power(sound[start : start + KNOCK_SAMPLES]))


def dropout(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What takes all sound away for a tenth of a second, somewhere in the clip."""
    start, length = int(rng.uniform(0.1, 0.8) * len(samples)), round(DROPOUT_SECONDS * SAMPLING_RATE)
    sound = np.zeros(len(samples))
    sound[start : start + length] = -samples[start : start + length]
    return sound


def _ratio(db: float) -> float:
    """Of amplitudes."""
    return 10 ** (db / 20)


def _louder_by(db: float) -> float:
    """The gain of a sound as strong as a band that makes the band `db` louder."""
    return (10 ** (db / 10) - 1) ** 0.5


def _quieter_by(db: float) -> float:
    return 1 - _ratio(-db)


# Each is tried at three strengths: a search by halves over seven.
PROBE_FAULTS: tuple[ProbeFault, ...] = (
    *(
        ProbeFault(
            f"a tone at {words}",
            "above its band",
            f"a tone at {words} {{db}} dB above its band",
            (-3, 0, 3, 6, 9, 12, 15),
            partial(tone, hertz=hertz),
            _ratio,
        )
        for hertz, words in ((60.0, "60 Hz"), (1000.0, "1 kHz"))
    ),
    *(
        ProbeFault(
            f"noise from {words}",
            "more in the band",
            f"{{db}} dB more noise from {words}",
            (1, 2, 3, 4, 6, 9, 12),
            partial(noise, low=low, high=high),
            _louder_by,
        )
        for low, high, words in ((250.0, 500.0, "250 to 500 Hz"), (2000.0, 4000.0, "2 to 4 kHz"))
    ),
    ProbeFault(
        "a knock", "above its band at that moment", "a knock of {db} dB", (10, 14, 18, 22, 26, 30, 34), knock, _ratio
    ),
    ProbeFault(
        "a dropout of 0.1 s",
        "below the rest",
        "a dropout of {db} dB for 0.1 s",
        (3, 6, 9, 12, 15, 18, 21),
        dropout,
        _quieter_by,
    ),
)


def _band(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    """The part of a signal between two frequencies in Hz."""
    spectrum = np.asarray(scipy.fft.rfft(samples))
    hertz = np.arange(len(spectrum)) * SAMPLING_RATE / len(samples)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.asarray(scipy.fft.irfft(spectrum, len(samples)))


def _power(samples: np.ndarray) -> float:
    return max(float(np.square(samples).mean()), SILENCE)
