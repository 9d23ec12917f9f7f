"""Training of a head only, on embeddings that are computed once: it takes seconds instead of hours."""

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..distributed import compute_device, partial_state
from ..models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from .config import FinetuneConfig
from .sampling import ClipSampler, balance_weights


def train_head(
    model: AttributeClassifier, embeddings: torch.Tensor, labels: list[int], config: FinetuneConfig
) -> None:
    """
    Trains projection and head of a classifier on its frozen encoder's embeddings, in place. Every process learns the
    same from all clips.

    Args:
        model ([`AttributeClassifier`]): with a projection, whose output detection will use.
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`): pooled encoder outputs, float32.
        labels (`list[int]`): the class of every clip.
        config ([`FinetuneConfig`]): of which `batch_size`, `epochs` or `max_steps`, `head_learning_rate`,
            `weight_decay`, `balance` and `seed` are read.
    """
    model.to(compute_device())  # pyright: ignore[reportArgumentType]  # the method's decorator hides its parameters
    embeddings, classes = embeddings.to(model.device), torch.tensor(labels, device=model.device)
    model.running_norm.fit(embeddings)
    step_clips = config.batch_size * partial_state().num_processes
    steps = config.max_steps or max(1, int(config.epochs * len(labels)) // step_clips)
    learned: list[nn.Parameter] = [*model.projection.parameters(), *model.head.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=config.head_learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    same_length = np.ones(len(labels), dtype=np.int64)
    weights = balance_weights(labels) if config.balance != "none" else np.ones(len(labels))
    sampler = ClipSampler(same_length, step_clips, steps, config.seed, weights)
    model.train()
    for batch in tqdm(torch.tensor([draw.row for draw in sampler]).split(step_clips), desc="training the head"):
        loss = model(pooled=embeddings[batch], labels=classes[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.running_norm.update()
        schedule.step()
