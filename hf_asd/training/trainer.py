"""What pre-training and fine-tuning share: batches of recordings, arguments, and a run that goes on exactly."""

import difflib
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import HfApi
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints

from ..distributed import broadcast, partial_state, use_cpu
from ..hub.encoder_card import push_encoder
from ..hub.transfer import ENCODER, check_same_kind, hub_errors
from .config import LoraOptions
from .lora import merge_lora, trainable_share
from .sampling import ClipSampler, CroppedClips, crop_lengths, loader_workers


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
            "ddp_find_unused_parameters": False,
            "use_cpu": use_cpu(),
            # On a CPU half precision is slower than none.
            "bf16": partial_state().device.type == "cuda" and torch.cuda.is_bf16_supported(),
            "dataloader_pin_memory": torch.cuda.is_available(),
            "dataloader_num_workers": loader_workers(partial_state().num_processes),
            "dataloader_drop_last": True,
            **defaults,
            **options,
        },
    )


def compile_blocks(blocks: list[nn.Module], wanted: bool | None) -> None:
    """
    Compiles a model's blocks, each by itself: blocks of one shape are compiled once.

    Args:
        blocks (`list[nn.Module]`): changed in place; names of weights stay.
        wanted (`bool`, *optional*): by default where there is a GPU; on a CPU it costs more than it brings.
    """
    if wanted or (wanted is None and partial_state().device.type == "cuda"):
        for block in blocks:
            block.compile()


class SeededTrainer(Trainer):
    """
    A Trainer that hears what a [`~hf_asd.training.sampling.ClipSampler`] says, so that a run that was killed and goes on from a
    checkpoint ends with the same bits as one that was not, and several processes hear what one would.

    Args:
        dataset (`datasets.Dataset`): rows with `audio`, and `label` where there is one.
        frames (`int`): the longest crop.
        channel (`int` or `"mean"`): as for [`~hf_asd.audio.reading.read_audio`].
        weights (`np.ndarray` of shape `(rows,)`, *optional*): how often a pass hears each row; once by default.
        kwargs: of `Trainer`. Where `args` gives no steps, its epochs are passes over the recordings.

    Raises:
        ValueError: fewer clips in all passes than a step takes.
    """

    def __init__(
        self,
        dataset: Dataset,
        frames: int,
        channel: int | str,
        weights: np.ndarray | None = None,
        **kwargs,
    ):
        arguments = kwargs["args"]
        step_clips = arguments.train_batch_size * arguments.world_size * arguments.gradient_accumulation_steps
        heard = len(dataset) if weights is None else weights.sum()
        if heard < step_clips:
            raise ValueError(
                f"there are {heard:.0f} recordings, fewer than one batch (batch_size is "
                f"{arguments.per_device_train_batch_size}, a step takes {step_clips}); lower batch_size or add "
                "recordings."
            )
        if arguments.max_steps < 0:
            arguments.max_steps = max(1, int(arguments.num_train_epochs * heard) // step_clips)
        self.clip_sampler = ClipSampler(
            crop_lengths(dataset, frames), step_clips, arguments.max_steps, arguments.seed, weights
        )
        self._writing = False
        super().__init__(train_dataset=CroppedClips(dataset, channel), **kwargs)

    def _get_train_sampler(self, train_dataset=None) -> ClipSampler:
        return self.clip_sampler

    def checked(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss, unless it is no number any more."""
        if not torch.isfinite(loss.detach()).all():
            raise TrainingError(
                f"The loss is {loss.mean().item()} at step {self.state.global_step}. Lower the learning rate, or "
                "train in float32 where half precision is on. The checkpoints before it are kept."
            )
        return loss

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As the Trainer's, before anything is trained; what the Hub refuses is said plainly."""
        with hub_errors(self.args.hub_model_id):
            super().init_hf_repo(token, private)
            if self.is_world_process_zero():
                check_same_kind(HfApi(token=self.args.hub_token), self.hub_model_id, ENCODER)

    def resume_or_train(self) -> None:
        """Trains from the newest checkpoint, or from the start where there is none."""
        folder = self.args.output_dir
        checkpoint = broadcast(get_last_checkpoint(folder) if os.path.isdir(folder) else None)
        if checkpoint is not None and self.args.should_save:
            print(f"goes on from {checkpoint}", flush=True)
        if self.args.should_save:
            print(trainable_share(self.model), flush=True)
        self.resumed = checkpoint is not None
        self.train(resume_from_checkpoint=checkpoint)

    def merge_lora(self, encoder: PreTrainedModel, options: LoraOptions) -> None:
        """Merges LoRA for the export, and keeps it by itself where the options say so."""
        adapter = Path(self.args.output_dir) / "adapter"
        if options.keep_adapter and self.args.should_save and not adapter.exists():
            export(adapter, encoder.save_pretrained)
        merge_lora(encoder)

    def export(
        self,
        folder: Path,
        model: PreTrainedModel,
        prefix: str,
        feature_extractor,
        stage: str,
        source: str | Path | None,
    ) -> Path:
        """
        Writes what was learned, by one process while the others wait, and publishes it where the arguments say so.

        Args:
            folder (`Path`): must not exist.
            model (`PreTrainedModel`): the trained model or a part of it, with its original layers.
            prefix (`str`): where that part is, such as `"eat."`.
            feature_extractor (`FeatureExtractionMixin`): written beside it.
            stage, source: as for [`~hf_asd.hub.encoder_card.push_encoder`].

        Returns:
            `Path`: the folder.
        """
        # Gathered from all processes where each holds a share of the weights.
        state = self.accelerator.get_state_dict(self.model_wrapped)
        if self.args.should_save:
            weights = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}

            def save(partial: Path):
                model.save_pretrained(partial, state_dict=weights)
                feature_extractor.save_pretrained(partial)
                if self.args.push_to_hub:
                    push_encoder(partial, self, stage, source)

            export(folder, save)
        self.accelerator.wait_for_everyone()
        return folder

    def _save_checkpoint(self, model, trial):
        """As the Trainer's, but a checkpoint gets its name when all of it is written: a kill leaves none by halves."""
        self._writing = True
        partial = Path(self._get_output_dir(trial))
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self._writing = False
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            (written,) = partial.iterdir()
            shutil.rmtree(partial.with_name(written.name), ignore_errors=True)
            os.replace(written, partial.with_name(written.name))
            partial.rmdir()
            rotate_checkpoints(self.args.output_dir, save_total_limit=self.args.save_total_limit, use_mtime=False)

    def _get_output_dir(self, trial) -> str:
        return os.path.join(self.args.output_dir, "checkpoint.partial") if self._writing else self.args.output_dir


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
