"""Classes of very different size (990 source clips, 10 target clips): heard as often, or weighed as much; mixup."""

import numpy as np
import torch


BALANCES = ("none", "sampling", "weights")


def balance_weights(labels: list[int]) -> np.ndarray:
    """
    Weights under which all classes count the same.

    Args:
        labels (`list[int]`): the class of every clip.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64, with a mean of 1: inverse to the size of the clip's class.
    """
    _, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(sizes) * sizes[places])


class BalancedSampler(torch.utils.data.Sampler):
    """
    Draws rows with replacement, each as often as its weight says. Every pass has its own draws: a run that goes
    on in the middle hears what it would have heard.

    Args:
        weights (`np.ndarray` of shape `(rows,)`): for instance of [`balance_weights`].
        seed (`int`): of the draws.
    """

    def __init__(self, weights: np.ndarray, seed: int):
        self.weights = weights
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int):
        """Called at the beginning of every pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self):
        generator = np.random.default_rng([self.seed, self.epoch])
        return iter(generator.choice(len(self), len(self), p=self.weights / self.weights.sum()).tolist())


def mixup(
    input_values: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Mixes every clip of a batch with another one.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        alpha (`float`): of the Beta distribution that shares are drawn from; above 0.
        generator (`torch.Generator`): on the CPU.

    Returns:
        the mixed clips; `partners` (int64, `(clips,)`), which clip each was mixed with; and `shares` (float32,
        `(clips,)`), how much of the clip itself is left, half or more.

    References:
        H. Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1.
    """
    clips = len(input_values)
    partners = torch.randperm(clips, generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))  # torch draws from no Beta with a generator
    shares = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, clips)).float()
    shares = torch.maximum(shares, 1 - shares)
    share = shares.to(input_values.device)[:, None, None]
    return share * input_values + (1 - share) * input_values[partners.to(input_values.device)], partners, shares
