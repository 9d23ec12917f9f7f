"""What stands between an encoder's features and a head: they are centered and scaled."""

import torch
from torch import nn

from ...distributed import gather_rows


MOMENTUM = 0.1  # of a step's clips in the running values, as in torch's batch normalization


class RunningNorm(nn.Module):
    """
    Features less a running mean, divided by a running standard deviation.

    What all clips have in common is most of an encoder's output; a cosine head would see next to nothing but that.
    ArcFace has a batch normalization in this place. Here the running values normalize in training as well, no gradient
    passes through them, and they move once a step, by the clips of all its batches and processes: so a step is the
    same however its clips are dealt out.

    Args:
        dimensions (`int`): length of the pooled encoder output.

    References:
        S. Ioffe and C. Szegedy 2015, "Batch Normalization"; J. Deng et al. 2019, "ArcFace", section 3.1.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("variance", torch.ones(dimensions))
        self.heard, self.sums = 0, 0.0  # clips since the last update; their deviations and squared deviations

    @torch.no_grad()
    def fit(self, features: torch.Tensor):
        """
        Where the running values start.

        Args:
            features (`torch.Tensor` of shape `(clips, dimensions)`): pooled encoder outputs, float32.
        """
        self.mean.copy_(features.mean(0))
        self.variance.copy_(features.var(0, correction=0))

    @torch.no_grad()
    def update(self):
        """Moves the running values by what all processes heard since the last call; due after each training step."""
        sums, heard = gather_rows(self.sums[None], torch.tensor([self.heard], device=self.mean.device))
        deviation, square = sums.sum(0) / heard.sum()
        self.mean += MOMENTUM * deviation
        self.variance.lerp_(square, MOMENTUM)
        self.heard, self.sums = 0, 0.0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`(clips, dimensions)` -> the same shape, float32."""
        deviations = features.float() - self.mean
        if self.training:
            heard = deviations.detach()
            self.heard += len(heard)
            self.sums = self.sums + torch.stack([heard.sum(0), heard.square().sum(0)])
        return deviations / (self.variance + 1e-5).sqrt()
