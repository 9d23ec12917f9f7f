"""Domain-adaptive pre-training: an audio transformer goes on learning on machine sounds, without any label."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoConfig, TrainerCallback, set_seed

from .encoder_card import push_encoder
from .models.eat import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel
from .models.eat.pretraining_eat import inverse_block_masks, teacher_decay
from .models.encoder import load_feature_extractor
from .training import (
    ClipCollator,
    SeededTrainer,
    TrainingError,
    check_rows,
    export,
    frames_of,
    random_crops,
    training_arguments,
)


# Normalised targets have a spread near 1; data2vec calls a tenth of it a collapse.
COLLAPSED_SPREAD = 0.1


@dataclass
class PretrainConfig:
    """
    How the encoder goes on learning. The defaults follow EAT's published pre-training where it says anything; those
    of the paper (arXiv 2509.12845) are not public.
    """

    encoder: str | None = field(
        default=None, metadata={"help": "id on the Hub or folder of the EAT encoder to go on with; none: from scratch"}
    )
    model: dict = field(default_factory=dict, metadata={"help": "from scratch: options of EatConfig"})
    crop_seconds: float = field(default=10.0, metadata={"help": "length of the crops; shorter clips are repeated"})
    mask_ratio: float = field(default=0.8, metadata={"help": "share of patches that the student does not see"})
    mask_block: int = field(default=5, metadata={"help": "patches along the side of a visible block"})
    masks_per_clip: int = field(default=16, metadata={"help": "masks drawn for every clip of a batch"})
    utterance_weight: float = field(default=1.0, metadata={"help": "weight of the loss of the CLS token"})
    epochs: float = field(default=10.0, metadata={"help": "passes over the recordings"})
    max_steps: int = field(default=-1, metadata={"help": "steps; overrules epochs when positive"})
    batch_size: int = field(default=12, metadata={"help": "clips a step and device"})
    learning_rate: float = field(default=5e-4, metadata={"help": "highest learning rate, cosine decay"})
    warmup: float = field(default=0.1, metadata={"help": "share of the steps in which the learning rate rises"})
    weight_decay: float = field(default=0.05, metadata={"help": "of AdamW; none on biases and norms"})
    teacher_decay_start: float = field(default=0.9998, metadata={"help": "how much of itself the teacher keeps"})
    teacher_decay_end: float = field(default=0.99999, metadata={"help": "the same at the end of training"})
    save_steps: int = field(default=500, metadata={"help": "steps between checkpoints"})
    seed: int = field(default=0, metadata={"help": "of weights, order, crops and masks"})
    training: dict = field(default_factory=dict, metadata={"help": "any of transformers' TrainingArguments, verbatim"})

    def __post_init__(self):
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; accepted is a share between 0 and 1.")
        if not 0 <= self.teacher_decay_start <= self.teacher_decay_end <= 1:
            raise ValueError(
                f"teacher_decay_start is {self.teacher_decay_start} and teacher_decay_end {self.teacher_decay_end}; "
                "accepted are shares from 0 to 1 in rising order."
            )
        if self.encoder is not None and self.model:
            raise ValueError("model is for an encoder from scratch; an encoder to go on with has its own shape.")


class PretrainingTrainer(SeededTrainer):
    """Draws crops and masks in the step, watches the teacher, and lets it follow."""

    def __init__(self, *args, config: PretrainConfig, frames: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.config = config
        self.frames = frames

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        generator = self.generator()
        shape = self.accelerator.unwrap_model(model).config
        crops = random_crops(inputs["input_values"], inputs["num_frames"], self.frames, generator)
        steps, bands = self.frames // shape.patch_size, shape.num_mel_bins // shape.patch_size
        rows = len(crops) * self.config.masks_per_clip
        visible = inverse_block_masks(rows, steps, bands, self.config.mask_ratio, self.config.mask_block, generator)
        visible = visible.unflatten(0, (len(crops), -1)).to(crops.device)
        outputs = model(crops, visible, generator, self.config.utterance_weight)
        if outputs.target_spread < COLLAPSED_SPREAD:
            raise TrainingError(
                f"The teacher has collapsed at step {self.state.global_step}: its targets have a spread of "
                f"{outputs.target_spread.item():.3f}, below {COLLAPSED_SPREAD}, so every clip looks alike. Lower "
                "learning_rate, raise teacher_decay_start or warmup, or check that the recordings differ at all."
            )
        loss = self.checked(outputs.loss)
        return (loss, outputs) if return_outputs else loss


class _TeacherFollows(TrainerCallback):
    def __init__(self, config: PretrainConfig):
        self.config = config

    def on_step_end(self, args, state, control, model=None, **kwargs):
        start, end = self.config.teacher_decay_start, self.config.teacher_decay_end
        model.update_teacher(teacher_decay(state.global_step, start, end, state.max_steps))


def pretrain(dataset: Dataset, config: PretrainConfig, output_dir: str | Path, channel: int | str = 0) -> Path:
    """
    Goes on pre-training an encoder on recordings of machines; nothing about them is read but their sound.

    A second call with the same folder goes on where the first stopped and ends with the same weights, to the bit, as
    one that was never stopped (on the same hardware).

    Args:
        dataset (`datasets.Dataset`): training clips; only `audio` is read.
        config ([`PretrainConfig`]): how.
        output_dir (`str` or `Path`): checkpoints, and in the end `encoder/`.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.data.audio.read_audio`].

    Returns:
        `Path`: `<output_dir>/encoder`, an encoder and its feature extractor as `AutoModel` and `AutoFeatureExtractor`
        load them.

    Raises:
        TrainingError: the loss is not finite or the teacher has collapsed.
        ValueError: fewer recordings than a batch, an encoder that is no EAT, or an unknown training option.
        HubError: with `training: {push_to_hub: true}`, the Hub refuses or cannot be reached.
        BadAudioError: a recording cannot be used.

    References:
        W. Chen et al. 2024, "EAT: Self-Supervised Pre-Training with Efficient Audio Transformer"; going on with it on
        machine sounds: Fang et al., arXiv 2509.12845.
    """
    encoder = Path(output_dir) / "encoder"
    if encoder.is_dir():
        return encoder
    check_rows(dataset, config.batch_size)
    set_seed(config.seed)
    if config.encoder is None:
        student, extractor = EatModel(EatConfig(**config.model)), EatFeatureExtractor()
        model = EatForPreTraining(student.config, student)
    else:
        kind = AutoConfig.from_pretrained(config.encoder).model_type
        if kind != "eat":
            raise ValueError(f"{config.encoder} is a {kind}; accepted are EAT encoders.")
        model = EatForPreTraining.from_pretrained(config.encoder, dtype=torch.float32)
        extractor = load_feature_extractor(config.encoder)
    frames = frames_of(config.crop_seconds, model.config.patch_size)
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
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=4.0,
        save_steps=config.save_steps,
        dataloader_drop_last=True,
        seed=config.seed,
    )
    trainer = PretrainingTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset.select_columns("audio"),
        data_collator=ClipCollator(extractor, frames, channel),
        callbacks=[_TeacherFollows(config)],
        config=config,
        frames=frames,
    )
    trainer.train_on()

    def save(folder: Path):
        model.eat.save_pretrained(folder)
        extractor.save_pretrained(folder)
        if arguments.push_to_hub:
            push_encoder(folder, trainer, "pretrain", config.encoder)

    return export(encoder, save) if arguments.should_save else encoder
