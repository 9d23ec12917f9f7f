"""Early signs that self-supervised training collapses: the teacher's outputs become the same for all clips."""

from collections import deque

import torch


MIN_EMBEDDINGS = 16  # of this many clips or more, from earlier steps if a batch has fewer
# The outputs of a healthy teacher vary by a third of their size or more, and its embeddings use several directions.
# With an EMA decay of 0, outputs became the same, or all embeddings came to lie on a line, a rank of 1.
COLLAPSED_SPREAD = 0.01
COLLAPSED_RANK = 1.3
PATIENCE = 3  # measurements in a row


class CollapseMonitor:
    """
    Measures whether a teacher has collapsed.

    Args:
        batch_size (`int`): clips per batch.
    """

    def __init__(self, batch_size: int):
        self._embeddings = deque(maxlen=max(MIN_EMBEDDINGS, batch_size))
        self.times_collapsed = 0

    def add(self, states: torch.Tensor) -> None:
        """
        Keeps the embeddings of a batch.

        Args:
            states (`torch.Tensor` of shape `(clips, patches, channels)`): the teacher's output.
        """
        embeddings = states.mean(1)
        # Relative to the batch's own mean: the teacher changes between steps.
        self._embeddings.extend((embeddings - embeddings.mean(0)).detach())

    @property
    def embeddings(self) -> torch.Tensor:
        """The latest embeddings, of shape `(clips, channels)`."""
        return torch.stack(tuple(self._embeddings))

    def collapsed(self, spread: float, rank: float) -> bool:
        """
        Takes one measurement into account.

        Args:
            spread (`float`), rank (`float`): of [`output_spread`] and [`effective_rank`].

        Returns:
            `bool`: whether this measurement and the two before it show a collapse.
        """
        low = spread < COLLAPSED_SPREAD or rank < COLLAPSED_RANK
        self.times_collapsed = self.times_collapsed + 1 if low else 0
        return self.times_collapsed >= PATIENCE


def output_spread(states: torch.Tensor) -> torch.Tensor:
    """
    Spread of the encoder's outputs over all patches of all clips, relative to their size: 0 if all outputs are the
    same. The targets of pre-training do not show this, because they are normalized: tiny differences in the outputs of
    a collapsed encoder become as large as those of a healthy one.

    Args:
        states (`torch.Tensor` of shape `(..., channels)`): outputs of the encoder's last layer.

    Returns:
        `torch.Tensor` of shape `()`, 0 to 1.
    """
    states = states.cpu().double().flatten(0, -2)  # Apple's GPU has no double precision
    return (states.var(0, correction=0).mean() / states.square().mean().clamp_min(1e-30)).sqrt()


def effective_rank(embeddings: torch.Tensor) -> torch.Tensor:
    """
    Number of directions that the embeddings of different clips use.

    Args:
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`): with a mean of 0.

    Returns:
        `torch.Tensor` of shape `()`, from 1 (all on a line) to `min(clips, dimensions)`; 0 if all are the same.

    References:
        O. Roy and M. Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1.
    """
    values = torch.linalg.svdvals(embeddings.cpu().double())
    if values.sum() == 0:
        return values.sum()
    return torch.special.entr(values / values.sum()).sum().exp()
