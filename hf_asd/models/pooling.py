"""From an encoder's tokens to one embedding per clip."""

from collections.abc import Callable

import torch
from transformers import PreTrainedConfig

from .architectures import architecture_of


# Poolings that keep bands apart: values of hidden_size length per band.
PARTS_PER_BAND = {"bands": 1, "bands_std": 2, "bands_rdp": 1}
# Pooling -> name and accepted range of its parameter.
PARAMETERS = {
    "gwrp": ("decay r", 0.0, 1.0),
    "gem": ("exponent p", 1.0, 100.0),
    "rdp": ("gamma", 0.0, 100.0),
    "rdp_gem": ("gamma", 0.0, 100.0),
    "bands_rdp": ("gamma", 0.0, 100.0),
}
RDP_GEM_POWER = 3.0
SMALLEST = 1e-6  # takes the place of negative values in a generalized mean, which has no slope at 0
CLAMP_LOW, CLAMP_KNEE = 0.1, 0.5
MIN_VARIANCE = 1e-6


def prefix_tokens(config: PreTrainedConfig) -> int:
    """Number of tokens before the patches that represent the whole clip; the first one is the CLS token."""
    return architecture_of(config).prefix_tokens


def num_bands(config: PreTrainedConfig) -> int | None:
    """Patches along frequency; `None` for an encoder whose tokens run along time only, such as wav2vec 2.0."""
    count = architecture_of(config).num_bands
    return None if count is None else count(config)


def check_pooling(config: PreTrainedConfig, pooling: str, parameter: float | None = None) -> None:
    """
    Checks that an encoder has the tokens that a pooling needs, and the pooling's parameter.

    Args:
        config (`PreTrainedConfig`): the encoder's.
        pooling (`str`): a key of [`POOLINGS`].
        parameter (`float`, *optional*): as for [`pool`].

    Raises:
        ValueError: an unknown pooling, one for which this encoder has no tokens, or a parameter that it does not take.
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
    if parameter is not None and pooling not in PARAMETERS:
        raise ValueError(f"pooling_parameter is {parameter}, but pooling {pooling!r} has none; leave it out.")
    if parameter is not None:
        name, low, high = PARAMETERS[pooling]
        if not low <= parameter <= high:
            raise ValueError(
                f"pooling_parameter is {parameter}; accepted for pooling {pooling!r} ({name}) are {low:g} to {high:g}."
            )


def pooling_parameter(config: PreTrainedConfig, pooling: str, parameter: float | None = None) -> float:
    """A pooling's parameter: the given one, or the one that was published for this encoder; 0 if it has none."""
    return architecture_of(config).pooling_parameters.get(pooling, 0.0) if parameter is None else parameter


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
    return POOLINGS[pooling](tokens, config, pooling_parameter(config, pooling)).shape[1]


def pool(
    hidden_states: torch.Tensor,
    pooling: str,
    config: PreTrainedConfig,
    clamp_outlier_channels: bool = False,
    parameter: float | None = None,
) -> torch.Tensor:
    """
    Pools an encoder's tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): prefix tokens, then patches, of an
            encoder.
        pooling (`str`): a key of [`POOLINGS`].
        config (`PreTrainedConfig`): the encoder's; its model type decides how tokens are ordered.
        clamp_outlier_channels (`bool`, *optional*, defaults to `False`): see [`clamp_outliers`].
        parameter (`float`, *optional*): of poolings that have one ([`PARAMETERS`]); by default the one that was
            published for the encoder.

    Returns:
        `torch.Tensor` of shape `(clips, hidden_size)`, for `"bands"` and `"bands_rdp"` `(clips, bands * hidden_size)`,
        for `"bands_std"` `(clips, bands * 2 * hidden_size)`.

    Raises:
        ValueError: as [`check_pooling`].
    """
    check_pooling(config, pooling, parameter)
    hidden_states = clamp_outliers(hidden_states) if clamp_outlier_channels else hidden_states
    return POOLINGS[pooling](hidden_states, config, pooling_parameter(config, pooling, parameter))


def mean_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """The mean of the patches."""
    return _patches(hidden_states, config).mean(1)


def max_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """The largest value of each channel among the patches."""
    return _patches(hidden_states, config).amax(1)


def cls_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """The CLS token."""
    return hidden_states[:, 0]


def bands_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """The mean over time of each frequency band, the lowest band first."""
    return patch_grid(hidden_states, config).mean(1).flatten(1)


def bands_std_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
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


def gwrp_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """
    Global weighted ranking pooling: in each channel the patches' values in descending order, the n-th (from 0) with
    the weight `parameter ** n`; 1 is the mean, 0 the maximum.

    References:
        A. Kolesnikov, C. Lampert 2016, "Seed, Expand and Constrain", equation 3.
    """
    ranked = _patches(hidden_states, config).sort(1, descending=True).values
    weights = parameter ** torch.arange(ranked.shape[1], device=ranked.device, dtype=ranked.dtype)
    return (ranked * (weights / weights.sum())[:, None]).sum(1)


def gem_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """
    The generalized mean of the patches with the exponent `parameter`; negative values count as 0.

    References:
        F. Radenovic et al. 2019, "Fine-tuning CNN Image Retrieval with No Human Annotation", equation 3; without
        negative values: arXiv 2603.04605, section III-D.
    """
    patches = _patches(hidden_states, config)
    weights = patches.new_full((1, patches.shape[1], 1), 1 / patches.shape[1])
    return _generalized_mean(patches, weights, parameter)


def rdp_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """
    Relative deviation pooling: a mean in which a frame far from the clip's mean frame has a larger weight. A frame is
    the mean of the patches of one time step.

    References:
        K. Wilkinghoff, S. Yadav, Z.-H. Tan 2026, "Temporal Pooling Strategies for Training-Free Anomalous Sound
        Detection with Self-Supervised Audio Embeddings" (arXiv 2603.04605), section III-E: deviations are divided by
        the clip's largest one, and the weight is `(1 + deviation) ** gamma`.
    """
    frames = patch_grid(hidden_states, config).mean(2)
    return (_time_weights(frames, parameter) * frames).sum(1)


def rdp_gem_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """
    The generalized mean of [`gem_pooling`] with exponent 3 and the weights of [`rdp_pooling`].

    References:
        as for [`rdp_pooling`], section III-F and table III.
    """
    grid = patch_grid(hidden_states, config)
    weights = _time_weights(grid.mean(2), parameter) / grid.shape[2]
    return _generalized_mean(grid.flatten(1, 2), weights.repeat_interleave(grid.shape[2], 1), RDP_GEM_POWER)


def bands_rdp_pooling(hidden_states: torch.Tensor, config: PreTrainedConfig, parameter: float) -> torch.Tensor:
    """
    [`rdp_pooling`] of each frequency band by itself, the lowest band first: for a memory bank per band.

    References:
        "Anomalous Sound Detection Meets Noise-Aware Self-Supervised Learning" (arXiv 2608.00447).
    """
    grid = patch_grid(hidden_states, config)
    return (_time_weights(grid, parameter) * grid).sum(1).flatten(1)


# Name -> function of hidden states `(clips, tokens, hidden_size)`, the encoder's config and the pooling's parameter ->
# `(clips, dimensions)`.
POOLINGS: dict[str, Callable[[torch.Tensor, PreTrainedConfig, float], torch.Tensor]] = {
    "mean": mean_pooling,
    "max": max_pooling,
    "cls": cls_pooling,
    "bands": bands_pooling,
    "bands_std": bands_std_pooling,
    "bands_rdp": bands_rdp_pooling,
    "gwrp": gwrp_pooling,
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


def _time_weights(frames: torch.Tensor, gamma: float) -> torch.Tensor:
    """`(clips, times, ..., channels)` -> weights of shape `(clips, times, ..., 1)` that sum to 1 over time."""
    deviations = (frames - frames.mean(1, keepdim=True)).norm(dim=-1, keepdim=True)
    relative = deviations / deviations.amax(1, keepdim=True).clamp_min(1e-8)
    return (gamma * relative.log1p()).softmax(1)


def _generalized_mean(patches: torch.Tensor, weights: torch.Tensor, power: float) -> torch.Tensor:
    """`(clips, patches, channels)` and weights of shape `(clips or 1, patches, 1)` -> `(clips, channels)`."""
    # In the logarithm: high powers of small and large values leave the range of float32.
    logarithms = power * patches.clamp_min(SMALLEST).log() + weights.log()
    return (logarithms.logsumexp(1) / power).exp()
