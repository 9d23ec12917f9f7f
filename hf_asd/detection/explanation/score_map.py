"""Where in time and frequency a clip differs from the normal ones."""

from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch

from ...embedding.band_statistics import (
    MELS,
    MELS_APART,
    MELS_PER_BAND,
    NUM_BANDS,
    QUANTILES,
    SPECTRUM_SIZE,
    smooth_bands,
)
from ...embedding.embed import Encoder
from ...embedding.statistics import SpectralStatistics


if TYPE_CHECKING:
    from ...embedding.transformer import TransformerEncoder


# The distance between the 10 and 90 % quantiles of a normal distribution in standard deviations.
QUANTILE_RANGE = 2.563
# Of noise: how much the mean of eight mels, of which neighbors share their energy, varies, as a share of one mel.
BAND_SPREAD = 0.54
USUAL_SHARE = 0.9  # of the normal clips
MAP_POOLINGS = ("mean", "bands", "bands_std")
FIRST_MEL = float(np.log1p(20 / 700) / np.log1p(8000 / 700))  # where the filter banks begin, 20 Hz, on the mel scale
MapScale = Literal["standard deviations", "shares"]


def score_map(encoder: Encoder, clip: np.ndarray, bank: torch.Tensor) -> np.ndarray:
    """
    Where a clip differs from the normal ones, over time and frequency.

    Args:
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`]): made the embeddings of the bank.
        clip (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips.

    Returns:
        `np.ndarray` of shape `(times, bands)`, float32, evenly spaced over the clip and over the mel scale, the lowest
        band first. With spectral statistics, alone or beside an encoder, a value is the log energy of a frame (every
        10 ms) and band minus the median of the normal clips, in standard deviations of the normal clips' frames.
        With an encoder alone it is the share of a patch in the cosine distance to the nearest normal clip: the mean of
        the map is that distance (one band for an encoder whose tokens run along time only). With pooling `"bands_std"`
        only the means are compared.

    Raises:
        ValueError: the embedding is not a plain mean over patches (`pooling` other than `"mean"`, `"bands"` or
            `"bands_std"`), or spectral statistics are means, which have no range.
    """
    statistics = _statistics_of(encoder)
    if statistics is not None:  # their map is finer than one of patches
        return _statistics_map(statistics, clip, bank[:, : statistics.dimensions])
    return _patch_map(cast("TransformerEncoder", encoder), clip, bank)


def map_scale(encoder: Encoder) -> MapScale | None:
    """
    What the values of a [`score_map`] are: standard deviations of the frames of normal clips, with a sign, or shares
    of a distance. `None` where the encoder's embeddings have no map.
    """
    statistics = _statistics_of(encoder)
    if statistics is not None:
        return "standard deviations" if statistics.statistics == "band_statistics" else None
    return "shares" if cast("TransformerEncoder", encoder).pooling in MAP_POOLINGS else None


def usual_range(encoder: Encoder, bank: torch.Tensor) -> np.ndarray | None:
    """
    Between which values of a [`score_map`] in standard deviations the frames of normal clips lie: from the 10 to the
    90 % quantile over time, of nine clips in ten. Where a machine works in strokes it is wide.

    Args:
        encoder, bank: as for [`score_map`].

    Returns:
        `np.ndarray` of shape `(2, bands)`, float32; `None` for a map of another scale.
    """
    if map_scale(encoder) != "standard deviations":
        return None
    low, median, high = bank[:, :SPECTRUM_SIZE].float().unflatten(1, (-1, NUM_BANDS))[:, : len(QUANTILES)].unbind(1)
    spread = _frame_spread(low.mean(0), high.mean(0))
    lowest, highest = torch.quantile(low, 1 - USUAL_SHARE, dim=0), torch.quantile(high, USUAL_SHARE, dim=0)
    return ((torch.stack([lowest, highest]) - median.mean(0)) / spread).numpy()


def _frame_spread(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Standard deviation of a band's frames from the 10 and 90 % quantiles of single mels."""
    return ((high - low) * BAND_SPREAD / QUANTILE_RANGE).clamp_min(1e-3)


def map_edges(bands: int, scale: MapScale) -> tuple[float, float]:
    """
    Where the bands of a [`score_map`] lie, evenly spaced.

    Args:
        bands (`int`): how many there are.
        scale (`str`): of [`map_scale`].

    Returns:
        `tuple[float, float]`: where the lowest band begins and the highest one ends, as shares of the mel scale from 0
        to 8 kHz. Bands of the statistics overlap by half; each is taken for its middle half.
    """
    if scale == "shares":
        return FIRST_MEL, 1.0
    width = (1 - FIRST_MEL) / (MELS + 1)  # between the middles of two mels
    low = FIRST_MEL + width * ((MELS_PER_BAND + 1) / 2 - MELS_APART / 2)
    return low, low + width * MELS_APART * bands


def _statistics_of(encoder: Encoder) -> SpectralStatistics | None:
    """The spectral statistics that an embedding is, or that stand beside it."""
    if isinstance(encoder, SpectralStatistics):
        return encoder
    return cast("TransformerEncoder", encoder).statistics


def _statistics_map(encoder: SpectralStatistics, clip: np.ndarray, bank: torch.Tensor) -> np.ndarray:
    if encoder.statistics != "band_statistics":
        raise ValueError(f"statistics is {encoder.statistics!r}; a map over time needs statistics 'band_statistics'.")
    normal = bank[:, :SPECTRUM_SIZE].float().mean(0).view(-1, NUM_BANDS)
    low, median, high = normal[: len(QUANTILES)]
    bands = smooth_bands(encoder.feature_extractor.log_mel(torch.from_numpy(clip)[None])[0])
    return ((bands - median) / _frame_spread(low, high)).numpy()


def _patch_map(encoder: "TransformerEncoder", clip: np.ndarray, bank: torch.Tensor) -> np.ndarray:
    if encoder.pooling not in MAP_POOLINGS:
        raise ValueError(
            f"pooling is {encoder.pooling!r}; a map over time needs pooling 'mean', 'bands' or 'bands_std'."
        )
    patches = encoder.patches(clip).double()  # (times, bands, hidden_size)
    keeps_bands = encoder.pooling != "mean"
    embedding = patches.mean(0).flatten() if keeps_bands else patches.mean((0, 1))
    if encoder.pooling == "bands_std":
        bank = bank.unflatten(1, (patches.shape[1], 2, -1))[:, :, 0].flatten(1)
    directions = torch.nn.functional.normalize(bank.double(), dim=1)
    nearest = directions[(directions @ embedding).argmax()]
    if keeps_bands:  # every band has its own part of the embedding
        shares = (patches * nearest.view(1, patches.shape[1], -1)).sum(2) * patches.shape[1]
    else:
        shares = patches @ nearest
    return (1 - shares / embedding.norm()).float().numpy()
