"""From an encoder's tokens to one embedding a clip."""

import torch


POOLINGS = ("mean", "cls", "bands")
# Tokens in front of the patches that stand for the whole clip; encoders without any are not listed.
PREFIX_TOKENS = {"eat": 1, "audio-spectrogram-transformer": 2}


def pool(hidden_states: torch.Tensor, pooling: str, model_type: str, num_bands: int = 8) -> torch.Tensor:
    """
    Pools an encoder's tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(clips, tokens, hidden_size)`): patches row-major (time, frequency)
            behind the encoder's prefix tokens.
        pooling (`"mean"`, `"cls"` or `"bands"`): mean over patches; the first prefix token; mean over time that keeps
            the frequency bands apart.
        model_type (`str`): the encoder's `config.model_type`, which tells its prefix tokens.
        num_bands (`int`, *optional*, defaults to 8): patches along frequency, for `"bands"`.

    Returns:
        `torch.Tensor` of shape `(clips, hidden_size)`, for `"bands"` `(clips, num_bands * hidden_size)`.

    Raises:
        ValueError: an unknown pooling, or `"cls"` of an encoder without such a token.
    """
    prefix = PREFIX_TOKENS.get(model_type, 0)
    if pooling == "mean":
        return hidden_states[:, prefix:].mean(1)
    if pooling == "cls" and prefix:
        return hidden_states[:, 0]
    if pooling == "cls":
        raise ValueError(f"pooling is 'cls', but a {model_type} encoder has no such token; use 'mean'.")
    if pooling == "bands":
        patches = hidden_states[:, prefix:]
        return patches.unflatten(1, (-1, num_bands)).mean(1).flatten(1)
    raise ValueError(f"pooling is {pooling!r}; accepted are {', '.join(POOLINGS)}.")
