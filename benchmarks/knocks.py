"""A single knock that is added to a recording, for benchmarks."""

import numpy as np
from scipy.signal import butter, sosfilt


RATE, KNOCK = 16_000, 1024  # samples: 64 ms
DECAY_SECONDS = 0.03


def add_knock(rng: np.random.Generator, samples: np.ndarray, db: float) -> np.ndarray:
    """
    A recording with a burst of noise that decays within 64 ms, one octave wide, somewhere between 200 and 4500 Hz.

    Args:
        rng (`np.random.Generator`): decides about moment and band.
        samples (`np.ndarray` of shape `(samples,)`): 16 kHz.
        db (`float`): how far the knock is above the recording in the same octave and 64 ms.
    """
    time, middle = np.arange(len(samples)) / RATE, float(np.exp(rng.uniform(np.log(200), np.log(4500))))
    band = butter(4, (middle / 2**0.5, middle * 2**0.5), "bandpass", fs=RATE, output="sos")
    start = rng.uniform(0.1, 0.8) * len(samples) / RATE
    envelope = np.where(time > start, np.exp(-np.maximum(time - start, 0) / DECAY_SECONDS), 0)
    knock = np.asarray(sosfilt(band, rng.standard_normal(len(samples)))) * envelope
    parts = np.array_split(np.asarray(sosfilt(band, samples)), len(samples) // KNOCK)
    power = np.median([np.mean(np.square(part)) for part in parts])
    first = int(start * RATE)
    loudness = np.mean(np.square(np.asarray(sosfilt(band, knock))[first : first + KNOCK]))
    return (samples + np.sqrt(power * 10 ** (db / 10) / loudness) * knock).astype(np.float32)
