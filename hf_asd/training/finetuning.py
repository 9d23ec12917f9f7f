"""Attribute classification: the encoder is fine-tuned to tell machines and their (true or pseudo) attributes apart."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModel, TrainerCallback, set_seed

from ..distributed import broadcast, partial_state
from ..embedding.embed import embed, get_embeddings
from ..embedding.transformer import TransformerEncoder
from ..models.attribute_classifier.configuration_attribute_classifier import AttributeClassifierConfig
from ..models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from ..models.encoders import freeze_layers, get_layers, load_feature_extractor
from ..models.pooling import AST, num_bands
from .augmentation import AugmentingCollator
from .class_balance import balance_weights
from .config import FinetuneConfig
from .early_stopping import EarlyStopping, batches_of, hold_out
from .head_training import train_head
from .lora import add_lora
from .sampling import ClipCollator, frames_of
from .synthetic_faults import FAULTS
from .trainer import SeededTrainer, compile_blocks, export, training_arguments


FEATURE_CLIPS = 512  # that tell mean and standard deviation of the features in front of the head


def attribute_classes(dataset: Dataset) -> list[str]:
    """
    The class of every clip: its machine, and its attributes or, where they are hidden, its pseudo-attribute.

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
    bare = Counter(machine for machine, name in zip(machines, classes, strict=True) if name is None)
    if bare:
        listed = ", ".join(f"{machine} ({count} clips)" for machine, count in bare.items())
        raise ValueError(
            f"neither attributes nor pseudo-attributes: {listed}. Assign pseudo-attributes first "
            "(hf_asd.assign_pseudo_attributes)."
        )
    return [f"{machine}: {name}" for machine, name in zip(machines, classes, strict=True)]


class FinetuningTrainer(SeededTrainer):
    """The head learns at its own rate."""

    def __init__(self, *args, config: FinetuneConfig, **kwargs):
        super().__init__(*args, **kwargs)
        self.config = config

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.model))
            groups = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((name.startswith("head."), name in decayed), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                {
                    "params": parameters,
                    "lr": self.config.head_learning_rate if is_head else self.config.learning_rate,
                    "weight_decay": self.config.weight_decay if is_decayed else 0.0,
                }
                for (is_head, is_decayed), parameters in groups.items()
            )
        return self.optimizer

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs["labels"]
        outputs = model(inputs["input_values"], labels=labels)
        losses = self.model.head.loss(outputs.similarities, labels)
        if self.config.mixup:
            mixup_lambda, others = inputs["mixup_lambda"], labels[inputs["partners"]]
            losses = mixup_lambda * losses + (1 - mixup_lambda) * self.model.head.loss(outputs.similarities, others)
        if self.config.balance == "weights":
            losses = losses * inputs["weights"]
        loss = self.checked(losses.mean())
        return (loss, outputs) if return_outputs else loss


class UpdateRunningNorm(TrainerCallback):
    """What stands in front of the head follows the encoder."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        model.running_norm.update()


def finetune(
    dataset: Dataset,
    encoder: str | Path,
    config: FinetuneConfig,
    output_dir: str | Path,
    channel: int | str = 0,
) -> Path:
    """
    Fine-tunes an encoder on attributes and pseudo-attributes; classes of all machines share one head.

    A second call with the same folder goes on where the first stopped and ends with the same weights, to the bit, as
    one that was never stopped (on the same hardware).

    Args:
        dataset (`datasets.Dataset`): normal training clips as for [`attribute_classes`], with `audio`.
        encoder (`str` or `Path`): id on the Hub or folder of the pre-trained encoder.
        config ([`FinetuneConfig`]): how.
        output_dir (`str` or `Path`): checkpoints, and in the end `encoder/`.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `Path`: `<output_dir>/encoder`, an [`AttributeClassifier`] and its feature extractor.

    Raises:
        ValueError: a clip without a class, a single class, fewer recordings than a batch, an unknown option, or an
            encoder that takes no spectrograms of that length.
        HubError: with `training: {push_to_hub: true}`, the Hub refuses or cannot be reached.
        TrainingError: the loss is not finite.
        BadAudioError: a recording cannot be used.

    References:
        Fang et al., arXiv 2509.12845; the margin: J. Deng et al. 2019, "ArcFace".
    """
    folder = Path(output_dir) / "encoder"
    if broadcast(folder.is_dir()):
        return folder
    classes = attribute_classes(dataset)
    names = sorted(set(classes))
    first_fault = len(names)
    if config.fault_probability:
        names += [f"synthetic fault: {name}" for name in FAULTS]
    if len(names) < 2:
        raise ValueError(
            f"there is a single class, {names[0]!r}, and nothing to tell it from. Give more machines, attributes, "
            "more clusters (cluster.num_clusters), or synthetic faults (finetune.fault_probability)."
        )
    set_seed(config.seed)
    pretrained = AutoModel.from_pretrained(encoder, dtype=torch.float32)
    if num_bands(pretrained.config) is None:
        raise ValueError(
            f"{encoder} is a {pretrained.config.model_type}, which takes samples; fine-tuning crops and masks "
            "spectrograms, and accepts EAT, BEATs and AST."
        )
    extractor = load_feature_extractor(encoder)
    number = {name: index for index, name in enumerate(names)}
    model = AttributeClassifier(
        AttributeClassifierConfig(
            encoder_config=pretrained.config,
            pooling=config.pooling,
            loss=config.loss,
            scale=config.scale,
            margin=config.margin,
            num_centers=config.num_centers,
            projection_size=config.projection_size,
            embedding_from=config.embedding_from,
            id2label=dict(enumerate(names)),
            label2id=number,
        )
    )
    model.encoder.load_state_dict(pretrained.state_dict())
    frames = frames_of(config.crop_seconds, pretrained.config.patch_size)
    if pretrained.config.model_type == AST and frames > pretrained.config.max_length:
        raise ValueError(
            f"crop_seconds is {config.crop_seconds}; this AST hears at most {pretrained.config.max_length / 100} s."
        )
    arguments = training_arguments(
        output_dir,
        config.training,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        save_steps=config.save_steps,
        seed=config.seed,
    )
    labels = [number[name] for name in classes]
    if config.num_trainable_layers == 0:
        if arguments.push_to_hub:
            raise ValueError(
                "training.push_to_hub is on and num_trainable_layers is 0, so the encoder stays what it was; publish the "
                "detector (hf-asd push), or train at least one block."
            )
        step_clips = config.batch_size * partial_state().num_processes
        steps = config.max_steps if config.max_steps > 0 else max(1, int(config.epochs * len(labels)) // step_clips)
        train_head(
            model.to(partial_state().device),
            dataset,
            labels,
            balance_weights(labels) if config.balance != "none" else np.ones(len(labels)),
            extractor,
            output_dir,
            steps=steps,
            step_clips=step_clips,
            learning_rate=config.head_learning_rate,
            weight_decay=config.weight_decay,
            seed=config.seed,
            channel=channel,
        )

        def save(partial: Path):
            model.save_pretrained(partial)
            extractor.save_pretrained(partial)

        if partial_state().is_main_process:
            export(folder, save)
        partial_state().wait_for_everyone()
        return folder
    # Spread over all machines; a mean needs no more.
    some = dataset.select(np.unique(np.linspace(0, len(dataset) - 1, FEATURE_CLIPS).astype(int)))
    before = TransformerEncoder(model.encoder.to(partial_state().device), extractor, config.pooling)
    features = embed(some.select_columns(["audio", "clip_id"]), before, Path(output_dir) / "features", channel)
    model.running_norm.fit(get_embeddings(features))
    if config.lora is not None:
        add_lora(model.encoder, config.lora, encoder)
    if config.num_trainable_layers is not None:
        freeze_layers(model.encoder, config.num_trainable_layers)
    rows = dataset.select_columns("audio").add_column("label", labels)
    stopping = None
    if config.early_stopping_patience:
        kept, held = hold_out(labels, config.validation_fraction, config.seed)
        batches = batches_of(rows.select(held), ClipCollator(extractor), frames, config.batch_size, channel)
        stopping = EarlyStopping(batches, config.early_stopping_patience, config.save_steps, output_dir)
        rows = rows.select(kept)
    weights = balance_weights(rows["label"][:])
    if config.balance == "weights":
        rows = rows.add_column("weight", weights.tolist())
    trainer = FinetuningTrainer(
        model=model,
        args=arguments,
        dataset=rows,
        frames=frames,
        channel=channel,
        weights=weights if config.balance == "sampling" else None,
        data_collator=AugmentingCollator(extractor, config, first_fault),
        callbacks=[UpdateRunningNorm(), *([stopping] if stopping else [])],
        config=config,
    )
    compile_blocks([*get_layers(model.encoder)], config.compile)
    trainer.resume_or_train()
    if stopping:
        stopping.restore_best(model)
    if config.lora is not None:
        trainer.merge_lora(model.encoder, config.lora)
    return trainer.export(folder, model, "", extractor, "finetune", encoder)
