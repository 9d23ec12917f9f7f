"""Early stopping on normal training clips that are held out; test data is never used."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

from ..audio.channels import Channel
from ..audio.log_mel_store import LogMelStore
from ..distributed import broadcast, partial_state
from ..files import read_json, whole_file, write_json
from .sampling import ClipCollator, CroppedClips, Draw, crop_lengths


LOSSES_FILE = "held_out_losses.json"
BEST_FILE = "best.safetensors"


def hold_out(labels: list[int], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Splits training clips, class by class.

    Args:
        labels (`list[int]`): the class of every clip.
        share (`float`): share of every class that is held out, rounded down: a class of few clips keeps all of them.
        seed (`int`): of the random choice.

    Returns:
        rows to train on and rows that are held out, both in ascending order, int64.

    Raises:
        ValueError: no clip would be held out.
    """
    classes, generator = np.array(labels), np.random.default_rng(seed)
    held_out = []
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        held_out += generator.permutation(rows)[: int(share * len(rows))].tolist()
    if not held_out:
        raise ValueError(
            f"validation_fraction is {share}, which holds out no clip of any class; the largest has "
            f"{np.bincount(classes).max()}. Give a larger share, or early_stopping_patience 0 for no early stopping."
        )
    return np.setdiff1d(np.arange(len(classes)), held_out), np.sort(held_out)


@dataclass(eq=False)
class EarlyStopping(TrainerCallback):
    """
    Stops training when the loss on held-out clips has not become lower for several checks; restores the best weights.

    Losses and best weights are kept on disk, so that a run that was stopped and resumed decides the same.

    Args:
        batches (`list[dict]`): held-out clips as the model takes them, `input_values` and `labels`.
        patience (`int`): number of checks without a lower loss after which training stops.
        every (`int`): steps between checks.
        folder (`Path`): where losses and weights are kept.
    """

    batches: list[dict]
    patience: int
    every: int
    folder: Path
    stopped: bool = False

    def on_train_begin(self, args, state, control, **kwargs):
        # A run that had stopped but was interrupted before its export stops again, after one step of the Trainer.
        earlier = {step: loss for step, loss in self.losses().items() if step <= state.global_step}
        self.stopped = broadcast(self.enough(earlier))

    def on_step_end(self, args, state, control, **kwargs):
        if self.stopped:
            control.should_training_stop = True
        if self.stopped or state.global_step % self.every:
            return
        model: nn.Module = kwargs["model"]
        losses = {step: loss for step, loss in self.losses().items() if step < state.global_step}
        losses[state.global_step] = held_out_loss(model, self.batches)
        if args.should_save:
            if _best_step(losses) == state.global_step:
                with whole_file(self.folder / BEST_FILE) as partial:
                    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial)
            write_json(self.folder / LOSSES_FILE, losses)
        if broadcast(self.enough(losses)):
            control.should_training_stop = True

    def enough(self, losses: dict[int, float]) -> bool:
        """Whether there were `patience` checks since the lowest loss."""
        return bool(losses) and sum(step > _best_step(losses) for step in losses) >= self.patience

    def losses(self) -> dict[int, float]:
        """The loss of every check so far, by step."""
        file = self.folder / LOSSES_FILE
        return {int(step): loss for step, loss in read_json(file).items()} if file.is_file() else {}

    def restore_best(self, model: nn.Module) -> None:
        """Loads the weights of the lowest loss."""
        if (self.folder / BEST_FILE).is_file():
            model.load_state_dict(load_file(self.folder / BEST_FILE))


def _best_step(losses: dict[int, float]) -> int:
    return min(losses, key=lambda step: losses[step])


@torch.no_grad()
def held_out_loss(model: nn.Module, batches: list[dict]) -> float:
    """
    Mean loss per clip, without dropout and augmentation; an adaptive scale does not change. Processes share the
    batches.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    losses = []
    for batch in batches[partial_state().process_index :: partial_state().num_processes]:
        loss = model(batch["input_values"].to(device), labels=batch["labels"].to(device)).loss
        losses.append(loss.item() * len(batch["labels"]))
    model.train(training)
    # Summed without rounding, so that the order does not matter.
    return math.fsum(gather_object(losses)) / sum(len(batch["labels"]) for batch in batches)


def held_out_batches(
    rows: Dataset,
    collate: ClipCollator,
    frames: int,
    batch_size: int,
    channel: Channel = 0,
    log_mels: LogMelStore | None = None,
) -> list[dict]:
    """
    Held-out clips as batches, always with the same crops; clips of similar length share a batch, as in training.

    Args:
        rows (`datasets.Dataset`): with `audio` and `label`.
        collate ([`~hf_asd.training.sampling.ClipCollator`]): clips -> a batch.
        frames (`int`): longest crop, as in training.
        batch_size (`int`): clips per batch.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for
            [`~hf_asd.training.sampling.CroppedClips`].
    """
    lengths, clips = crop_lengths(rows, frames), CroppedClips(rows, channel, log_mels)
    order = lengths.argsort(kind="stable")
    chosen = [order[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return [collate([clips[Draw(row, 0, int(lengths[batch[0]]))] for row in batch.tolist()]) for batch in chosen]
