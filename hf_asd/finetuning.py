"""Attribute classification: the encoder is fine-tuned to tell machines and their (true or pseudo) attributes apart."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModel, TrainerCallback, set_seed

from .augmentation import AugmentingCollator, NoiseOptions
from .batching import ClipCollator, frames_of
from .class_balance import BALANCES, balance_weights
from .distributed import from_main, processes
from .early_stopping import EarlyStopping, batches_of, hold_out
from .embedding import TransformerEncoder, embed, embeddings_of
from .head_training import train_head
from .lora import LoraOptions, add_lora
from .models.attribute_classifier import AttributeClassifier, AttributeClassifierConfig
from .models.attribute_classifier.heads import LOSSES
from .models.encoder import blocks_of, freeze_below, load_feature_extractor
from .models.pooling import AST, num_bands
from .synthetic_faults import FAULTS
from .training import SeededTrainer, compile_blocks, export, training_arguments


FEATURE_CLIPS = 512  # that tell mean and standard deviation of the features in front of the head


@dataclass
class FinetuneConfig(NoiseOptions):
    """
    How the encoder learns attributes. The paper's settings (arXiv 2509.12845) are not public; the defaults follow its
    closest readable relatives of the 2025 challenge (EAT, ArcFace with scale 30 and margin 0.2, SpecAugment).
    """

    pooling: str = field(
        default="mean", metadata={"help": "how tokens become one embedding: mean, cls, bands, bands_std"}
    )
    loss: str = field(default="arcface", metadata={"help": f"head and loss: {', '.join(LOSSES)}"})
    scale: float = field(default=30.0, metadata={"help": "arcface, subcentre_arcface: factor of the cosines"})
    margin: float = field(default=0.2, metadata={"help": "arcface, subcentre_arcface: angle in radians"})
    num_centres: int = field(
        default=16,
        metadata={"help": "subcentre_arcface, subcluster_adacos: centres a class; adaproj: dimensions of its span"},
    )
    projection_size: int | None = field(
        default=None, metadata={"help": "length of a learned projection in front of the head; by default none"}
    )
    detect_on: str = field(
        default="encoder", metadata={"help": "what detection compares: the pooled encoder or the projection"}
    )
    crop_seconds: float = field(default=10.0, metadata={"help": "longest crop; no longer than a step's shortest clip"})
    time_mask: int = field(default=80, metadata={"help": "SpecAugment: most frames hidden a clip; 0 for none"})
    frequency_mask: int = field(default=80, metadata={"help": "SpecAugment: most mel bands hidden a clip; 0 for none"})
    mixup: float = field(default=0.0, metadata={"help": "alpha of mixup's Beta distribution; 0 for none"})
    fault_probability: float = field(
        default=0.0,
        metadata={
            "help": f"share of clips that get a synthetic fault ({', '.join(FAULTS)}), each kind of which is one more "
            "class to tell"
        },
    )
    balance: str = field(
        default="none",
        metadata={"help": f"classes of unequal size: {', '.join(BALANCES)}: heard as often, or weighed as much"},
    )
    train_blocks: int | None = field(
        default=None,
        metadata={"help": "only the last so many blocks of the encoder learn; 0: the head alone, on cached features"},
    )
    patience: int = field(
        default=0,
        metadata={
            "help": "early stopping after so many checks without a lower loss on held-out training clips; 0: no"
        },
    )
    validation: float = field(default=0.1, metadata={"help": "early stopping: share of every class that is held out"})
    epochs: float = field(default=10.0, metadata={"help": "passes over the recordings"})
    max_steps: int = field(default=-1, metadata={"help": "steps; overrules epochs when positive"})
    batch_size: int = field(default=32, metadata={"help": "clips a step and device"})
    learning_rate: float = field(default=5e-5, metadata={"help": "highest learning rate of the encoder, cosine decay"})
    head_learning_rate: float = field(default=1e-3, metadata={"help": "the same for the classification head"})
    warmup: float = field(default=0.1, metadata={"help": "share of the steps in which the learning rate rises"})
    weight_decay: float = field(default=0.01, metadata={"help": "of AdamW; none on biases and norms"})
    save_steps: int = field(default=500, metadata={"help": "steps between checkpoints"})
    compile: bool | None = field(
        default=None, metadata={"help": "torch.compile of the blocks; by default where there is a GPU"}
    )
    lora: LoraOptions | None = field(
        default=None, metadata={"help": "small matrices learn beside the frozen encoder: rank, alpha, dropout"}
    )
    seed: int = field(default=0, metadata={"help": "of the head's weights, order, crops and masks"})
    training: dict = field(default_factory=dict, metadata={"help": "any of transformers' TrainingArguments, verbatim"})

    def __post_init__(self):
        if self.balance not in BALANCES:
            raise ValueError(f"balance is {self.balance!r}; accepted are {', '.join(BALANCES)}.")
        super().__post_init__()
        for name in ("mixup", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 0 or more.")
        if not 0 <= self.fault_probability < 1:
            raise ValueError(
                f"fault_probability is {self.fault_probability}; accepted is a share from 0 to below 1: some clips "
                "have to stay sound."
            )
        if self.fault_probability and self.train_blocks == 0:
            raise ValueError(
                "train_blocks is 0, which learns from features of the clips as they are; a fault_probability needs at "
                "least one block."
            )
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation}; accepted is a share between 0 and 1.")
        if self.train_blocks == 0 and self.detect_on != "projection":
            raise ValueError(
                "train_blocks is 0, which leaves the encoder as it is, so that detection would compare what it "
                "compared before; give projection_size, and detect_on 'projection'."
            )
        if self.train_blocks == 0 and self.training.get("push_to_hub"):
            raise ValueError(
                "training.push_to_hub publishes an encoder that has learned; with train_blocks 0 it stays as it was. "
                "Publish the detector (hf-asd push)."
            )
        if self.train_blocks is not None and self.lora is not None:
            raise ValueError("lora learns beside a frozen encoder, train_blocks in it; give one of the two.")


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
            shares, others = inputs["shares"], labels[inputs["partners"]]
            losses = shares * losses + (1 - shares) * self.model.head.loss(outputs.similarities, others)
        if self.config.balance == "weights":
            losses = losses * inputs["weights"]
        loss = self.checked(losses.mean())
        return (loss, outputs) if return_outputs else loss


class UpdateStandardisation(TrainerCallback):
    """What stands in front of the head follows the encoder."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        model.standardisation.update()


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
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.data.audio.read_audio`].

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
    if from_main(folder.is_dir()):
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
            num_centres=config.num_centres,
            projection_size=config.projection_size,
            detect_on=config.detect_on,
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
    if config.train_blocks == 0:
        if arguments.push_to_hub:
            raise ValueError(
                "training.push_to_hub is on and train_blocks is 0, so the encoder stays what it was; publish the "
                "detector (hf-asd push), or train at least one block."
            )
        step_clips = config.batch_size * processes().num_processes
        steps = config.max_steps if config.max_steps > 0 else max(1, int(config.epochs * len(labels)) // step_clips)
        train_head(
            model.to(processes().device),
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

        if processes().is_main_process:
            export(folder, save)
        processes().wait_for_everyone()
        return folder
    # Spread over all machines; a mean needs no more.
    some = dataset.select(np.unique(np.linspace(0, len(dataset) - 1, FEATURE_CLIPS).astype(int)))
    before = TransformerEncoder(model.encoder.to(processes().device), extractor, config.pooling)
    features = embed(some.select_columns(["audio", "clip_id"]), before, Path(output_dir) / "features", channel)
    model.standardisation.fit(embeddings_of(features))
    if config.lora is not None:
        add_lora(model.encoder, config.lora, encoder)
    if config.train_blocks is not None:
        freeze_below(model.encoder, config.train_blocks)
    rows = dataset.select_columns("audio").add_column("label", labels)
    stopping = None
    if config.patience:
        kept, held = hold_out(labels, config.validation, config.seed)
        batches = batches_of(rows.select(held), ClipCollator(extractor), frames, config.batch_size, channel)
        stopping = EarlyStopping(batches, config.patience, config.save_steps, output_dir)
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
        callbacks=[UpdateStandardisation(), *([stopping] if stopping else [])],
        config=config,
    )
    compile_blocks([*blocks_of(model.encoder)], config.compile)
    trainer.train_on()
    if stopping:
        stopping.restore_best(model)
    if config.lora is not None:
        trainer.merge_lora(model.encoder, config.lora)
    return trainer.export(folder, model, "", extractor, "finetune", encoder)
