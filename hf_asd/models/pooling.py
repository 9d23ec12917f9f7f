"""From an encoder's tokens to one embedding a clip."""

import torch
from transformers import PreTrainedConfig


POOLINGS = ("mean", "cls", "bands", "bands_std", "gem", "rdp", "rdp_gem")
PARTS_A_BAND = {"bands": 1, "bands_std": 2}
GEM_POWER = 3.0
# How much a frame's deviation counts (Wilkinghoff et al. 2026): strongly for BEATs, mildly for EAT and unknown ones.
RDP_GAMMA = {"beats": 16.0}
CLEAN_FLOOR, CLEAN_KNEE = 0.1, 0.5
SMALL_VARIANCE = 1e-6
AST = "audio-spectrogram-transformer"


def prefix_tokens(config: PreTrainedConfig) -> int:
    """Tokens in front of the patches that stand for the whole clip; the first is the CLS token where there is any."""
    return {"eat": 1, AST: 2}.get(config.model_type, 0)


def num_bands(config: PreTrainedConfig) -> int | None:
    """Patches along frequency; `None` for an encoder whose tokens run along time alone, as those of wav2vec 2.0."""
    if config.model_type in ("eat", "beats"):
        return config.num_mel_bins // config.patch_size
    if config.model_type == AST:  # its patches overlap
        return (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    return None


def check_pooling(config: PreTrainedConfig, pooling: str) -> None:
    """
    Raises:
        ValueError: an unknown pooling, or one for which this encoder has no tokens.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; accepted are {', '.join(POOLINGS)}.")
    if pooling == "cls" and not prefix_tokens(config):
        raise ValueError(f"pooling is 'cls', but a {config.model_type} encoder has no such token; use 'mean'.")
    if pooling in PARTS_A_BAND and num_bands(config) is None:
        raise ValueError(
            f"pooling is '{pooling}', but the tokens of a {config.model_type} encoder run along time alone and have "
            "no frequency bands; use 'mean'."
        )


def embedding_size(config: PreTrainedConfig, pooling: str) -> int:
    """Length of what [`pool`] makes of an encoder's tokens."""
    return config.hidden_size * (num_bands(config) * PARTS_A_BAND[pooling] if pooling in PARTS_A_BAND else 1)


def pool(
    hidden_states: torch.Tensor, pooling: str, config: PreTrainedConfig, clamp_outlier_channels: bool = False
) -> torch.Tensor:
    """
    Pools an encoder's tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): the encoder's prefix tokens, and behind
            them its patches.
        pooling (`str`): what becomes of the tokens:
            - `"mean"`: mean over patches;
            - `"cls"`: the first prefix token;
            - `"bands"`: mean over time that keeps the frequency bands apart, the lowest first;
            - `"bands_std"`: of each band that mean and behind it the standard deviation over time, which tells what
              knocks, flutters or hisses now and then from what does not;
            - `"gem"`: generalized mean over patches with power 3, of the magnitudes with their signs kept;
            - `"rdp"`: relative deviation pooling, a mean in which a frame far from the clip's mean frame weighs more;
            - `"rdp_gem"`: the generalized mean with the weights of the former.
        config (`PreTrainedConfig`): the encoder's, which tells its prefix tokens and its bands.
        clamp_outlier_channels (`bool`, *optional*, defaults to `False`): raises values below 0.1 to it and squashes those above 0.5
            by a tanh before pooling: a few channels of published EAT weights dwarf all others.

    Returns:
        `torch.Tensor` of shape `(clips, hidden_size)`, for `"bands"` `(clips, bands * hidden_size)`, for `"bands_std"`
        `(clips, bands * 2 * hidden_size)`.

    Raises:
        ValueError: an unknown pooling, or one for which this encoder has no tokens.

    References:
        K. Wilkinghoff, S. Yadav, Z.-H. Tan 2026, "Temporal Pooling Strategies for Training-Free Anomalous Sound
        Detection with Self-Supervised Audio Embeddings" (arXiv 2603.04605): RDP, RDP with GeM, EAT clean-up.
        D. Snyder et al. 2018, "X-Vectors: Robust DNN Embeddings for Speaker Recognition", section 2.1: mean and
        standard deviation. F. Radenovic et al. 2019, "Fine-tuning CNN Image Retrieval with No Human Annotation": GeM.
        How signs are kept and that a frame's deviation is told relative to the norm of the mean frame is this
        project's reading.
    """
    check_pooling(config, pooling)
    if clamp_outlier_channels:
        hidden_states = clean(hidden_states)
    if pooling == "cls":
        return hidden_states[:, 0]
    patches = hidden_states[:, prefix_tokens(config) :]
    if pooling == "mean":
        return patches.mean(1)
    if pooling == "gem":
        return _generalized_mean(patches, 1 / patches.shape[1])
    grid = patch_grid(hidden_states, config)
    if pooling == "bands":
        return grid.mean(1).flatten(1)
    if pooling == "bands_std":
        # The square root's slope has no bound at 0, where all times are alike.
        spread = (grid.var(1, correction=0) + SMALL_VARIANCE).sqrt()
        return torch.cat([grid.mean(1), spread], dim=2).flatten(1)
    weights = _frame_weights(grid.mean(2), RDP_GAMMA.get(config.model_type, 1.0))
    if pooling == "rdp":
        return (weights[:, :, None] * grid.mean(2)).sum(1)
    return _generalized_mean(
        grid.flatten(1, 2), weights.repeat_interleave(grid.shape[2], 1)[:, :, None] / grid.shape[2]
    )


def patch_grid(hidden_states: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """
    Patches by time and frequency, of shape `(clips, times, bands, hidden_size)`; one band for an encoder whose tokens
    run along time alone.
    """
    patches = hidden_states[:, prefix_tokens(config) :]
    if config.model_type == AST:  # band after band; the others have time step after time step
        return patches.unflatten(1, (num_bands(config), -1)).transpose(1, 2)
    return patches.unflatten(1, (-1, num_bands(config) or 1))


def clean(hidden_states: torch.Tensor) -> torch.Tensor:
    """Values from 0.1 up, those above 0.5 squashed to at most 1.5; see [`pool`]."""
    above = CLEAN_KNEE + (hidden_states - CLEAN_KNEE).tanh()
    return torch.where(hidden_states > CLEAN_KNEE, above, hidden_states.clamp_min(CLEAN_FLOOR))


def _frame_weights(frames: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weights of shape `(clips, frames)` that sum to 1."""
    mean = frames.mean(1, keepdim=True)
    deviations = (frames - mean).norm(dim=2) / mean.norm(dim=2).clamp_min(1e-6)
    # By the logarithm: a high power of a large deviation overflows.
    return (gamma * deviations.log1p()).softmax(1)


def _generalized_mean(patches: torch.Tensor, weights: torch.Tensor | float) -> torch.Tensor:
    mean = (patches.sign() * patches.abs() ** GEM_POWER * weights).sum(1)
    return mean.sign() * mean.abs() ** (1 / GEM_POWER)
