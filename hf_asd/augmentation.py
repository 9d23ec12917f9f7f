"""What fine-tuning does to clips so that they are never heard twice alike: gain, SpecAugment, mixup."""

import math

import numpy as np
import torch

from .batching import ClipCollator


def spec_augment(
    input_values: torch.Tensor, time_mask: int, frequency_mask: int, generator: torch.Generator
) -> torch.Tensor:
    """
    Hides one stretch of time and one of mel bands a clip, each of random length, behind the clip's mean.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        time_mask (`int`), frequency_mask (`int`): largest lengths in frames and mel bands.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.

    References:
        D. S. Park et al. 2019, "SpecAugment", section 2.
    """
    clips, *sizes = input_values.shape
    hidden = torch.zeros(input_values.shape, dtype=torch.bool)
    for axis, (size, longest) in enumerate(zip(sizes, (time_mask, frequency_mask), strict=True)):
        lengths = (torch.rand(clips, 1, generator=generator) * (min(longest, size) + 1)).long()
        starts = (torch.rand(clips, 1, generator=generator) * (size - lengths + 1)).long()
        position = torch.arange(size)
        stretch = (position >= starts) & (position < starts + lengths)
        hidden |= stretch[:, :, None] if axis == 0 else stretch[:, None, :]
    return torch.where(hidden.to(input_values.device), input_values.mean((1, 2), keepdim=True), input_values)


def random_gain(input_values: torch.Tensor, gain_db: float, std: float, generator: torch.Generator) -> torch.Tensor:
    """
    Makes clips louder or softer: how loud a machine is depends on the microphone's distance as well.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): normalised log energies, float32.
        gain_db (`float`): largest gain either way in dB.
        std (`float`): of the feature extractor's normalisation `(x - mean) / (2 std)`.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.
    """
    gains = gain_db * (2 * torch.rand(len(input_values), 1, 1, generator=generator) - 1)
    return input_values + (gains * math.log(10) / 10 / (2 * std)).to(input_values.device)


def mixup(
    input_values: torch.Tensor, draws: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Mixes every clip of a batch with its neighbour: the first with the second, the third with the fourth. A step's
    clips come in random order, and pairs stay together however a step is dealt out to processes, as long as each batch
    has an even number of clips; the last of an odd number stays as it is.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        draws (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        alpha (`float`): of the Beta distribution that shares are drawn from; above 0.

    Returns:
        the mixed clips; `partners` (int64, `(clips,)`), which clip each was mixed with; and `shares` (float32,
        `(clips,)`), how much of the clip itself is left, half or more.

    References:
        H. Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1.
    """
    partners = (torch.arange(len(input_values)) ^ 1).clamp_max(len(input_values) - 1)
    # torch draws from no Beta with a generator.
    shares = torch.tensor([np.random.default_rng([seed, 1]).beta(alpha, alpha) for seed in draws.tolist()]).float()
    shares = torch.maximum(shares, 1 - shares)
    share = shares[:, None, None]
    return share * input_values + (1 - share) * input_values[partners], partners, shares


class AugmentingCollator(ClipCollator):
    """
    Augments every clip of a batch; what it draws depends on the clip's seed alone.

    Args:
        feature_extractor (`FeatureExtractionMixin`): of the encoder that is trained; its `std` turns dB into units of
            `input_values`.
        config ([`~hf_asd.FinetuneConfig`]): `gain_db`, `time_mask`, `frequency_mask` and `mixup`.
    """

    def __init__(self, feature_extractor, config):
        super().__init__(feature_extractor)
        self.config = config

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """As [`ClipCollator`], with `partners` and `shares` of [`mixup`] where it is on."""
        batch = super().__call__(clips)
        augmented = []
        for values, seed in zip(batch["input_values"], batch["draws"].tolist(), strict=True):
            generator = torch.Generator().manual_seed(seed)
            values = random_gain(values[None], self.config.gain_db, self.feature_extractor.std, generator)
            augmented.append(spec_augment(values, self.config.time_mask, self.config.frequency_mask, generator))
        batch["input_values"] = torch.cat(augmented)
        if self.config.mixup:
            mixed = mixup(batch["input_values"], batch["draws"], self.config.mixup)
            batch |= dict(zip(("input_values", "partners", "shares"), mixed, strict=True))
        return batch
