"""What a recording's bands do over time: their levels, how they flutter, and their loudest moment."""

import math

import numpy as np
import torch


QUANTILES = (0.1, 0.5, 0.9)
LAGS = (1, 2, 4, 8, 16, 32)  # frames of 10 ms
MELS = 128
MELS_PER_BAND, MELS_APART = 8, 4
NUM_BANDS = (MELS - MELS_PER_BAND) // MELS_APART + 1
SPECTRUM_SIZE = (len(QUANTILES) + len(LAGS)) * NUM_BANDS
FRAMES_PER_MOMENT, MOMENTS_APART = 5, 2  # 65 ms, 20 ms apart
EVENTS_SIZE = MELS // MELS_PER_BAND + 1
STATISTICS_SIZE = SPECTRUM_SIZE + EVENTS_SIZE
LARGEST_DROPOUT = 20.0  # dB: more is complete, whatever the noise of the recorder
LEAST_FLUTTER = 1e-3
DECIBELS = 10 / math.log(10)


def spectrum_statistics(log_mel: torch.Tensor) -> torch.Tensor:
    """
    Levels and flutter of each band.

    A band is the mean of eight neighboring mels; bands overlap by half. Flutter is the logarithm of the standard
    deviation of the difference between frames 10, 20, 40, 80, 160 and 320 ms apart: how much a band changes in that
    time, whatever its level.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, 128)`): natural logarithms of energy, frames 10 ms apart; at
            least 3.

    Returns:
        `torch.Tensor` of shape `(279,)`, float32: for each of 31 bands the 10, 50 and 90 % quantile over time, then
        flutter, shortest time first.
    """
    # Deviations from two sums; that of the differences needs few frames. Removing their mean takes twice as long.
    rows = [torch.from_numpy(quantiles_over_time(log_mel.cpu().numpy())).to(log_mel)]
    space = torch.empty_like(log_mel)
    for lag in LAGS:
        lag = min(lag, len(log_mel) - 2)
        count = len(log_mel) - lag
        total = log_mel[-lag:].sum(0) - log_mel[:lag].sum(0)
        squares = torch.sub(log_mel[lag:], log_mel[:-lag], out=space[lag:]).square_().sum(0)
        variance = (squares - total.square() / count) / (count - 1)
        rows.append(variance.clamp_min(0).sqrt().add(LEAST_FLUTTER).log()[None])
    return smooth_bands(torch.cat(rows)).flatten()


def quantiles_over_time(log_mel: np.ndarray) -> np.ndarray:
    """
    The 10, 50 and 90 % quantile of each column, equal to numpy's to the bit and four times as fast: numpy sorts rows
    in vectors, but selects in columns one by one.

    Args:
        log_mel (`np.ndarray` of shape `(frames, mel_bins)`): float32.

    Returns:
        `np.ndarray` of shape `(3, mel_bins)`, float32.
    """
    ordered = torch.from_numpy(log_mel).T.contiguous().numpy()
    ordered.sort(axis=1)
    places = np.array(QUANTILES) * (len(log_mel) - 1)
    below = places.astype(np.int64)
    lower, upper = ordered[:, below], ordered[:, np.minimum(below + 1, len(log_mel) - 1)]
    share, step = places - below, upper - lower
    return np.where(share < 0.5, lower + step * share, upper - step * (1 - share)).T.astype(np.float32)


def event_statistics(log_mel: torch.Tensor) -> torch.Tensor:
    """
    How far the loudest moment of each band stands above the band's median, and how far the quietest moment of the
    whole recording lies below its median, at most 20 dB. A moment is 65 ms long.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, 128)`): as for [`spectrum_statistics`].

    Returns:
        `torch.Tensor` of shape `(17,)`, float32, in dB: of 16 bands of eight mels, and of the dropout.
    """
    moments = event_moments(log_mel)
    level, loudness = moments[:, :-1], moments[:, -1]
    dropout = (loudness.median() - loudness.amin()).clamp_max(LARGEST_DROPOUT)
    return torch.cat([level.amax(0) - level.median(0).values, dropout[None]])


def event_moments(log_mel: torch.Tensor) -> torch.Tensor:
    """
    The levels that [`event_statistics`] is computed from, evenly spaced over the recording.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, 128)`): as for [`spectrum_statistics`].

    Returns:
        `torch.Tensor` of shape `(moments, 17)`, float32, in dB: of 16 bands, and of all of them together.
    """
    bands = log_mel.exp().unflatten(1, (-1, MELS_PER_BAND)).mean(2)
    frames = min(FRAMES_PER_MOMENT, len(bands))
    moments = torch.nn.functional.avg_pool1d(bands.T, frames, MOMENTS_APART)  # (bands, moments)
    return DECIBELS * torch.cat([moments, moments.sum(0, keepdim=True)]).log().T


def band_statistics(log_mel: torch.Tensor) -> torch.Tensor:
    """[`spectrum_statistics`], then [`event_statistics`], of shape `(296,)`."""
    return torch.cat([spectrum_statistics(log_mel), event_statistics(log_mel)])


def smooth_bands(log_mel: torch.Tensor) -> torch.Tensor:
    """The 31 bands of rows of 128 mels, of shape `(rows, 31)`."""
    return torch.nn.functional.avg_pool1d(log_mel, MELS_PER_BAND, MELS_APART)
