"""A head alone, on features that are computed once: seconds where the encoder would take hours."""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from ..embedding.embed import embed, get_embeddings
from ..embedding.transformer import TransformerEncoder
from ..models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from .sampling import ClipSampler


def train_head(
    model: AttributeClassifier,
    dataset: Dataset,
    labels: list[int],
    weights: np.ndarray,
    feature_extractor,
    output_dir: str | Path,
    *,
    steps: int,
    step_clips: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    channel: int | str = 0,
):
    """
    Trains projection and head of a classifier behind its frozen encoder, in place. Several processes share the
    computing of features; then each learns the same from all of them.

    Args:
        model ([`AttributeClassifier`]): with a projection, which is what detection will compare.
        dataset (`datasets.Dataset`): rows with `audio` and `clip_id`.
        labels (`list[int]`): the class of every row.
        weights (`np.ndarray` of shape `(rows,)`): how often a pass hears each row.
        feature_extractor (`FeatureExtractionMixin`): of the encoder.
        output_dir (`str` or `Path`): keeps the features; a later call computes none again.
        steps (`int`), step_clips (`int`), learning_rate (`float`, highest of a cosine), weight_decay (`float`, of
            AdamW), seed (`int`, of the order): how.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
    """
    encoder = TransformerEncoder(model.encoder, feature_extractor, model.config.pooling)
    rows = dataset.select_columns(["audio", "clip_id"])
    features = get_embeddings(embed(rows, encoder, Path(output_dir) / "features", channel)).to(model.device)
    model.running_norm.fit(features)
    classes = torch.tensor(labels, device=model.device)
    learned = [*model.projection.parameters(), *model.head.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = ClipSampler(np.ones(len(features), dtype=np.int64), step_clips, steps, seed, weights)
    model.train()
    for batch in tqdm(torch.tensor([draw.row for draw in sampler]).split(step_clips), desc="training the head"):
        loss = model(pooled=features[batch], labels=classes[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.running_norm.update()
        schedule.step()
