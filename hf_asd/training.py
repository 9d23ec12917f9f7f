"""What pre-training and fine-tuning share: batches of recordings, arguments, and a run that goes on exactly."""

import difflib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import HfApi
from transformers import Trainer, TrainingArguments

from .data.audio import SAMPLING_RATE, read_audio
from .hub import ENCODER_MARK, check_same_kind, explained
from .models.filter_bank import FRAME_SAMPLES, HOP_SAMPLES


class TrainingError(ValueError):
    """Training went wrong in a way that more steps do not mend; the message says what to change."""


def training_arguments(output_dir: str | Path, options: dict, **defaults) -> TrainingArguments:
    """
    Arguments of a run that saves checkpoints and can go on from them.

    Args:
        output_dir (`str` or `Path`): where checkpoints are kept.
        options (`dict`): any of `TrainingArguments`, verbatim; they win.
        defaults: what the stage itself sets.

    Returns:
        `TrainingArguments`.

    Raises:
        ValueError: an unknown name; the nearest known one is named.
    """
    known = {option.name for option in fields(TrainingArguments) if option.init}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise ValueError(f"training.{name} is no option of transformers' TrainingArguments; did you mean {near}?")
    if options.get("hub_strategy", "end") != "end":
        raise ValueError(
            f"training.hub_strategy is {options['hub_strategy']!r}; accepted is 'end': only what was trained to its "
            "end is published."
        )
    return TrainingArguments(
        output_dir=str(output_dir),
        **{
            "hub_strategy": "end",
            "save_strategy": "steps",
            "save_total_limit": 2,
            "logging_steps": 50,
            "report_to": "none",
            # The collator needs columns that no model takes.
            "remove_unused_columns": False,
            "dataloader_pin_memory": torch.cuda.is_available(),
            **defaults,
            **options,
        },
    )


class ClipCollator:
    """
    Rows -> a batch of log-mel spectrograms, whole recordings; crops are drawn later, in the training step.

    Args:
        feature_extractor ([`~hf_asd.models.eat.EatFeatureExtractor`]): of the model that is trained.
        minimum_frames (`int`): shorter recordings are repeated until they have as many.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.data.audio.read_audio`].
    """

    def __init__(self, feature_extractor, minimum_frames: int, channel: int | str = 0):
        self.feature_extractor = feature_extractor
        self.minimum_samples = (minimum_frames - 1) * HOP_SAMPLES + FRAME_SAMPLES
        self.channel = channel

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        """
        Args:
            rows (`list[dict]`): with `audio`, and `label` and `weight` where there are any.

        Returns:
            `dict`: `input_values` (float32, `(clips, frames, mel_bins)`, the shorter ones filled up), `num_frames`
            (int64, `(clips,)`, those that come from the recording), and `labels` (int64) and `weights` (float32)
            where rows have them.
        """
        clips = [read_audio(row["audio"], channel=self.channel) for row in rows]
        clips = [np.resize(clip, max(len(clip), self.minimum_samples)) for clip in clips]
        features = self.feature_extractor(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        frames = [(len(clip) - FRAME_SAMPLES) // HOP_SAMPLES + 1 for clip in clips]
        batch = {"input_values": features["input_values"], "num_frames": torch.tensor(frames)}
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        if "weight" in rows[0]:
            batch["weights"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        return batch


def frames_of(crop_seconds: float, patch_size: int = 16) -> int:
    """
    Frames of a crop: a multiple of `patch_size`, at least one patch.

    Raises:
        ValueError: `crop_seconds` is shorter than a patch.
    """
    frames = int(crop_seconds * SAMPLING_RATE / HOP_SAMPLES) // patch_size * patch_size
    if frames < patch_size:
        raise ValueError(
            f"crop_seconds is {crop_seconds}; accepted are {patch_size * HOP_SAMPLES / SAMPLING_RATE} up."
        )
    return frames


def random_crops(
    input_values: torch.Tensor, num_frames: torch.Tensor, frames: int, generator: torch.Generator
) -> torch.Tensor:
    """
    One crop a clip, anywhere in its recording.

    Args:
        input_values (`torch.Tensor` of shape `(clips, all_frames, mel_bins)`): float32.
        num_frames (`torch.Tensor` of shape `(clips,)`): frames that come from the recording, int64.
        frames (`int`): length of the crops.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of shape `(clips, frames, mel_bins)`.
    """
    free = (num_frames.cpu() - frames).clamp_min(0)
    starts = (torch.rand(len(free), generator=generator) * (free + 1)).long()
    return torch.stack(
        [clip[start : start + frames] for clip, start in zip(input_values, starts.tolist(), strict=True)]
    )


class SeededTrainer(Trainer):
    """
    A Trainer whose every random draw depends on the seed, the step and the process alone, so that a run that was
    killed and goes on from a checkpoint ends with the same bits as one that was not.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._drawn = (-1, 0)  # the step that was drawn for last, and how many batches of it

    def generator(self) -> torch.Generator:
        """The generator of this training step (with gradient accumulation, of this batch of it)."""
        step, batches = self._drawn
        batches = batches + 1 if step == self.state.global_step else 0
        self._drawn = (self.state.global_step, batches)
        words = [self.args.seed, self.state.global_step, batches, self.args.process_index]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator().manual_seed(seed)

    def checked(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss, unless it is no number any more."""
        if not torch.isfinite(loss.detach()):
            raise TrainingError(
                f"The loss is {loss.item()} at step {self.state.global_step}. Lower the learning rate, or train in "
                "float32 where half precision is on. The checkpoints before it are kept."
            )
        return loss

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As the Trainer's, before anything is trained; what the Hub refuses is said plainly."""
        with explained(self.args.hub_model_id):
            super().init_hf_repo(token, private)
            if self.is_world_process_zero():
                check_same_kind(HfApi(token=self.args.hub_token), self.hub_model_id, ENCODER_MARK)

    def train_on(self) -> None:
        """Trains from the newest whole checkpoint, or from the start where there is none."""
        checkpoint = last_whole_checkpoint(self.args.output_dir)
        if checkpoint is not None:
            print(f"goes on from {checkpoint}", flush=True)
        self.train(resume_from_checkpoint=checkpoint)


def last_whole_checkpoint(folder: str | Path) -> str | None:
    """
    The newest checkpoint that was written to its end; one that a kill cut short is passed over.

    Args:
        folder (`str` or `Path`): `output_dir` of the run.
    """
    steps = {}
    for checkpoint in Path(folder).glob("checkpoint-*"):
        try:
            # The Trainer writes this file last.
            steps[json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]] = str(checkpoint)
        except (OSError, json.JSONDecodeError):
            continue
    return steps[max(steps)] if steps else None


def export(folder: str | Path, save: Callable[[Path], None]) -> Path:
    """
    Writes a folder whole or not at all.

    Args:
        folder (`str` or `Path`): the folder; must not exist.
        save (`Callable`): writes into the folder that it is given.

    Returns:
        `Path`: the folder.
    """
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save(partial)
    os.replace(partial, folder)
    return folder


def check_rows(dataset: Dataset, batch_size: int) -> None:
    """
    Raises:
        ValueError: there is nothing to train on, or less than one batch.
    """
    if len(dataset) < batch_size:
        raise ValueError(
            f"there are {len(dataset)} recordings, fewer than one batch (batch_size is {batch_size}); "
            "lower batch_size or add recordings."
        )
