"""What tells early whether self-supervised training collapses: everything looks alike to the teacher."""

import torch


def output_spread(states: torch.Tensor) -> torch.Tensor:
    """
    How far the encoder's outputs lie apart, over all patches of all clips, measured by their own size: 0 when
    everything looks alike to it. The targets of pre-training cannot tell, because they are normalized: the last
    trembling of a collapsed encoder comes out of that as large as ever.

    Args:
        states (`torch.Tensor` of shape `(..., channels)`): outputs of the encoder's last block.

    Returns:
        `torch.Tensor` of shape `()`, 0 to 1.
    """
    states = states.double().flatten(0, -2)
    return (states.var(0, correction=0).mean() / states.square().mean().clamp_min(1e-30)).sqrt()


def effective_rank(embeddings: torch.Tensor) -> torch.Tensor:
    """
    How many directions the embeddings of different clips use.

    Args:
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`): with a mean of 0.

    Returns:
        `torch.Tensor` of shape `()`, from 1 (all on a line) to `min(clips, dimensions)`; 0 where all are the same.

    References:
        O. Roy and M. Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1.
    """
    values = torch.linalg.svdvals(embeddings.double())
    if values.sum() == 0:
        return values.sum()
    return torch.special.entr(values / values.sum()).sum().exp()
