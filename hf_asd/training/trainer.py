"""The Trainer of pre-training and fine-tuning: it resumes exactly, and exports an encoder with its card."""

import difflib
import logging
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import HfApi
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints

from ..audio.channels import Channel
from ..audio.log_mel_store import LogMelStore
from ..distributed import broadcast, compute_device, partial_state
from ..files import whole_folder
from ..hub.encoder_card import push_encoder
from ..hub.transfer import ENCODER, check_same_kind
from ..hub_errors import hub_errors
from .config import FinetuneConfig, LoraOptions, PretrainConfig
from .lora import merge_lora, trainable_share
from .sampling import ClipSampler, CroppedClips, crop_lengths, loader_workers


logger = logging.getLogger(__name__)


class TrainingError(ValueError):
    """Training fails in a way that more steps do not repair; the message says what to change."""


def training_arguments(
    output_dir: str | Path, config: PretrainConfig | FinetuneConfig, **defaults
) -> TrainingArguments:
    """
    `TrainingArguments` of a run that saves checkpoints and can be resumed.

    Args:
        output_dir (`str` or `Path`): folder of the checkpoints.
        config ([`PretrainConfig`] or [`FinetuneConfig`]): the stage's options; those in `training` have priority.
        defaults: what the stage itself sets.

    Returns:
        `TrainingArguments`.

    Raises:
        ValueError: an unknown name in `training` (the message suggests the nearest known one), or a `hub_strategy`
            other than `"end"`.
    """
    options = config.training
    known = {field.name for field in fields(TrainingArguments) if field.init}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise ValueError(
                f"unknown option training.{name} of transformers' TrainingArguments; did you mean {near}?"
            )
    if options.get("hub_strategy", "end") != "end":
        raise ValueError(
            f"training.hub_strategy is {options['hub_strategy']!r}; accepted is 'end': an encoder is published when "
            "its training is complete."
        )
    device = compute_device().type
    return TrainingArguments(
        output_dir=str(output_dir),
        **{
            "num_train_epochs": config.epochs,
            "max_steps": config.max_steps or -1,
            "per_device_train_batch_size": config.batch_size,
            "learning_rate": config.learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": config.warmup,
            "weight_decay": config.weight_decay,
            "seed": config.seed,
            "hub_strategy": "end",
            "save_strategy": "steps",
            "save_steps": config.save_steps,
            "save_total_limit": 2,
            "logging_steps": 50,
            "report_to": "none",
            # The collator needs columns that the model does not take.
            "remove_unused_columns": False,
            "ddp_find_unused_parameters": False,
            # transformers refuses bf16 without a GPU unless it is told that none is wanted.
            "use_cpu": device == "cpu",
            # Most CPUs are slower in half precision; on those that are not, trained weights depend on the CPU then.
            "bf16": device == "cuda" and torch.cuda.is_bf16_supported(),
            "dataloader_pin_memory": torch.cuda.is_available(),
            "dataloader_num_workers": loader_workers(partial_state().num_processes),
            "dataloader_drop_last": True,
            **defaults,
            **options,
        },
    )


def compile_layers(layers: list[nn.Module], wanted: bool | None) -> None:
    """
    Compiles a model's layers one by one: layers of the same shape are compiled once.

    Args:
        layers (`list[nn.Module]`): changed in place; names of weights stay.
        wanted (`bool`, *optional*): by default only on a GPU; on a CPU compiling takes longer than it saves.
    """
    if wanted or (wanted is None and compute_device().type == "cuda"):
        for layer in layers:
            layer.compile()


class SeededTrainer(Trainer):
    """
    A Trainer that takes its clips in the order of a [`~hf_asd.training.sampling.ClipSampler`]. A run that was stopped
    and resumed ends with the same bits as one that was not, and several processes train on the same clips as one.

    Args:
        dataset (`datasets.Dataset`): rows with `audio`, and `label` where there is one.
        frames (`int`): longest crop, in frames of 10 ms.
        channel (`int` or `str`): as for [`~hf_asd.audio.reading.read_audio`].
        weights (`np.ndarray` of shape `(rows,)`, *optional*): how often each row is used in an epoch; by default once.
        fills_up (`bool`, *optional*, defaults to `False`): the feature extractor gives all clips the same length, so
            none is cropped to the length of another or to whole patches.
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for [`CroppedClips`].
        kwargs: of `Trainer`. If `args` has no number of steps, it follows from the number of epochs.

    Raises:
        ValueError: all epochs together have fewer clips than one step.
    """

    config: Any  # options of the stage; set by its Trainer
    resumed: bool

    def __init__(
        self,
        dataset: Dataset,
        frames: int,
        channel: Channel,
        weights: np.ndarray | None = None,
        fills_up: bool = False,
        log_mels: LogMelStore | None = None,
        **kwargs,
    ):
        arguments = kwargs["args"]
        step_clips = arguments.train_batch_size * arguments.world_size * arguments.gradient_accumulation_steps
        epoch_clips = len(dataset) if weights is None else weights.sum()
        if epoch_clips < step_clips:
            raise ValueError(
                f"there are {epoch_clips:.0f} recordings, fewer than one batch (batch_size is "
                f"{arguments.per_device_train_batch_size}, a step takes {step_clips}); lower batch_size or add "
                "recordings."
            )
        if arguments.max_steps < 0:
            arguments.max_steps = max(1, int(arguments.num_train_epochs * epoch_clips) // step_clips)
        lengths = crop_lengths(dataset, frames, patch_size=1) if fills_up else crop_lengths(dataset, frames)
        self.clip_sampler = ClipSampler(
            lengths, step_clips, arguments.max_steps, arguments.seed, weights, own_lengths=fills_up
        )
        self._writing = False
        super().__init__(train_dataset=CroppedClips(dataset, channel, log_mels), **kwargs)

    @property
    def output_dir(self) -> Path:
        """Folder of checkpoints and results."""
        return Path(str(self.args.output_dir))

    def _get_train_sampler(self, train_dataset=None) -> ClipSampler:
        return self.clip_sampler

    def checked(self, loss: torch.Tensor) -> torch.Tensor:
        """
        Returns the loss unchanged.

        Raises:
            TrainingError: it is not finite.
        """
        if not torch.isfinite(loss.detach()).all():
            raise TrainingError(
                f"The loss is {loss.mean().item()} at step {self.state.global_step}. Lower the learning rate, or "
                "train in float32 if half precision is on. The earlier checkpoints are kept."
            )
        return loss

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As the Trainer's, before training starts; errors of the Hub become a plain message."""
        with hub_errors(self.args.hub_model_id):
            super().init_hf_repo(token, private)
            if self.is_world_process_zero():
                check_same_kind(HfApi(token=self.args.hub_token), str(self.hub_model_id), ENCODER)

    def resume_or_train(self) -> None:
        """Trains from the latest checkpoint, or from the start if there is none."""
        checkpoint = broadcast(get_last_checkpoint(str(self.output_dir)) if self.output_dir.is_dir() else None)
        if self.args.should_save:
            if checkpoint is not None:
                logger.info("resuming from %s", checkpoint)
            assert isinstance(self.model, nn.Module)
            logger.info(trainable_share(self.model))
        self.resumed = checkpoint is not None
        self.train(resume_from_checkpoint=checkpoint)

    def merge_lora(self, encoder: PreTrainedModel, options: LoraOptions) -> None:
        """Merges LoRA adapters into the encoder for the export, and also saves them if the options say so."""
        adapter = self.output_dir / "adapter"
        if options.keep_adapter and self.args.should_save and not adapter.exists():
            with whole_folder(adapter) as partial:
                encoder.save_pretrained(partial)
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
        Saves the trained model, in one process while the others wait, and publishes it if the arguments say so.

        Args:
            folder (`Path`): must not exist.
            model (`PreTrainedModel`): the trained model or a part of it, with its original layers.
            prefix (`str`): names of that part's weights start with it, such as `"eat."`.
            feature_extractor (`FeatureExtractionMixin`): saved in the same folder.
            stage, source: as for [`~hf_asd.hub.encoder_card.push_encoder`].

        Returns:
            `Path`: the folder.
        """
        # Gathered from all processes if each holds a part of the weights.
        state = self.accelerator.get_state_dict(self.model_wrapped)
        if self.args.should_save:
            weights = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
            with whole_folder(folder) as partial:
                model.save_pretrained(partial, state_dict=weights)
                feature_extractor.save_pretrained(partial)
                if self.args.push_to_hub:
                    push_encoder(partial, self, stage, source)
        self.accelerator.wait_for_everyone()
        return folder

    def _save_checkpoint(self, model, trial):
        """
        As the Trainer's, but an interrupted save never leaves a partial checkpoint: all processes write into
        `checkpoint.partial/`, and the main process gives the complete checkpoint its name.
        """
        partial = self.output_dir / "checkpoint.partial"
        self._writing = True
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self._writing = False
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            (written,) = partial.iterdir()
            shutil.rmtree(self.output_dir / written.name, ignore_errors=True)
            os.replace(written, self.output_dir / written.name)
            partial.rmdir()
            rotate_checkpoints(str(self.output_dir), save_total_limit=self.args.save_total_limit, use_mtime=False)

    def _get_output_dir(self, trial) -> str:
        return str(self.output_dir / "checkpoint.partial" if self._writing else self.output_dir)
