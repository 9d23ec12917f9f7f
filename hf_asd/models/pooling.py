"""From an encoder's tokens to one embedding per clip."""

from collections.abc import Callable

import torch
from transformers import PreTrainedConfig

from .architectures import architecture_of


PARTS_PER_BAND = {"bands": 1, "bands_std": 2}  # poolings that keep bands apart: values of hidden_size length per band
GEM_POWER = 3.0
CLAMP_LOW, CLAMP_KNEE = 0.1, 0.5
MIN_VARIANCE = 1e-6


def prefix_tokens(config: PreTrainedConfig) -> int:
    """Number of tokens before the patches that represent the whole clip; the first one is the CLS token."""
    return architecture_of(config).prefix_tokens


def num_bands(config: PreTrainedConfig) -> int | None:
    """Patches along frequency; `None` for an encoder whose tokens run along time only, such as wav2vec 2.0."""
    count = architecture_of(config).num_bands
    return None if count is None else count(config)


def check_pooling(config: PreTrainedConfig, pooling: str) -> None:
    """
    Checks that an encoder has the tokens that a pooling needs.

    Args:
        config (`PreTrainedConfig`): the encoder's.
        pooling (`str`): a key of [`POOLINGS`].

    Raises:
        ValueError: an unknown pooling, or one for which this encoder has no tokens.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; accepted are {', '.join(POOLINGS)}.")
    if pooling == "cls" and not prefix_tokens(config):
        raise ValueError(f"pooling is 'cls', but a {config.model_type} encoder has no such token; use 'mean'.")
    if pooling in PARTS_PER_BAND and num_bands(config) is None:
        raise ValueError(
            f"pooling is '{pooling}', but the tokens of a {config.model_type} encoder run along time only and have no "
            "frequency bands; use 'mean'."
        )


def embedding_size(config: PreTrainedConfig, pooling: str) -> int:
    """
    Length of the embeddings that [`pool`] returns.

    Args:
        config (`PreTrainedConfig`), pooling (`str`): as for [`check_pooling`].

    Raises:
        ValueError: as [`check_pooling`].
    """
    check_pooling(config, pooling)
    # One time step, on a device that computes shapes only.
    tokens = torch.empty(1, prefix_tokens(config) + (num_bands(config) or 1), config.hidden_size, device="meta")
    return POOLINGS[pooling](tokens, config).shape[1]


def pool(
    hidden_states: torch.Tensor, pooling: str, config: PreTrainedConfig, clamp_outlier_channels: bool = False
) -> torch.Tensor:
    """
    Pools an encoder's tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): prefix tokens, then patches, of an
            encoder.
        pooling (`str`): a key of [`POOLINGS`].
        config (`PreTrainedConfig`): the encoder's; its model type decides how tokens are ordered.
        clamp_outlier_channels (`bool`, *optional*, defaults to `False`): see [`clamp_outliers`].

    Returns:
        `torch.Tensor` of shape `(clips, hidden_size)`, for `"bands"` `(clips, bands * hidden_size)`, for `"bands_std"`
        `(clips, bands * 2 * hidden_size)`.

    Raises:
        ValueError: an unknown pooling, or one for which this encoder has no tokens.
    """
    check_pooling(config, pooling)
    return POOLINGS[pooling](clamp_outliers(hidden_states) if clamp_outlier_channels else hidden_states, config)


def mean_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """The mean of the patches."""
    return _patches(hidden_states, config).mean(1)


def cls_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """The CLS token."""
    return hidden_states[:, 0]


def bands_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """The mean over time of each frequency band, the lowest band first."""
    return patch_grid(hidden_states, config).mean(1).flatten(1)


def bands_std_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    The mean over time of each frequency band, followed by its standard deviation over time, which shows knocks and
    other sounds that come and go.

    References:
        D. Snyder et al. 2018, "X-Vectors: Robust DNN Embeddings for Speaker Recognition", section 2.1.
    """
    grid = patch_grid(hidden_states, config)
    # The gradient of a square root is infinite at 0, where a band does not change over time.
    spread = (grid.var(1, correction=0) + MIN_VARIANCE).sqrt()
    return torch.cat([grid.mean(1), spread], dim=2).flatten(1)


def gem_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    The generalized mean of the patches with power 3; the power is that of the magnitudes, and signs are kept (this
    project's choice: the papers have no negative values).

    References:
        F. Radenovic et al. 2019, "Fine-tuning CNN Image Retrieval with No Human Annotation".
    """
    patches = _patches(hidden_states, config)
    return _generalized_mean(patches, 1 / patches.shape[1])


def rdp_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    Relative deviation pooling: a mean in which a frame far from the clip's mean frame has a larger weight. A deviation
    is relative to the norm of the mean frame (this project's choice).

    References:
        K. Wilkinghoff, S. Yadav, Z.-H. Tan 2026, "Temporal Pooling Strategies for Training-Free Anomalous Sound
        Detection with Self-Supervised Audio Embeddings" (arXiv 2603.04605).
    """
    frames = patch_grid(hidden_states, config).mean(2)
    return (_frame_weights(frames, architecture_of(config).rdp_gamma)[:, :, None] * frames).sum(1)


def rdp_gem_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    The generalized mean of [`gem_pooling`] with the weights of [`rdp_pooling`].

    References:
        as for [`rdp_pooling`].
    """
    grid = patch_grid(hidden_states, config)
    weights = _frame_weights(grid.mean(2), architecture_of(config).rdp_gamma)
    return _generalized_mean(
        grid.flatten(1, 2), weights.repeat_interleave(grid.shape[2], 1)[:, :, None] / grid.shape[2]
    )


# Name -> function of hidden states `(clips, tokens, hidden_size)` and the encoder's config -> `(clips, dimensions)`.
POOLINGS: dict[str, Callable[[torch.Tensor, PreTrainedConfig], torch.Tensor]] = {
    "mean": mean_pooling,
    "cls": cls_pooling,
    "bands": bands_pooling,
    "bands_std": bands_std_pooling,
    "gem": gem_pooling,
    "rdp": rdp_pooling,
    "rdp_gem": rdp_gem_pooling,
}


def patch_grid(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    Patches by time and frequency.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): prefix tokens and patches.
        config (`PreTrainedConfig`): the encoder's.

    Returns:
        `torch.Tensor` of shape `(clips, times, bands, hidden_size)`; one band for an encoder whose tokens run along
        time only.
    """
    patches, bands = _patches(hidden_states, config), num_bands(config) or 1
    if architecture_of(config).band_by_band:
        return patches.unflatten(1, (bands, -1)).transpose(1, 2)
    return patches.unflatten(1, (-1, bands))


def clamp_outliers(hidden_states: torch.Tensor) -> torch.Tensor:
    """
    Clamps outlier feature channels of published EAT weights, which would hide all other channels: values below 0.1
    become 0.1, values above 0.5 are compressed by a tanh to at most 1.5.

    References:
        as for [`rdp_pooling`].
    """
    above = CLAMP_KNEE + (hidden_states - CLAMP_KNEE).tanh()
    return torch.where(hidden_states > CLAMP_KNEE, above, hidden_states.clamp_min(CLAMP_LOW))


def _patches(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    return hidden_states[:, prefix_tokens(config) :]


def _frame_weights(frames: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weights of shape `(clips, frames)` that sum to 1."""
    mean = frames.mean(1, keepdim=True)
    deviations = (frames - mean).norm(dim=2) / mean.norm(dim=2).clamp_min(1e-6)
    # In the logarithm: a high power of a large deviation overflows.
    return (gamma * deviations.log1p()).softmax(1)


def _generalized_mean(patches: torch.Tensor, weights: torch.Tensor | float) -> torch.Tensor:
    mean = (patches.sign() * patches.abs() ** GEM_POWER * weights).sum(1)
    return mean.sign() * mean.abs() ** (1 / GEM_POWER)
