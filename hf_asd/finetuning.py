"""Attribute classification: the encoder is fine-tuned to tell machines and their (true or pseudo) attributes apart."""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModel, set_seed

from .batching import ClipCollator, frames_of
from .distributed import from_main
from .lora import LoraOptions, add_lora
from .models.attribute_classifier import AttributeClassifier, AttributeClassifierConfig
from .models.encoder import blocks_of, load_feature_extractor
from .training import SeededTrainer, compile_blocks, training_arguments


@dataclass
class FinetuneConfig:
    """
    How the encoder learns attributes. The paper's settings (arXiv 2509.12845) are not public; the defaults follow its
    closest readable relatives of the 2025 challenge (EAT, ArcFace with scale 30 and margin 0.2, SpecAugment).
    """

    pooling: str = field(default="mean", metadata={"help": "how tokens become one embedding: mean, cls, bands"})
    scale: float = field(default=30.0, metadata={"help": "ArcFace: factor of the cosines"})
    margin: float = field(default=0.2, metadata={"help": "ArcFace: angle in radians"})
    crop_seconds: float = field(default=10.0, metadata={"help": "longest crop; no longer than a step's shortest clip"})
    time_mask: int = field(default=80, metadata={"help": "SpecAugment: most frames hidden a clip; 0 for none"})
    frequency_mask: int = field(default=80, metadata={"help": "SpecAugment: most mel bands hidden a clip; 0 for none"})
    gain_db: float = field(default=0.0, metadata={"help": "a random gain of up to so many dB either way a clip"})
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


def spec_augment(
    input_values: torch.Tensor, time_mask: int, frequency_mask: int, generator: torch.Generator
) -> torch.Tensor:
    """
    Hides one stretch of time and one of mel bands a clip, each of random length, behind the clip's mean.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): float32.
        time_mask (`int`), frequency_mask (`int`): largest lengths in frames and mel bands.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.

    References:
        D. S. Park et al. 2019, "SpecAugment", section 2.
    """
    clips, *sizes = input_values.shape
    hidden = torch.zeros(input_values.shape, dtype=torch.bool)
    for axis, (size, longest) in enumerate(zip(sizes, (time_mask, frequency_mask), strict=True)):
        lengths = (torch.rand(clips, 1, generator=generator) * (min(longest, size) + 1)).long()
        starts = (torch.rand(clips, 1, generator=generator) * (size - lengths + 1)).long()
        position = torch.arange(size)
        stretch = (position >= starts) & (position < starts + lengths)
        hidden |= stretch[:, :, None] if axis == 0 else stretch[:, None, :]
    return torch.where(hidden.to(input_values.device), input_values.mean((1, 2), keepdim=True), input_values)


def random_gain(input_values: torch.Tensor, gain_db: float, std: float, generator: torch.Generator) -> torch.Tensor:
    """
    Makes clips louder or softer: how loud a machine is depends on the microphone's distance as well.

    Args:
        input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`): normalised log energies, float32.
        gain_db (`float`): largest gain either way in dB.
        std (`float`): of the feature extractor's normalisation `(x - mean) / (2 std)`.
        generator (`torch.Generator`): on the CPU.

    Returns:
        `torch.Tensor` of the same shape.
    """
    gains = gain_db * (2 * torch.rand(len(input_values), 1, 1, generator=generator) - 1)
    return input_values + (gains * math.log(10) / 10 / (2 * std)).to(input_values.device)


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
        outputs = model(inputs["input_values"], labels=inputs["labels"])
        loss = self.checked(outputs.loss)
        return (loss, outputs) if return_outputs else loss


def augment(
    input_values: torch.Tensor, generator: torch.Generator, config: FinetuneConfig, std: float
) -> torch.Tensor:
    """A clip made louder or softer and partly hidden; its `input_values` with one row."""
    input_values = random_gain(input_values, config.gain_db, std, generator)
    return spec_augment(input_values, config.time_mask, config.frequency_mask, generator)


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
        ValueError: a clip without a class, a single class, fewer recordings than a batch, or an unknown option.
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
    if len(names) < 2:
        raise ValueError(
            f"there is a single class, {names[0]!r}, and nothing to tell it from. Give more machines, attributes, or "
            "more clusters (cluster.num_clusters)."
        )
    set_seed(config.seed)
    pretrained = AutoModel.from_pretrained(encoder, dtype=torch.float32)
    extractor = load_feature_extractor(encoder)
    number = {name: index for index, name in enumerate(names)}
    model = AttributeClassifier(
        AttributeClassifierConfig(
            encoder_config=pretrained.config,
            pooling=config.pooling,
            scale=config.scale,
            margin=config.margin,
            id2label=dict(enumerate(names)),
            label2id=number,
        )
    )
    model.encoder.load_state_dict(pretrained.state_dict())
    if config.lora is not None:
        add_lora(model.encoder, config.lora, encoder)
    frames = frames_of(config.crop_seconds, pretrained.config.patch_size)
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
    rows = dataset.select_columns("audio").add_column("label", [number[name] for name in classes])
    trainer = FinetuningTrainer(
        model=model,
        args=arguments,
        dataset=rows,
        frames=frames,
        channel=channel,
        data_collator=ClipCollator(extractor, partial(augment, config=config, std=extractor.std)),
        config=config,
    )
    compile_blocks([*blocks_of(model.encoder)], config.compile)
    trainer.train_on()
    if config.lora is not None:
        trainer.merge_lora(model.encoder, config.lora)
    return trainer.export(folder, model, "", extractor, "finetune", encoder)
