"""From an encoder's tokens to one embedding a clip."""

import torch
from transformers import PreTrainedConfig


POOLINGS = ("mean", "cls", "bands")
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
    if pooling == "bands" and num_bands(config) is None:
        raise ValueError(
            f"pooling is 'bands', but the tokens of a {config.model_type} encoder run along time alone and have no "
            "frequency bands; use 'mean'."
        )


def embedding_size(config: PreTrainedConfig, pooling: str) -> int:
    """Length of what [`pool`] makes of an encoder's tokens."""
    return config.hidden_size * (num_bands(config) if pooling == "bands" else 1)


def pool(hidden_states: torch.Tensor, pooling: str, config: PreTrainedConfig) -> torch.Tensor:
    """
    Pools an encoder's tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): the encoder's prefix tokens, and behind
            them its patches.
        pooling (`"mean"`, `"cls"` or `"bands"`): mean over patches; the first prefix token; mean over time that keeps
            the frequency bands apart, the lowest first.
        config (`PreTrainedConfig`): the encoder's, which tells its prefix tokens and its bands.

    Returns:
        `torch.Tensor` of shape `(clips, hidden_size)`, for `"bands"` `(clips, bands * hidden_size)`.

    Raises:
        ValueError: an unknown pooling, or one for which this encoder has no tokens.
    """
    check_pooling(config, pooling)
    if pooling == "cls":
        return hidden_states[:, 0]
    patches = hidden_states[:, prefix_tokens(config) :]
    if pooling == "mean":
        return patches.mean(1)
    if config.model_type == AST:  # band after band; the others have time step after time step
        return patches.unflatten(1, (num_bands(config), -1)).mean(2).flatten(1)
    return patches.unflatten(1, (-1, num_bands(config))).mean(1).flatten(1)
