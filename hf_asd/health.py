"""What tells early whether self-supervised training collapses: everything looks alike to the teacher."""

import torch


def clip_variance(targets: torch.Tensor) -> torch.Tensor:
    """
    How much of what the teacher says depends on what is heard: the variance between clips at one and the same patch,
    as a share of the whole variance. It is 0 when the targets tell no more than where in the clip a patch lies, or
    nothing at all.

    Args:
        targets (`torch.Tensor` of shape `(clips, patches, channels)`): of at least two clips.

    Returns:
        `torch.Tensor` of shape `()`, from 0 to 1.
    """
    whole = targets.flatten(0, 1).var(0, correction=0).sum()
    between = targets.var(0, correction=0).mean(0).sum()
    return between / whole.clamp_min(torch.finfo(whole.dtype).tiny)


def effective_rank(embeddings: torch.Tensor) -> torch.Tensor:
    """
    How many directions the embeddings of different clips use.

    Args:
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`).

    Returns:
        `torch.Tensor` of shape `()`, from 1 (all on a line) to `min(clips - 1, dimensions)`; 0 where all are the same.

    References:
        O. Roy and M. Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1.
    """
    values = torch.linalg.svdvals(embeddings.double() - embeddings.double().mean(0))
    if values[0] <= 1e-12 * embeddings.double().norm():
        return torch.zeros(())
    shares = values / values.sum()
    return torch.special.entr(shares).sum().exp()
