"""Augmentation of training clips: synthetic faults, gain, equalization, background, SpecAugment and mixup."""

import numpy as np
import torch
from torch import nn

from .config import FinetuneConfig, NoiseOptions
from .sampling import ClipCollator
from .synthetic_faults import DECIBEL, SYNTHETIC_FAULTS, add_fault


EQ_POINTS = 8  # along the mel bands, with a random gain each


def spec_augment(
    input_values: torch.Tensor, time_mask: int, frequency_mask: int, generator: torch.Generator
) -> torch.Tensor:
    """
    Replaces one time interval and one range of mel bands of every clip, each of random length, by the clip's mean.

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


def random_gain(gain_db: float, generators: list[torch.Generator]) -> torch.Tensor:
    """
    Makes clips louder or softer, because the level also depends on the microphone's distance.

    Args:
        gain_db (`float`): largest gain in dB, up or down.
        generators (`list[torch.Generator]`): of each clip, on the CPU.

    Returns:
        `torch.Tensor` of shape `(clips, 1, 1)`: added to log energies (natural logarithms), float32.
    """
    shares = torch.stack([torch.rand((), generator=generator) for generator in generators])
    return DECIBEL * gain_db * (2 * shares - 1)[:, None, None]


def random_eq(mel_bins: int, eq_db: float, generators: list[torch.Generator]) -> torch.Tensor:
    """
    Raises and lowers the mel bands of clips smoothly along frequency, as another place, room or microphone does.

    Args:
        mel_bins (`int`): how many.
        eq_db (`float`): standard deviation of the gain in dB.
        generators (`list[torch.Generator]`): of each clip, on the CPU.

    Returns:
        `torch.Tensor` of shape `(clips, 1, mel_bins)`: added to log energies (natural logarithms), float32.
    """
    points = torch.stack([torch.randn(1, EQ_POINTS, generator=generator) for generator in generators])
    gains = nn.functional.interpolate(points, size=mel_bins, mode="linear", align_corners=True)
    return DECIBEL * eq_db * gains


def mix_background(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """
    Adds another clip in the background; energies are added, as for independent sounds.

    Args:
        log_mel (`torch.Tensor` of shape `(clips, frames, mel_bins)`), noise (`torch.Tensor` of the same shape): log
            energies, natural logarithms, float32.
        snr_db (`torch.Tensor` of shape `(clips,)`): ratio of each clip's energy, over all frames and bands, to that of
            its noise, in dB.

    Returns:
        `torch.Tensor` of the same shape as `log_mel`.
    """
    gain = log_mel.logsumexp((1, 2)) - noise.logsumexp((1, 2)) - snr_db * DECIBEL
    return torch.logaddexp(log_mel, noise + gain[:, None, None])


def augment_acoustics(
    input_values: torch.Tensor,
    augmentation_seeds: torch.Tensor,
    feature_extractor,
    options: NoiseOptions,
    faults: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    A batch as if recorded under other conditions: random equalization, another clip in the background, random gain.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): normalized log energies, float32.
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        feature_extractor (`FeatureExtractionMixin`): its `mean` and `std` are those of the normalization
            `(x - mean) / (2 std)`, one number each or one per mel band.
        options ([`NoiseOptions`]): probability and strength of each change.
        faults (`torch.Tensor` of shape `(clips,)`, *optional*): the fault of every clip, int64, a position in
            [`~hf_asd.training.synthetic_faults.SYNTHETIC_FAULTS`], or -1 for none. Clips in the background have none.

    Returns:
        `torch.Tensor` of the same shape.

    Raises:
        ValueError: the feature extractor fills up clips with frames that are no sound.
    """
    num_frames = getattr(feature_extractor, "num_frames", None)
    if num_frames is not None:
        raise ValueError(
            f"the encoder's feature extractor fills up every clip to {num_frames} frames (num_frames); set "
            "noise_probability, eq_db, gain_db and fault_probability to 0: they change sounds of exact length only."
        )
    low, high = options.snr_db
    mean, scale = torch.tensor(feature_extractor.mean), 2 * torch.tensor(feature_extractor.std)
    log_mel = input_values * scale + mean
    # The seed itself is used for masks.
    generators = [torch.Generator().manual_seed(seed ^ 1) for seed in augmentation_seeds.tolist()]
    log_mel += random_eq(log_mel.shape[-1], options.eq_db, generators).to(log_mel.device)
    backgrounds = log_mel[neighbors(len(log_mel))]
    for row, fault in enumerate([] if faults is None else faults.tolist()):
        if fault >= 0:
            generator = torch.Generator().manual_seed(int(augmentation_seeds[row]) ^ 2)
            log_mel[row] = add_fault(log_mel[row], list(SYNTHETIC_FAULTS)[fault], generator)
    chance, share = torch.stack([torch.rand(2, generator=generator) for generator in generators]).T
    mixed = (chance < options.noise_probability).nonzero()[:, 0].to(log_mel.device)
    if len(mixed):
        snr_db = (low + share * (high - low)).to(log_mel.device)[mixed]
        log_mel[mixed] = mix_background(log_mel[mixed], backgrounds[mixed], snr_db)
    log_mel += random_gain(options.gain_db, generators).to(log_mel.device)
    return (log_mel - mean) / scale


def draw_faults(augmentation_seeds: torch.Tensor, probability: float) -> torch.Tensor:
    """
    Draws the synthetic fault of every clip of a batch.

    Args:
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        probability (`float`): share of clips with a fault.

    Returns:
        `torch.Tensor` of shape `(clips,)`, int64: a position in
        [`~hf_asd.training.synthetic_faults.SYNTHETIC_FAULTS`], or -1.
    """
    rngs = [np.random.default_rng([seed, 2]) for seed in augmentation_seeds.tolist()]
    kinds = len(SYNTHETIC_FAULTS)
    return torch.tensor([int(rng.integers(kinds)) if rng.random() < probability else -1 for rng in rngs])


def mixup(
    input_values: torch.Tensor, augmentation_seeds: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Mixes every clip of a batch with its neighbor: the first with the second, the third with the fourth. The clips of a
    step are in random order, and pairs do not depend on the number of processes as long as each batch has an even
    number of clips; the last one of an odd number is not mixed.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        augmentation_seeds (`torch.Tensor` of shape `(clips,)`): seeds of the clips, int64.
        alpha (`float`): of the Beta distribution that `mixup_lambda` is drawn from; above 0.

    Returns:
        the mixed clips; `partners` (int64, `(clips,)`), which clip each was mixed with; and `mixup_lambda` (float32,
        `(clips,)`), the share of the clip itself, half or more.

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
    """The clip of a batch that each is mixed with, int64 of shape `(clips,)`; see [`mixup`]."""
    return (torch.arange(clips) ^ 1).clamp_max(clips - 1)


class AugmentingCollator(ClipCollator):
    """
    Augments every clip of a batch; random choices depend on the clip's seed only.

    Args:
        feature_extractor (`FeatureExtractionMixin`): of the encoder that is trained, with `mean` and `std`.
        config ([`FinetuneConfig`]): [`NoiseOptions`], `fault_probability`, `time_mask`, `frequency_mask` and
            `mixup`.
        first_fault (`int`): the label of the first kind of synthetic fault; the others follow.
    """

    def __init__(self, feature_extractor, config: FinetuneConfig, first_fault: int):
        super().__init__(feature_extractor)
        self.config = config
        self.first_fault = first_fault

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """As [`ClipCollator`], with `partners` and `mixup_lambda` of [`mixup`] if it is on."""
        batch = super().__call__(clips)
        values, faults = batch["input_values"], None
        if self.config.fault_probability:
            faults = draw_faults(batch["augmentation_seeds"], self.config.fault_probability)
            batch["labels"] = torch.where(faults < 0, batch["labels"], self.first_fault + faults)
        if self.config.changes_acoustics or faults is not None:
            values = augment_acoustics(
                values, batch["augmentation_seeds"], self.feature_extractor, self.config, faults
            )
        if self.config.time_mask or self.config.frequency_mask:
            augmented = []
            for clip, seed in zip(values, batch["augmentation_seeds"].tolist(), strict=True):
                generator = torch.Generator().manual_seed(seed)
                masks = (self.config.time_mask, self.config.frequency_mask)
                augmented.append(spec_augment(clip[None], *masks, generator))
            values = torch.cat(augmented)
        batch["input_values"] = values
        if self.config.mixup:
            mixed = mixup(batch["input_values"], batch["augmentation_seeds"], self.config.mixup)
            batch |= dict(zip(("input_values", "partners", "mixup_lambda"), mixed, strict=True))
        return batch
