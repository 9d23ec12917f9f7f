"""Spectra of a batch of waveforms in operators that every ONNX runtime has, and statistics of their bands."""

import torch
from torch import nn

from ..audio.filter_bank import (
    ENERGY_FLOOR,
    FFT_SAMPLES,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    PREEMPHASIS,
    FilterBankExtractor,
)
from ..embedding.band_statistics import (
    DECIBELS,
    FRAMES_PER_MOMENT,
    LAGS,
    LARGEST_DROPOUT,
    LEAST_FLUTTER,
    MELS_APART,
    MELS_PER_BAND,
    MOMENTS_APART,
    QUANTILES,
)


class LogMel(nn.Module):
    """
    [`~hf_asd.audio.filter_bank.FilterBankExtractor.log_mel`] as one convolution.

    Window and Fourier transform are one matrix, which a convolution applies to each frame: faster than the operators
    for short-time Fourier transforms, and as exact, because the signal is pre-emphasized before.

    Args:
        extractor ([`FilterBankExtractor`]): its window, scale and mel filters are used.
    """

    kernel: torch.Tensor
    of_constant: torch.Tensor
    filters: torch.Tensor

    def __init__(self, extractor: FilterBankExtractor):
        super().__init__()
        window = extractor._window.double()
        # The first sample of a frame is pre-emphasized by itself; no frame shows it where the window begins at 0.
        if window[0] != 0:
            raise ValueError(f"{type(extractor).__name__}: its window does not begin at 0, so it cannot be exported.")
        turns = torch.arange(FRAME_SAMPLES)[:, None] * torch.arange(FFT_SAMPLES // 2 + 1)
        angles = 2 * torch.pi * (turns % FFT_SAMPLES).double() / FFT_SAMPLES
        matrix = window[:, None] * torch.cat([angles.cos(), -angles.sin()], dim=1)
        self.register_buffer("kernel", matrix.T[:, None].float().contiguous())
        self.register_buffer("of_constant", ((1 - PREEMPHASIS) * matrix.sum(0))[:, None].float())
        self.register_buffer("filters", extractor._filters.T.contiguous())

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(clips, samples)` at 16 kHz -> `(clips, mels, frames)`, natural logarithms of energy, float32."""
        waveform = waveform - waveform.mean(1, keepdim=True)
        differences = nn.functional.pad(waveform[:, 1:] - PREEMPHASIS * waveform[:, :-1], (1, 0))
        spectrum = nn.functional.conv1d(differences[:, None], self.kernel, stride=HOP_SAMPLES)
        # Each frame loses its mean, of which pre-emphasis leaves a small part.
        means = nn.functional.avg_pool1d(waveform[:, None], FRAME_SAMPLES, HOP_SAMPLES)
        real, imaginary = (spectrum - self.of_constant * means).chunk(2, dim=1)
        power = real.square() + imaginary.square()
        return (self.filters @ power).clamp_min(ENERGY_FLOOR).log()


def band_statistics(log_mel: torch.Tensor) -> torch.Tensor:
    """
    [`~hf_asd.embedding.band_statistics.band_statistics`] of a batch.

    Args:
        log_mel (`torch.Tensor` of shape `(clips, 128, frames)`): of [`LogMel`]; at least 34 frames.

    Returns:
        `torch.Tensor` of shape `(clips, 296)`, float32.
    """
    ordered = log_mel.sort(-1).values
    rows = [(ordered @ quantile_weights(ordered.shape[-1], QUANTILES)).transpose(1, 2)]
    for lag in LAGS:
        difference = log_mel[..., lag:] - log_mel[..., :-lag]
        difference = difference - difference.mean(-1, keepdim=True)
        deviation = (difference.square().sum(-1) / (difference.shape[-1] - 1)).sqrt()
        rows.append((deviation + LEAST_FLUTTER).log()[:, None])
    spectrum = nn.functional.avg_pool1d(torch.cat(rows, dim=1), MELS_PER_BAND, MELS_APART).flatten(1)
    return torch.cat([spectrum, _event_statistics(log_mel)], dim=1)


def _event_statistics(log_mel: torch.Tensor) -> torch.Tensor:
    bands = log_mel.exp().unflatten(1, (-1, MELS_PER_BAND)).mean(2)
    moments = nn.functional.avg_pool1d(bands, FRAMES_PER_MOMENT, MOMENTS_APART)
    moments = DECIBELS * torch.cat([moments, moments.sum(1, keepdim=True)], dim=1).log()
    steps = torch.arange(moments.shape[-1])
    lower_middle = (steps == (moments.shape[-1] - 1) // 2).float()
    median = moments.sort(-1).values @ lower_middle
    level = moments[:, :-1].amax(-1) - median[:, :-1]
    dropout = (median[:, -1] - moments[:, -1].amin(-1)).clamp_max(LARGEST_DROPOUT)
    return torch.cat([level, dropout[:, None]], dim=1)


def quantile_weights(count: int, shares: tuple[float, ...]) -> torch.Tensor:
    """Weights of ordered values, of shape `(count, shares)`, float32, that give quantiles interpolated linearly."""
    places = torch.tensor(shares, dtype=torch.float64) * (count - 1)
    return (1 - (torch.arange(count)[:, None] - places).abs()).clamp_min(0).float()


def median(values: torch.Tensor) -> torch.Tensor:
    """Median along the last dimension; of an even number the mean of the two in the middle."""
    return values.sort(-1).values @ quantile_weights(values.shape[-1], (0.5,))[:, 0]
