"""Where in time and frequency a clip differs from the normal ones."""

import numpy as np
import torch

from ...embedding import SpectralStatistics, TransformerEncoder
from ...models.pooling import PARTS_PER_BAND


# Of a normal distribution, the distance between the 10 and 90 % quantiles in standard deviations.
QUANTILE_RANGE = 2.563


def score_map(encoder: SpectralStatistics | TransformerEncoder, clip: np.ndarray, bank: torch.Tensor) -> np.ndarray:
    """
    Where a clip differs from the normal ones, over time and frequency.

    Args:
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`]): what gave the bank its embeddings.
        clip (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips.

    Returns:
        `np.ndarray` of shape `(times, bands)`, float32, evenly spaced over the clip and over the mel scale, the lowest
        band first. With spectral statistics a value is the log energy of a frame (every 10 ms) and mel band, less the
        normal clips' median, in standard deviations of the normal clips' frames; so too with statistics beside an
        encoder. With an encoder alone it is the share of a patch in the cosine distance to the nearest normal clip:
        the mean of the map is that distance (for an encoder whose tokens run along time alone there is one band). Of
        `bands_std` the means are compared alone.

    Raises:
        ValueError: the embedding is not a plain mean over patches (`pooling` other than `"mean"`, `"bands"` or
            `"bands_std"`), or spectral statistics are means, which tell no range.
    """
    if isinstance(encoder, TransformerEncoder) and encoder.statistics is not None:  # they see more finely
        encoder, bank = encoder.statistics, bank[:, : encoder.statistics.dimensions]
    if isinstance(encoder, SpectralStatistics):
        if encoder.statistics != "quantiles":
            raise ValueError(f"statistics is {encoder.statistics!r}; a map over time needs statistics 'quantiles'.")
        low, median, high = bank.float().mean(0).view(3, -1)
        log_mel = encoder.feature_extractor.log_mel(torch.from_numpy(clip)[None])[0]
        return ((log_mel - median) / ((high - low) / QUANTILE_RANGE).clamp_min(1e-3)).numpy()
    if encoder.pooling not in ("mean", *PARTS_PER_BAND):
        raise ValueError(
            f"pooling is {encoder.pooling!r}; a map over time needs pooling 'mean', 'bands' or 'bands_std'."
        )
    patches = encoder.patches(clip).double()  # (times, bands, hidden_size)
    embedding = patches.mean(0).flatten() if encoder.pooling in PARTS_PER_BAND else patches.mean((0, 1))
    if encoder.pooling == "bands_std":
        bank = bank.unflatten(1, (patches.shape[1], 2, -1))[:, :, 0].flatten(1)
    directions = torch.nn.functional.normalize(bank.double(), dim=1)
    nearest = directions[(directions @ embedding).argmax()]
    if encoder.pooling in PARTS_PER_BAND:  # every band has a part of the embedding of its own
        shares = (patches * nearest.view(1, patches.shape[1], -1)).sum(2) * patches.shape[1]
    else:
        shares = patches @ nearest
    return (1 - shares / embedding.norm()).float().numpy()
