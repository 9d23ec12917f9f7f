"""Fourier transforms of real signals, with types: the functions of scipy are typed as something else than arrays."""

import numpy as np
from scipy import fft


def rfft(signal: np.ndarray) -> np.ndarray:
    """Spectrum of shape `(samples // 2 + 1,)`, complex."""
    return np.asarray(fft.rfft(signal))


def irfft(spectrum: np.ndarray, samples: int) -> np.ndarray:
    """Signal of shape `(samples,)`."""
    return np.asarray(fft.irfft(spectrum, samples))


def fast_length(samples: int, real: bool = True) -> int:
    """The next number of samples that has a fast transform, of real or of complex signals."""
    length = fft.next_fast_len(samples, real=real)
    assert length is not None
    return length
