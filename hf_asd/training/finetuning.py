"""Fine-tuning: the encoder learns to classify machines and their (true or pseudo) attributes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import AutoModel, PreTrainedConfig, TrainerCallback, set_seed

from ..audio.channels import Channel
from ..audio.log_mel_store import LogMelStore, fitting
from ..distributed import broadcast, compute_device, partial_state
from ..embedding.embed import embed, get_embeddings
from ..embedding.transformer import TransformerEncoder
from ..files import whole_folder
from ..models.architectures import ARCHITECTURES, architecture_of
from ..models.attribute_classifier.configuration_attribute_classifier import AttributeClassifierConfig
from ..models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from ..models.choices import PoolingName
from ..models.encoders import freeze_layers, get_layers, load_feature_extractor, load_weights
from ..models.hub_checkpoints import local_encoder
from ..models.tone_check import check_tone_output
from .augmentation import AugmentingCollator
from .config import FinetuneConfig
from .early_stopping import EarlyStopping, held_out_batches, hold_out
from .head_training import train_head
from .lora import add_lora
from .sampling import FRAMES_PER_SECOND, ClipCollator, balance_weights, frames_of
from .synthetic_faults import SYNTHETIC_FAULTS
from .trainer import SeededTrainer, compile_layers, training_arguments


NORM_CLIPS = 512  # from which mean and standard deviation of the embeddings are computed


@dataclass
class TrainingClasses:
    """
    The classes that a classifier learns.

    Args:
        names (`list[str]`): of the classes of recordings in alphabetical order, followed by those of synthetic faults.
        labels (`list[int]`): the class of every clip.
        first_fault (`int`): number of the first synthetic fault.
    """

    names: list[str]
    labels: list[int]
    first_fault: int


def finetune(
    dataset: Dataset,
    encoder: str | Path,
    config: FinetuneConfig,
    output_dir: str | Path,
    channel: Channel = 0,
    log_mels: LogMelStore | None = None,
) -> Path:
    """
    Fine-tunes an encoder on attributes and pseudo-attributes; the classes of all machines share one head.

    A second call with the same folder resumes where the first stopped and ends with the same weights, to the bit, as
    a run that was never stopped (on the same hardware).

    Args:
        dataset (`datasets.Dataset`): normal training clips as for [`attribute_classes`], with `audio` and `clip_id`.
        encoder (`str` or `Path`): id on the Hub or folder of the pre-trained encoder.
        config ([`FinetuneConfig`]): the options.
        output_dir (`str` or `Path`): for checkpoints, and in the end `encoder/`.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for
            [`~hf_asd.training.pretraining.pretrain`].

    Returns:
        `Path`: `<output_dir>/encoder`, an [`AttributeClassifier`] and its feature extractor.

    Raises:
        ValueError: a clip without a class, a single class, fewer recordings than a batch, an unknown option, or an
            encoder that does not take spectrograms of that length.
        HubError: with `training: {push_to_hub: true}`, the Hub refuses or cannot be reached.
        TrainingError: the loss is not finite.
        BadAudioError: a recording cannot be used.

    References:
        Fang et al., arXiv 2509.12845; the margin: J. Deng et al. 2019, "ArcFace".
    """
    folder = Path(output_dir) / "encoder"
    if broadcast(folder.is_dir()):
        return folder
    classes = training_classes(dataset, config)
    set_seed(config.seed)
    model, extractor = build_classifier(encoder, classes.names, config)
    log_mels = fitting(log_mels, extractor)
    frames = crop_frames(model.encoder.config, config.crop_seconds)
    arguments = training_arguments(output_dir, config)
    head_only = config.num_trainable_layers == 0
    some = dataset if head_only else dataset.select(evenly_spaced(len(dataset), NORM_CLIPS))
    embeddings = encoder_embeddings(model, extractor, some, output_dir, channel, log_mels)
    if head_only:
        train_head(model, embeddings, classes.labels, config)
        return save_classifier(folder, model, extractor)
    model.running_norm.fit(embeddings)
    freeze(model, encoder, config)
    rows = dataset.select_columns("audio").add_column("label", classes.labels)
    rows, stopping = split_for_early_stopping(
        rows, ClipCollator(extractor), frames, config, output_dir, channel, log_mels
    )
    trainer = FinetuningTrainer(
        rows,
        config,
        model=model,
        args=arguments,
        frames=frames,
        channel=channel,
        log_mels=log_mels,
        data_collator=AugmentingCollator(extractor, config, classes.first_fault),
        callbacks=[UpdateRunningNorm(), *([stopping] if stopping else [])],
    )
    compile_layers([*get_layers(model.encoder)], config.compile)
    trainer.resume_or_train()
    if stopping:
        stopping.restore_best(model)
    if config.lora is not None:
        trainer.merge_lora(model.encoder, config.lora)
    return trainer.export(folder, model, "", extractor, "finetune", encoder)


def attribute_classes(dataset: Dataset) -> list[str]:
    """
    The class of every clip: its machine, and its attributes or, if they are hidden, its pseudo-attribute.

    Args:
        dataset (`datasets.Dataset`): rows with `machine`, `attribute_label` and, where attributes are hidden,
            `pseudo_attribute`.

    Returns:
        `list[str]`, for example `"fan: speed=3,load=low"` or `"pump: cluster=2"`.

    Raises:
        ValueError: a clip has neither attributes nor a pseudo-attribute; names machines.
    """
    pseudo = dataset["pseudo_attribute"][:] if "pseudo_attribute" in dataset.column_names else [None] * len(dataset)
    machines, labels = dataset["machine"][:], dataset["attribute_label"][:]
    classes = [label if label is not None else other for label, other in zip(labels, pseudo, strict=True)]
    missing = Counter(machine for machine, name in zip(machines, classes, strict=True) if name is None)
    if missing:
        listed = ", ".join(f"{machine} ({count} clips)" for machine, count in missing.items())
        raise ValueError(
            f"neither attributes nor pseudo-attributes: {listed}. Assign pseudo-attributes first "
            "(hf_asd.assign_pseudo_attributes)."
        )
    return [f"{machine}: {name}" for machine, name in zip(machines, classes, strict=True)]


def training_classes(dataset: Dataset, config: FinetuneConfig) -> TrainingClasses:
    """
    All classes, those of synthetic faults included, and the class of every clip.

    Args:
        dataset (`datasets.Dataset`): as for [`attribute_classes`].
        config ([`FinetuneConfig`]): of which `fault_probability` is read.

    Raises:
        ValueError: as [`attribute_classes`], or there is a single class.
    """
    classes = attribute_classes(dataset)
    names = sorted(set(classes))
    number = {name: index for index, name in enumerate(names)}
    faults = [f"synthetic fault: {name}" for name in SYNTHETIC_FAULTS] if config.fault_probability else []
    if len(names) + len(faults) < 2:
        raise ValueError(
            f"there is a single class, {names[0]!r}, so there is nothing to learn. Give more machines, attributes, "
            "more clusters (cluster.num_clusters), or synthetic faults (finetune.fault_probability)."
        )
    return TrainingClasses([*names, *faults], [number[name] for name in classes], len(names))


def build_classifier(encoder: str | Path, names: list[str], config: FinetuneConfig):
    """
    A classifier around a pre-trained encoder, with a new head.

    Args:
        encoder (`str` or `Path`): id on the Hub or folder of the encoder.
        names (`list[str]`): of the classes.
        config ([`FinetuneConfig`]): pooling, loss and projection.

    Returns:
        [`AttributeClassifier`] and the encoder's feature extractor.

    Raises:
        ValueError: the encoder takes samples instead of spectrograms.
    """
    encoder = local_encoder(encoder)
    pretrained = load_weights(AutoModel, encoder, dtype=torch.float32)
    if architecture_of(pretrained.config).num_bands is None:
        accepted = ", ".join(name for name, known in ARCHITECTURES.items() if known.num_bands is not None)
        raise ValueError(
            f"{encoder} is a {pretrained.config.model_type}, which takes samples; fine-tuning crops and masks "
            f"spectrograms. Accepted are {accepted}."
        )
    extractor = load_feature_extractor(encoder)
    check_tone_output(pretrained, extractor, encoder)
    model = AttributeClassifier(
        AttributeClassifierConfig(
            encoder_config=pretrained.config,
            pooling=config.pooling,
            pooling_parameter=config.pooling_parameter,
            loss=config.loss,
            scale=config.scale,
            margin=config.margin,
            num_centers=config.num_centers,
            fixed_centers=config.fixed_centers,
            projection_size=config.projection_size,
            embedding_from=config.embedding_from,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        )
    )
    model.encoder.load_state_dict(pretrained.state_dict())
    return model, extractor


def crop_frames(config: PreTrainedConfig, crop_seconds: float) -> int:
    """
    Frames of the longest crop for an encoder.

    Args:
        config (`PreTrainedConfig`): the encoder's.
        crop_seconds (`float`): the longest crop.

    Raises:
        ValueError: the encoder does not take crops of this length.
    """
    frames, max_frames = frames_of(crop_seconds, config.patch_size), architecture_of(config).max_frames
    if max_frames is not None and frames > max_frames(config):
        raise ValueError(
            f"crop_seconds is {crop_seconds}; this {config.model_type} takes at most "
            f"{max_frames(config) / FRAMES_PER_SECOND} s."
        )
    return frames


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """At most `count` positions from the first to the last of `length`, int64: clips of all machines."""
    return np.unique(np.linspace(0, length - 1, count).astype(int))


class FinetuningTrainer(SeededTrainer):
    """
    A Trainer with a separate learning rate for the head, mixup and class weights.

    Args:
        rows (`datasets.Dataset`): with `audio` and `label`.
        config ([`FinetuneConfig`]): the options.
        kwargs: of [`SeededTrainer`].
    """

    def __init__(self, rows: Dataset, config: FinetuneConfig, **kwargs):
        weights = balance_weights(rows["label"][:])
        if config.balance == "weights":
            rows = rows.add_column("weight", weights.tolist())
        super().__init__(rows, weights=weights if config.balance == "sampling" else None, **kwargs)
        self.config = config

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            assert isinstance(self.model, nn.Module)
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((name.startswith("head."), name in decayed), []).append(parameter)
            options = [
                {
                    "params": parameters,
                    "lr": self.config.head_learning_rate if is_head else self.config.learning_rate,
                    "weight_decay": self.config.weight_decay if is_decayed else 0.0,
                }
                for (is_head, is_decayed), parameters in groups.items()
            ]
            self.optimizer = torch.optim.AdamW(options, fused=True)
        return self.optimizer

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        assert isinstance(self.model, AttributeClassifier)
        labels, head = inputs["labels"], self.model.head
        outputs = model(inputs["input_values"], labels=labels)
        losses = head.loss(outputs.similarities, labels)
        if self.config.mixup:
            mixup_lambda, others = inputs["mixup_lambda"], labels[inputs["partners"]]
            losses = mixup_lambda * losses + (1 - mixup_lambda) * head.loss(outputs.similarities, others)
        if self.config.balance == "weights":
            losses = losses * inputs["weights"]
        loss = self.checked(losses.mean())
        return (loss, outputs) if return_outputs else loss


class UpdateRunningNorm(TrainerCallback):
    """Updates the normalization before the head after every step, because the encoder changes."""

    def on_step_end(self, args, state, control, **kwargs):
        kwargs["model"].running_norm.update()


def encoder_embeddings(
    model: AttributeClassifier,
    extractor,
    rows: Dataset,
    output_dir: str | Path,
    channel: Channel,
    log_mels: LogMelStore | None = None,
) -> torch.Tensor:
    """
    Pooled outputs of a classifier's encoder; several processes share the work, and each gets all of them.

    Args:
        model ([`AttributeClassifier`]), extractor (`FeatureExtractionMixin`): classifier and feature extractor.
        rows (`datasets.Dataset`): with `audio` and `clip_id`.
        output_dir (`str` or `Path`): keeps the embeddings in `features/`, so that a later call does not compute them
            again.
        channel (`int` or `str`): as for [`~hf_asd.audio.reading.read_audio`].
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for [`~hf_asd.embedding.embed.embed`].

    Returns:
        `torch.Tensor` of shape `(rows, dimensions)`, float32, on the CPU.
    """
    encoder = TransformerEncoder(
        model.encoder.to(compute_device()),
        extractor,
        cast(PoolingName, model.config.pooling),
        pooling_parameter=model.config.pooling_parameter,
    )
    folder = Path(output_dir) / "features"
    clips = rows.select_columns(["audio", "clip_id"])
    return get_embeddings(embed(clips, encoder, folder, channel, log_mels=log_mels))


def freeze(model: AttributeClassifier, encoder: str | Path, config: FinetuneConfig) -> None:
    """Freezes what the options exclude from training: all but LoRA adapters, or all but the last layers."""
    if config.lora is not None:
        add_lora(model.encoder, config.lora, encoder)
    if config.num_trainable_layers is not None:
        freeze_layers(model.encoder, config.num_trainable_layers)


def split_for_early_stopping(
    rows: Dataset,
    collate: ClipCollator,
    frames: int,
    config: FinetuneConfig,
    output_dir: str | Path,
    channel: Channel,
    log_mels: LogMelStore | None = None,
) -> tuple[Dataset, EarlyStopping | None]:
    """
    Holds out clips for early stopping, if that is on.

    Args:
        rows (`datasets.Dataset`): with `audio` and `label`.
        collate, frames, channel, log_mels: as for [`~hf_asd.training.early_stopping.held_out_batches`].
        config ([`FinetuneConfig`]): the options.
        output_dir (`str` or `Path`): keeps losses and best weights.

    Returns:
        the rows to train on, and the callback that stops training.
    """
    if not config.early_stopping_patience:
        return rows, None
    kept, held_out = hold_out(rows["label"][:], config.validation_fraction, config.seed)
    batches = held_out_batches(rows.select(held_out), collate, frames, config.batch_size, channel, log_mels)
    stopping = EarlyStopping(batches, config.early_stopping_patience, config.save_steps, Path(output_dir))
    return rows.select(kept), stopping


def save_classifier(folder: Path, model: AttributeClassifier, extractor) -> Path:
    """Saves classifier and feature extractor in the main process while the others wait."""
    if partial_state().is_main_process:
        with whole_folder(folder) as partial:
            model.save_pretrained(partial)
            extractor.save_pretrained(partial)
    partial_state().wait_for_everyone()
    return folder
