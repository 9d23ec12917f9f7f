"""The recordings that tests hear."""

import numpy as np


RATE = 16_000


def hum(rng: np.random.Generator, pitch: float = 100.0, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A machine: five harmonics over noise, at a level that varies by a dB or two."""
    time = np.arange(int(rate * seconds)) / rate
    tones = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 6))
    return (rng.uniform(0.08, 0.12) * tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)
