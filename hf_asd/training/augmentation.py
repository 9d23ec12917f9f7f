"""What training does to clips: faults put in, gain, color, noise, SpecAugment and mixup."""

import numpy as np
import torch
from torch import nn

from .config import NoiseOptions
from .sampling import ClipCollator
from .synthetic_faults import DECIBEL, FAULTS, add_fault


COLOR_KNOTS = 8  # along the mel bands, a random lift each


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


def random_gain(log_mel: torch.Tensor, gain_db: float, generator: torch.Generator) -> torch.Tensor:
    """
    Makes a clip louder or softer: how loud a machine is depends on the microphone's distance as well.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, mel_bins)`): log energies, natural logarithms, float32.
        gain_db (`float`): largest gain either way in dB.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.
    """
    gain = gain_db * (2 * torch.rand((), generator=generator) - 1)
    return log_mel + (gain * DECIBEL).to(log_mel.device)


def random_color(log_mel: torch.Tensor, eq_db: float, generator: torch.Generator) -> torch.Tensor:
    """
    Lifts and lowers bands of a clip smoothly along frequency, as another place, room or microphone would.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, mel_bins)`): log energies of one clip, natural logarithms, float32.
        eq_db (`float`): standard deviation of the lift in dB.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.
    """
    knots = eq_db * torch.randn(1, 1, COLOR_KNOTS, generator=generator)
    lift = nn.functional.interpolate(knots, size=log_mel.shape[-1], mode="linear", align_corners=True)[0, 0]
    return log_mel + (lift * DECIBEL).to(log_mel.device)


def mix_background(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: float) -> torch.Tensor:
    """
    A clip with another one in the background: energies add up, as those of unrelated sounds do.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, mel_bins)`), noise (`torch.Tensor` of the same shape): log energies,
            natural logarithms, float32.
        snr_db (`float`): how far the clip's energy, over all frames and bands, lies above that of the noise.

    Returns:
        `torch.Tensor` of the same shape.
    """
    gain = log_mel.logsumexp((0, 1)) - noise.logsumexp((0, 1)) - snr_db * DECIBEL
    return torch.logaddexp(log_mel, noise + gain)


def augment_acoustics(
    input_values: torch.Tensor,
    augmentation_seeds: torch.Tensor,
    feature_extractor,
    options: NoiseOptions,
    faults: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    A batch as heard elsewhere: every clip colored, with its neighbor in the background, louder or softer.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): normalized log energies, float32.
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        feature_extractor (`FeatureExtractionMixin`): its `mean` and `std` are those of the normalization
            `(x - mean) / (2 std)`, numbers or one of them a mel band.
        options ([`NoiseOptions`]): how much of each.
        faults (`torch.Tensor` of shape `(clips,)`, *optional*): which of [`~hf_asd.training.synthetic_faults.FAULTS`] a clip
            gets, by its place there, int64; -1 for none. A clip in the background is sound.

    Returns:
        `torch.Tensor` of the same shape.
    """
    low, high = options.snr_db
    mean, scale = torch.tensor(feature_extractor.mean), 2 * torch.tensor(feature_extractor.std)
    log_mel = input_values * scale + mean
    # Masks are drawn by a clip's seed itself.
    generators = [torch.Generator().manual_seed(seed ^ 1) for seed in augmentation_seeds.tolist()]
    colored = [
        random_color(clip, options.eq_db, generator) for clip, generator in zip(log_mel, generators, strict=True)
    ]
    heard = []
    for row, (clip, partner, generator) in enumerate(
        zip(colored, neighbors(len(colored)).tolist(), generators, strict=True)
    ):
        if faults is not None and faults[row] >= 0:
            clip = add_fault(
                clip, list(FAULTS)[faults[row]], torch.Generator().manual_seed(int(augmentation_seeds[row]) ^ 2)
            )
        chance, share = torch.rand(2, generator=generator).tolist()
        if chance < options.noise_probability:
            clip = mix_background(clip, colored[partner], low + share * (high - low))
        heard.append(random_gain(clip, options.gain_db, generator))
    return (torch.stack(heard) - mean) / scale


def draw_faults(augmentation_seeds: torch.Tensor, probability: float) -> torch.Tensor:
    """
    Which fault every clip of a batch gets.

    Args:
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        probability (`float`): share of clips with a fault.

    Returns:
        `torch.Tensor` of shape `(clips,)`, int64: a place in [`~hf_asd.training.synthetic_faults.FAULTS`], or -1.
    """
    rngs = [np.random.default_rng([seed, 2]) for seed in augmentation_seeds.tolist()]
    return torch.tensor([int(rng.integers(len(FAULTS))) if rng.random() < probability else -1 for rng in rngs])


def mixup(
    input_values: torch.Tensor, augmentation_seeds: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Mixes every clip of a batch with its neighbor: the first with the second, the third with the fourth. A step's
    clips come in random order, and pairs stay together however a step is dealt out to processes, as long as each batch
    has an even number of clips; the last of an odd number stays as it is.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        alpha (`float`): of the Beta distribution that `mixup_lambda` is drawn from; above 0.

    Returns:
        the mixed clips; `partners` (int64, `(clips,)`), which clip each was mixed with; and `mixup_lambda` (float32,
        `(clips,)`), how much of the clip itself is left, half or more.

    References:
        H. Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1.
    """
    partners = neighbors(len(input_values))
    # torch cannot draw from a Beta distribution with a generator.
    mixup_lambda = torch.tensor(
        [np.random.default_rng([seed, 1]).beta(alpha, alpha) for seed in augmentation_seeds.tolist()]
    ).float()
    mixup_lambda = torch.maximum(mixup_lambda, 1 - mixup_lambda)
    share = mixup_lambda[:, None, None]
    return share * input_values + (1 - share) * input_values[partners], partners, mixup_lambda


def neighbors(clips: int) -> torch.Tensor:
    """Which clip of a batch each is mixed with, int64 of shape `(clips,)`: as of [`mixup`]."""
    return (torch.arange(clips) ^ 1).clamp_max(clips - 1)


class AugmentingCollator(ClipCollator):
    """
    Augments every clip of a batch; what it draws depends on the clip's seed alone.

    Args:
        feature_extractor (`FeatureExtractionMixin`): of the encoder that is trained, with `mean` and `std`.
        config ([`~hf_asd.FinetuneConfig`]): [`NoiseOptions`], `fault_probability`, `time_mask`, `frequency_mask` and
            `mixup`.
        first_fault (`int`): the label of the first kind of synthetic fault; the others follow.
    """

    def __init__(self, feature_extractor, config, first_fault: int):
        super().__init__(feature_extractor)
        self.config = config
        self.first_fault = first_fault

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """As [`ClipCollator`], with `partners` and `mixup_lambda` of [`mixup`] where it is on."""
        batch = super().__call__(clips)
        heard, faults = batch["input_values"], None
        if self.config.fault_probability:
            faults = draw_faults(batch["augmentation_seeds"], self.config.fault_probability)
            batch["labels"] = torch.where(faults < 0, batch["labels"], self.first_fault + faults)
        if self.config.elsewhere or faults is not None:
            heard = augment_acoustics(heard, batch["augmentation_seeds"], self.feature_extractor, self.config, faults)
        augmented = []
        for clip, seed in zip(heard, batch["augmentation_seeds"].tolist(), strict=True):
            generator = torch.Generator().manual_seed(seed)
            augmented.append(spec_augment(clip[None], self.config.time_mask, self.config.frequency_mask, generator))
        batch["input_values"] = torch.cat(augmented)
        if self.config.mixup:
            mixed = mixup(batch["input_values"], batch["augmentation_seeds"], self.config.mixup)
            batch |= dict(zip(("input_values", "partners", "mixup_lambda"), mixed, strict=True))
        return batch
