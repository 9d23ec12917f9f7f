"""Order, crops and random seeds of training clips; they depend on the seed only, not on the number of processes."""

import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from ..audio.channels import Channel
from ..audio.filter_bank import FRAME_SAMPLES, HOP_SAMPLES
from ..audio.log_mel_store import LogMelStore
from ..audio.reading import SAMPLING_RATE, duration, read_audio


POOL_STEPS = 64  # at most the clips of this many steps are sorted by length together
FRAMES_PER_SECOND = SAMPLING_RATE // HOP_SAMPLES


class Draw(NamedTuple):
    """One clip of a batch: its row, the seed of all its random choices, and its length in frames of 10 ms."""

    row: int
    seed: int
    frames: int


def frames_of(crop_seconds: float, patch_size: int = 16) -> int:
    """
    Number of frames (10 ms each) of a crop: a multiple of `patch_size`, at least one patch.

    Args:
        crop_seconds (`float`): the longest crop.
        patch_size (`int`, *optional*, defaults to 16): frames per patch.

    Raises:
        ValueError: `crop_seconds` is shorter than a patch.
    """
    frames = int(crop_seconds * SAMPLING_RATE / HOP_SAMPLES) // patch_size * patch_size
    if frames < patch_size:
        raise ValueError(
            f"crop_seconds is {crop_seconds}; accepted are numbers from {patch_size * HOP_SAMPLES / SAMPLING_RATE}."
        )
    return frames


def crop_lengths(rows: Dataset, frames: int, patch_size: int = 16) -> np.ndarray:
    """
    The longest possible crop of every recording; only the headers of files are read.

    Args:
        rows (`datasets.Dataset`): with `audio`.
        frames (`int`): the longest crop.
        patch_size (`int`, *optional*, defaults to 16): lengths are multiples of it.

    Returns:
        `np.ndarray` of shape `(rows,)`, int64, frames.

    Raises:
        BadAudioError: a recording cannot be read or is too short.
    """
    audios = tqdm(rows.select_columns("audio"), desc="lengths", unit="clip", delay=2, disable=None)
    samples = np.array([int(duration(cast(dict, row)["audio"]) * SAMPLING_RATE) for row in audios])
    whole = (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1
    return np.minimum(whole, frames) // patch_size * patch_size


class ClipSampler(torch.utils.data.Sampler):
    """
    The order of clips in a whole run. Every epoch uses each clip as often as its weight says, in a new order; clips of
    similar length share a step and are cropped to the shortest of them, so no padding is needed.

    A step is all clips between two updates of the model: those of all processes and of accumulated batches. The same
    clips are in the same step, however it is split into processes and batches.

    Args:
        frames (`np.ndarray` of shape `(rows,)`): longest crop of every row, from [`crop_lengths`].
        step_clips (`int`): clips per step.
        steps (`int`): number of steps of the run.
        seed (`int`, *optional*, defaults to 0): of order and random choices.
        weights (`np.ndarray` of shape `(rows,)`, *optional*): how often each row is used in an epoch, on average if
            it is not a whole number; by default once.
        own_lengths (`bool`, *optional*, defaults to `False`): every clip keeps its own longest crop.
    """

    def __init__(
        self,
        frames: np.ndarray,
        step_clips: int,
        steps: int,
        seed: int = 0,
        weights: np.ndarray | None = None,
        own_lengths: bool = False,
    ):
        self.frames = frames
        self.step_clips = step_clips
        self.steps = steps
        self.seed = seed
        self.weights = np.ones(len(frames)) if weights is None else weights
        self.own_lengths = own_lengths

    def __len__(self) -> int:
        return self.steps * self.step_clips

    def __iter__(self) -> Iterator[Draw]:
        rows = self._rows()
        # At most about one epoch: several epochs sorted together would put the same clip into a step many times.
        pool_steps = min(POOL_STEPS, max(1, int(self.weights.sum()) // self.step_clips))
        for first in range(0, self.steps, pool_steps):
            rng = np.random.default_rng([self.seed, 1, first])
            steps = min(pool_steps, self.steps - first)
            pool = np.fromiter(itertools.islice(rows, steps * self.step_clips), dtype=np.int64)
            # Stable: clips of the same length stay in random order.
            pool = pool[self.frames[pool].argsort(kind="stable")].reshape(steps, self.step_clips)
            pool = rng.permuted(pool, axis=1)
            for step in pool[rng.permutation(steps)].tolist():
                frames = self.frames[step] if self.own_lengths else np.full(len(step), self.frames[step].min())
                seeds = rng.integers(2**63, size=self.step_clips, dtype=np.int64)
                yield from map(Draw, step, seeds.tolist(), frames.tolist())

    def _rows(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, 0])
        phase = rng.random(len(self.weights))
        for number in itertools.count():
            # A row with weight 0.5 is used in every second epoch; each epoch uses half of such rows.
            before, after = np.floor(number * self.weights + phase), np.floor((number + 1) * self.weights + phase)
            yield from rng.permutation(np.arange(len(self.weights)).repeat((after - before).astype(int)))


class CroppedClips(torch.utils.data.Dataset):
    """
    Rows whose recordings are read from disk when they are needed.

    Args:
        rows (`datasets.Dataset`): with `audio`; other columns are passed on.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): log energies that are kept of them, so that
            they need not be decoded.
    """

    def __init__(self, rows: Dataset, channel: Channel = 0, log_mels: LogMelStore | None = None):
        self.rows = rows
        self.channel: Channel = channel
        self.log_mels = log_mels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw) -> dict:
        """
        A row with a random crop instead of `audio`, and its seed in `augmentation_seeds`. The crop begins with a frame
        of 10 ms: `samples` (float32, full scale at 1, 16 kHz), or `log_mel` (float32, `(frames, mel_bins)`) of
        recordings whose log energies are kept.
        """
        row = self.rows[draw.row]
        audio = row.pop("audio")
        log_mel = None if self.log_mels is None else self.log_mels.get(audio, self.channel)
        samples = read_audio(audio, channel=self.channel) if log_mel is None else np.empty(0, np.float32)
        frames = (len(samples) - FRAME_SAMPLES) // HOP_SAMPLES + 1 if log_mel is None else len(log_mel)
        start = int(np.random.default_rng(draw.seed).integers(max(0, frames - draw.frames) + 1))
        if log_mel is not None:
            crop = {"log_mel": np.array(log_mel[start : start + draw.frames])}
        else:
            length = (draw.frames - 1) * HOP_SAMPLES + FRAME_SAMPLES
            crop = {"samples": samples[start * HOP_SAMPLES : start * HOP_SAMPLES + length]}
        return {**row, **crop, "augmentation_seeds": draw.seed}


class ClipCollator:
    """
    Cropped clips -> a batch of the encoder's inputs.

    Args:
        feature_extractor (`FeatureExtractionMixin`): of the encoder that is trained.
    """

    def __init__(self, feature_extractor):
        self.feature_extractor = feature_extractor

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """
        Args:
            clips (`list[dict]`): of [`CroppedClips`], with `label` and `weight` where there are any.

        Returns:
            `dict`: the feature extractor's output, such as `input_values` (float32, `(clips, frames, mel_bins)`);
            `augmentation_seeds` (int64, `(clips,)`); and `labels` (int64, `(clips,)`) and `weights` (float32,
            `(clips,)`) if clips have them.
        """
        if any("log_mel" in clip for clip in clips):
            log_mels = [self._log_mel(clip) for clip in clips]
            batch = dict(self.feature_extractor.from_log_mel(log_mels, "pt"))
        else:
            samples = [clip["samples"] for clip in clips]
            batch = dict(self.feature_extractor(samples, sampling_rate=SAMPLING_RATE, return_tensors="pt"))
        batch["augmentation_seeds"] = torch.tensor([clip["augmentation_seeds"] for clip in clips])
        if "label" in clips[0]:
            batch["labels"] = torch.tensor([clip["label"] for clip in clips])
        if "weight" in clips[0]:
            batch["weights"] = torch.tensor([clip["weight"] for clip in clips], dtype=torch.float32)
        return batch

    def _log_mel(self, clip: dict) -> torch.Tensor:
        if "log_mel" in clip:
            return torch.from_numpy(clip["log_mel"])
        return self.feature_extractor.log_mel(torch.from_numpy(clip["samples"])[None])[0]


def loader_workers(processes: int) -> int:
    """Number of data loading processes: none without a GPU, because the CPU is busy; up to 8 per training process."""
    return min(8, max(1, (os.cpu_count() or 1) // processes)) if torch.cuda.is_available() else 0


def balance_weights(labels: list[int]) -> np.ndarray:
    """
    Weights that give all classes the same total weight, such as 990 source clips and 10 target clips.

    Args:
        labels (`list[int]`): the class of every clip.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64, with a mean of 1: inverse to the size of the clip's class.
    """
    _, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(sizes) * sizes[places])
