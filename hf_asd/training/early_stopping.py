"""Early stopping on normal training clips that were held out; test data is never at hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from ..distributed import broadcast, partial_state
from .sampling import ClipCollator, CroppedClips, Draw, crop_lengths


def hold_out(labels: list[int], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Splits training clips, class by class.

    Args:
        labels (`list[int]`): the class of every clip.
        share (`float`): how much of every class is held out, rounded down: a class of few clips keeps them all.
        seed (`int`): of the draw.

    Returns:
        rows to train on and rows that are held out, in order, int64.

    Raises:
        ValueError: nothing would be held out.
    """
    labels, generator = np.array(labels), np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        held += generator.permutation(rows)[: int(share * len(rows))].tolist()
    if not held:
        raise ValueError(
            f"validation_fraction is {share}, which holds out no clip of any class; the largest has "
            f"{np.bincount(labels).max()}. Give a larger share, or early_stopping_patience 0 for no early stopping."
        )
    return np.setdiff1d(np.arange(len(labels)), held), np.sort(held)


class EarlyStopping(TrainerCallback):
    """
    Ends training when the loss on held-out clips has not fallen for some checks, and gives the best weights back.

    Checks and best weights are kept on disk; a run that was killed and goes on decides the same.

    Args:
        batches (`list[dict]`): held-out clips as the model takes them, `input_values` and `labels`.
        patience (`int`): so many checks without a lower loss end training.
        every (`int`): steps between checks.
        folder (`str` or `Path`): where they are kept.
    """

    def __init__(self, batches: list[dict], patience: int, every: int, folder: str | Path):
        self.batches = batches
        self.patience = patience
        self.every = every
        self.folder = Path(folder)
        self.stopped = False

    def on_train_begin(self, args, state, control, **kwargs):
        # A run that had stopped and was killed before its export stops again; the Trainer takes one step all the same.
        earlier = {step: loss for step, loss in self.losses().items() if step <= state.global_step}
        self.stopped = broadcast(self.enough(earlier))

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.stopped:
            control.should_training_stop = True
        if self.stopped or state.global_step % self.every:
            return
        losses = {step: loss for step, loss in self.losses().items() if step < state.global_step}
        losses[state.global_step] = held_out_loss(model, self.batches)
        if args.should_save:
            self.folder.mkdir(parents=True, exist_ok=True)
            if min(losses, key=losses.get) == state.global_step:
                partial = self.folder / "best.safetensors.partial"
                save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial)
                os.replace(partial, self.folder / "best.safetensors")
            partial = self.folder / "held_out_losses.json.partial"
            partial.write_text(json.dumps(losses))
            os.replace(partial, self.folder / "held_out_losses.json")
        if broadcast(self.enough(losses)):
            control.should_training_stop = True

    def enough(self, losses: dict[int, float]) -> bool:
        """Whether so many checks have passed since the lowest loss."""
        return bool(losses) and sum(step > min(losses, key=losses.get) for step in losses) >= self.patience

    def losses(self) -> dict[int, float]:
        """Loss by step, as far as checked."""
        file = self.folder / "held_out_losses.json"
        return {int(step): loss for step, loss in json.loads(file.read_text()).items()} if file.is_file() else {}

    def restore_best(self, model: torch.nn.Module):
        """Gives a model the weights of the lowest loss."""
        if (self.folder / "best.safetensors").is_file():
            model.load_state_dict(load_file(self.folder / "best.safetensors"))


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, batches: list[dict]) -> float:
    """
    Mean loss a clip, without dropout and augmentation; an adaptive scale stays as it is. Processes share the batches.
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


def batches_of(
    rows: Dataset, collate: ClipCollator, frames: int, batch_size: int, channel: int | str = 0
) -> list[dict]:
    """
    Held-out clips as batches, of each always the same crop; clips of like length share a batch, as in training.

    Args:
        rows (`datasets.Dataset`): with `audio` and `label`.
        collate ([`~hf_asd.training.sampling.ClipCollator`]): clips -> a batch.
        frames (`int`): the longest crop, as in training.
        batch_size (`int`): clips a batch.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
    """
    lengths, clips = crop_lengths(rows, frames), CroppedClips(rows, channel)
    order = lengths.argsort(kind="stable")
    chosen = [order[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return [collate([clips[Draw(row, 0, int(lengths[batch[0]]))] for row in batch.tolist()]) for batch in chosen]
