"""Synthetic faults: changes of a normal clip's spectrogram as faults of a machine cause them."""

import math
from collections.abc import Callable

import torch

from .sampling import FRAMES_PER_SECOND


DECIBEL = math.log(10) / 10  # in natural logarithms of energy
SHORTEST_KNOCK, LONGEST_KNOCK = 0.007, 0.06  # seconds in which a knock falls to 1/e


def add_fault(log_mel: torch.Tensor, fault: str, generator: torch.Generator) -> torch.Tensor:
    """
    Adds a fault to a clip, with random strength from barely to clearly audible. Levels are relative to the clip's own
    mean energy in each band, so that they are the same for quiet and loud machines.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, mel_bins)`): log energies, natural logarithms, float32, 100 frames a
            second.
        fault (`str`): one of [`SYNTHETIC_FAULTS`]:
            - `"knocks"`: impacts in some bands, at regular (0.5 to 25 per second) or random times;
            - `"tones"`: one to five additional narrow tones;
            - `"noise"`: more noise in some bands, such as that of friction, a leak or turbulence;
            - `"swell"`: some or all bands rise and fall, 0.5 to 20 times per second or at random;
            - `"loss"`: some bands become weaker.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.

    References:
        D. Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure": the outliers in training can differ
        from later anomalies; T. Inoue et al. 2020, "Detection of Anomalous Sounds for Machine Condition Monitoring
        using Classification Confidence" (DCASE workshop): changed clips as classes. The sounds and their ranges are
        this project's own.
    """
    return SYNTHETIC_FAULTS[fault](log_mel, generator)


def _knocks(log_mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    frames, bands = log_mel.shape
    gap = _between(0.04, 2.0, generator, logarithmic=True) * FRAMES_PER_SECOND
    count = int(frames / gap) + 1
    if _between(0, 1, generator) < 0.7:
        moments = (torch.arange(count) + torch.rand((), generator=generator)) * gap
    else:
        moments = torch.rand(count, generator=generator) * frames
    impacts = torch.zeros(frames)
    impacts[moments.long().clamp_max(frames - 1)] = torch.exp(0.4 * torch.randn(count, generator=generator))
    fall = _between(SHORTEST_KNOCK, LONGEST_KNOCK, generator, logarithmic=True) * FRAMES_PER_SECOND
    ringing = torch.exp(-torch.arange(30) / fall)
    envelope = torch.nn.functional.conv1d(impacts[None, None], ringing.flip(0)[None, None], padding=29)[0, 0, :frames]
    return _with(log_mel, envelope[:, None] * _hump(bands, 6, 40, generator), _between(0, 14, generator))


def _tones(log_mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    frames, bands = log_mel.shape
    lines = torch.zeros(bands)
    for _ in range(int(_between(1, 6, generator))):
        # A tone between two bands has energy in both.
        place, strength = int(_between(0, bands - 1, generator)), _between(0.3, 1, generator)
        lines[place] += strength
        lines[place + 1] += strength * _between(0, 1, generator)
    flicker = torch.exp(_between(0, 0.6, generator) * _slow(frames, _between(2, 25, generator), generator))
    return _with(log_mel, flicker[:, None] * lines, _between(-5, 10, generator))


def _noise(log_mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    grain = torch.exp(0.3 * torch.randn(log_mel.shape, generator=generator))
    return _with(log_mel, grain * _hump(log_mel.shape[1], 6, 50, generator), _between(-6, 7, generator))


def _swell(log_mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    frames, bands = log_mel.shape
    rate = _between(0.5, 20, generator, logarithmic=True)
    if _between(0, 1, generator) < 0.7:
        turns = rate * torch.arange(frames) / FRAMES_PER_SECOND + torch.rand((), generator=generator)
        amplitude = 1 + _between(0.25, 0.95, generator) * torch.cos(2 * math.pi * turns)
        change = 2 * amplitude.log()
    else:
        change = _between(0.6, 2, generator) * _slow(frames, rate, generator)
    return log_mel + change[:, None] * _hump(bands, 15, 120, generator)


def _loss(log_mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return log_mel - DECIBEL * _between(2, 10, generator) * _hump(log_mel.shape[1], 6, 50, generator)


def _with(log_mel: torch.Tensor, pattern: torch.Tensor, level_db: float) -> torch.Tensor:
    """Adds a sound: its energy as a multiple of each band's mean energy."""
    mean = log_mel.exp().mean(0).log()
    return torch.logaddexp(log_mel, mean + pattern.clamp_min(1e-20).log() + level_db * DECIBEL)


def _hump(bands: int, narrowest: float, widest: float, generator: torch.Generator) -> torch.Tensor:
    """A Gaussian curve over the bands, 1 at its center; widths are its standard deviation in bands of 128."""
    width = _between(narrowest, widest, generator, logarithmic=True) * bands / 128
    return torch.exp(-0.5 * ((torch.arange(bands) - _between(0, bands, generator)) / width) ** 2)


def _slow(frames: int, rate: float, generator: torch.Generator) -> torch.Tensor:
    """A random curve over time with standard deviation 1 and `rate` turning points per second."""
    knots = torch.randn(1, 1, max(2, int(rate * frames / FRAMES_PER_SECOND)), generator=generator)
    return torch.nn.functional.interpolate(knots, size=frames, mode="linear", align_corners=True)[0, 0]


def _between(low: float, high: float, generator: torch.Generator, logarithmic: bool = False) -> float:
    share = float(torch.rand((), generator=generator))
    return low * (high / low) ** share if logarithmic else low + share * (high - low)


SYNTHETIC_FAULTS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "knocks": _knocks,
    "tones": _tones,
    "noise": _noise,
    "swell": _swell,
    "loss": _loss,
}
