"""What training does to clips: faults put in, gain, colour, noise, SpecAugment and mixup."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from .batching import ClipCollator
from .synthetic_faults import DECIBEL, FAULTS, add_fault


COLOUR_KNOTS = 8  # along the mel bands, a random lift each


@dataclass
class NoiseOptions:
    """Clips as if heard elsewhere: in fine-tuning all of them, in pre-training those that the student hears."""

    noise_probability: float = field(
        default=0.0, metadata={"help": "share of clips that are heard with another clip in the background"}
    )
    snr_db: list[float] = field(
        default_factory=lambda: [-2.0, 15.0], metadata={"help": "how far a clip lies above that background, from, to"}
    )
    colour_db: float = field(
        default=0.0, metadata={"help": "bands lifted and lowered smoothly, with this standard deviation"}
    )
    gain_db: float = field(default=0.0, metadata={"help": "a random gain of up to so many dB either way a clip"})

    def __post_init__(self):
        if not 0 <= self.noise_probability <= 1:
            raise ValueError(f"noise_probability is {self.noise_probability}; accepted is a share from 0 to 1.")
        if len(self.snr_db) != 2 or self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"snr_db is {self.snr_db}; accepted are the lowest and the highest ratio in dB.")

    @property
    def elsewhere(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.noise_probability or self.colour_db or self.gain_db)


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


def random_colour(log_mel: torch.Tensor, colour_db: float, generator: torch.Generator) -> torch.Tensor:
    """
    Lifts and lowers bands of a clip smoothly along frequency, as another place, room or microphone would.

    Args:
        log_mel (`torch.Tensor` of shape `(frames, mel_bins)`): log energies of one clip, natural logarithms, float32.
        colour_db (`float`): standard deviation of the lift in dB.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.
    """
    knots = colour_db * torch.randn(1, 1, COLOUR_KNOTS, generator=generator)
    lift = nn.functional.interpolate(knots, size=log_mel.shape[-1], mode="linear", align_corners=True)[0, 0]
    return log_mel + (lift * DECIBEL).to(log_mel.device)


def in_noise(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: float) -> torch.Tensor:
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


def heard_elsewhere(
    input_values: torch.Tensor,
    draws: torch.Tensor,
    feature_extractor,
    options: NoiseOptions,
    faults: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    A batch as heard elsewhere: every clip coloured, with its neighbour in the background, louder or softer.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): normalised log energies, float32.
        draws (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        feature_extractor (`FeatureExtractionMixin`): its `mean` and `std` are those of the normalisation
            `(x - mean) / (2 std)`, numbers or one of them a mel band.
        options ([`NoiseOptions`]): how much of each.
        faults (`torch.Tensor` of shape `(clips,)`, *optional*): which of [`~hf_asd.synthetic_faults.FAULTS`] a clip
            gets, by its place there, int64; -1 for none. A clip in the background is sound.

    Returns:
        `torch.Tensor` of the same shape.
    """
    low, high = options.snr_db
    mean, scale = torch.tensor(feature_extractor.mean), 2 * torch.tensor(feature_extractor.std)
    log_mel = input_values * scale + mean
    # Masks are drawn by a clip's seed itself.
    generators = [torch.Generator().manual_seed(seed ^ 1) for seed in draws.tolist()]
    coloured = [
        random_colour(clip, options.colour_db, generator) for clip, generator in zip(log_mel, generators, strict=True)
    ]
    heard = []
    for row, (clip, partner, generator) in enumerate(
        zip(coloured, neighbours(len(coloured)).tolist(), generators, strict=True)
    ):
        if faults is not None and faults[row] >= 0:
            clip = add_fault(clip, list(FAULTS)[faults[row]], torch.Generator().manual_seed(int(draws[row]) ^ 2))
        chance, share = torch.rand(2, generator=generator).tolist()
        if chance < options.noise_probability:
            clip = in_noise(clip, coloured[partner], low + share * (high - low))
        heard.append(random_gain(clip, options.gain_db, generator))
    return (torch.stack(heard) - mean) / scale


def draw_faults(draws: torch.Tensor, probability: float) -> torch.Tensor:
    """
    Which fault every clip of a batch gets.

    Args:
        draws (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        probability (`float`): share of clips with a fault.

    Returns:
        `torch.Tensor` of shape `(clips,)`, int64: a place in [`~hf_asd.synthetic_faults.FAULTS`], or -1.
    """
    rngs = [np.random.default_rng([seed, 2]) for seed in draws.tolist()]
    return torch.tensor([int(rng.integers(len(FAULTS))) if rng.random() < probability else -1 for rng in rngs])


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
    partners = neighbours(len(input_values))
    # torch draws from no Beta with a generator.
    shares = torch.tensor([np.random.default_rng([seed, 1]).beta(alpha, alpha) for seed in draws.tolist()]).float()
    shares = torch.maximum(shares, 1 - shares)
    share = shares[:, None, None]
    return share * input_values + (1 - share) * input_values[partners], partners, shares


def neighbours(clips: int) -> torch.Tensor:
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
        """As [`ClipCollator`], with `partners` and `shares` of [`mixup`] where it is on."""
        batch = super().__call__(clips)
        heard, faults = batch["input_values"], None
        if self.config.fault_probability:
            faults = draw_faults(batch["draws"], self.config.fault_probability)
            batch["labels"] = torch.where(faults < 0, batch["labels"], self.first_fault + faults)
        if self.config.elsewhere or faults is not None:
            heard = heard_elsewhere(heard, batch["draws"], self.feature_extractor, self.config, faults)
        augmented = []
        for clip, seed in zip(heard, batch["draws"].tolist(), strict=True):
            generator = torch.Generator().manual_seed(seed)
            augmented.append(spec_augment(clip[None], self.config.time_mask, self.config.frequency_mask, generator))
        batch["input_values"] = torch.cat(augmented)
        if self.config.mixup:
            mixed = mixup(batch["input_values"], batch["draws"], self.config.mixup)
            batch |= dict(zip(("input_values", "partners", "shares"), mixed, strict=True))
        return batch
