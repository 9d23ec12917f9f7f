"""Normalization of pooled encoder outputs before the classification head."""

import torch
from torch import nn

from ...distributed import gather_rows


MOMENTUM = 0.1  # of a step's clips in the running values, as in torch's batch normalization


class RunningNorm(nn.Module):
    """
    Subtracts a running mean from features and divides them by a running standard deviation.

    Most of an encoder's output is the same for all clips, which would hide the differences from a cosine head. ArcFace
    uses batch normalization for this. Here the running values are used in training as well, without a gradient, and
    they are updated once per step from the clips of all its batches and processes: a step does not depend on how its
    clips are split into batches and processes.

    Args:
        dimensions (`int`): length of the pooled encoder output.

    References:
        S. Ioffe and C. Szegedy 2015, "Batch Normalization"; J. Deng et al. 2019, "ArcFace", section 3.1.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, dimensions: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("variance", torch.ones(dimensions))
        self._reset()

    def _reset(self) -> None:
        # Number of clips since the last update, and the sums of their deviations and squared deviations.
        self.count, self.sums = 0, torch.zeros(())

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> None:
        """
        Sets the initial running values.

        Args:
            features (`torch.Tensor` of shape `(clips, dimensions)`): pooled encoder outputs, float32.
        """
        self.mean.copy_(features.mean(0))
        self.variance.copy_(features.var(0, correction=0))

    @torch.no_grad()
    def update(self) -> None:
        """Updates the running values from all processes' clips since the last call; call it after each step."""
        sums, count = gather_rows(self.sums[None], torch.tensor([self.count], device=self.mean.device))
        deviation, square = sums.sum(0) / count.sum()
        self.mean += MOMENTUM * deviation
        self.variance.lerp_(square, MOMENTUM)
        self._reset()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`(clips, dimensions)` -> the same shape, float32."""
        deviations = features.float() - self.mean
        if self.training:
            seen = deviations.detach()
            self.count += len(seen)
            self.sums = self.sums.to(seen.device) + torch.stack([seen.sum(0), seen.square().sum(0)])
        return deviations / (self.variance + 1e-5).sqrt()
