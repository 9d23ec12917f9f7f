"""Domain-adaptive pre-training: an audio transformer goes on learning on machine sounds, without any label."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoConfig, TrainerCallback, set_seed

from .batching import ClipCollator, frames_of
from .distributed import from_main
from .health import clip_variance, effective_rank
from .models.eat import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel
from .models.eat.pretraining_eat import inverse_block_masks, teacher_decay
from .models.encoder import load_feature_extractor
from .training import SeededTrainer, TrainingError, training_arguments


HEALTH_CLIPS = 256  # last clips whose embeddings are looked at


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
    crop_seconds: float = field(default=10.0, metadata={"help": "longest crop; no longer than a step's shortest clip"})
    mask_ratio: float = field(default=0.8, metadata={"help": "share of patches that the student does not see"})
    mask_block: int = field(default=5, metadata={"help": "patches along the side of a visible block"})
    masks_per_clip: int = field(default=16, metadata={"help": "masks drawn for every clip of a batch"})
    utterance_weight: float = field(default=1.0, metadata={"help": "weight of the loss of the CLS token"})
    utterance_reduction: str = field(
        default="mean", metadata={"help": "that loss over the clips and masks of a step: mean, or EAT's sum"}
    )
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
        if self.utterance_reduction not in ("mean", "sum"):
            raise ValueError(f"utterance_reduction is {self.utterance_reduction!r}; accepted are mean and sum.")
        if not 0 <= self.teacher_decay_start <= self.teacher_decay_end <= 1:
            raise ValueError(
                f"teacher_decay_start is {self.teacher_decay_start} and teacher_decay_end {self.teacher_decay_end}; "
                "accepted are shares from 0 to 1 in rising order."
            )
        if self.encoder is not None and self.model:
            raise ValueError("model is for an encoder from scratch; an encoder to go on with has its own shape.")


class PretrainingCollator(ClipCollator):
    """
    Draws what the student sees of every clip.

    Args:
        feature_extractor ([`~hf_asd.models.eat.EatFeatureExtractor`]): of the encoder.
        config ([`PretrainConfig`]): of the masks.
    """

    def __init__(self, feature_extractor, config: PretrainConfig):
        super().__init__(feature_extractor)
        self.config = config

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """As [`ClipCollator`], with `visible` (int64, `(clips, masks, visible)`)."""
        batch = super().__call__(clips)
        patch_size = self.feature_extractor.patch_size
        steps, bands = (length // patch_size for length in batch["input_values"].shape[1:])
        visible = []
        for seed in batch["draws"].tolist():
            generator = torch.Generator().manual_seed(seed)
            masks, share, block = self.config.masks_per_clip, self.config.mask_ratio, self.config.mask_block
            visible.append(inverse_block_masks(masks, steps, bands, share, block, generator))
        return {**batch, "visible": torch.stack(visible)}


class PretrainingTrainer(SeededTrainer):
    """Watches the teacher."""

    def __init__(self, *args, config: PretrainConfig, **kwargs):
        super().__init__(*args, **kwargs)
        self.utterance_weight = config.utterance_weight
        if config.utterance_reduction == "sum":
            self.utterance_weight *= self.clip_sampler.step_clips * config.masks_per_clip
        self.embeddings = deque(maxlen=HEALTH_CLIPS)
        self.collapsed = 0
        self.health = {}

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        outputs = model(**inputs, utterance_weight=self.utterance_weight)
        self.watch(outputs)
        loss = self.checked(outputs.loss)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def watch(self, outputs):
        """
        Measures the teacher's health when the step is logged.

        Raises:
            TrainingError: several measurements after each other say that it has collapsed.
        """
        self.embeddings.extend(outputs.embeddings)
        if self.state.global_step % self.args.logging_steps or not self.accelerator.sync_gradients:
            return
        targets, embeddings = self.accelerator.gather((outputs.targets, torch.stack(tuple(self.embeddings))))
        share = clip_variance(targets).item()
        self.health = {
            "frame_loss": outputs.frame_loss,
            "utterance_loss": outputs.utterance_loss,
            "agreement": outputs.agreement,
        }
        self.health = {name: self.accelerator.reduce(value, "mean").item() for name, value in self.health.items()}
        self.health["target_variance"] = targets.flatten(0, 1).var(0).mean().item()
        self.health["clip_variance"] = share
        self.health["effective_rank"] = effective_rank(embeddings).item()

    def log(self, logs: dict, *args, **kwargs):
        super().log({**logs, **self.health} if "loss" in logs else logs, *args, **kwargs)


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
        BadAudioError: a recording cannot be used.

    References:
        W. Chen et al. 2024, "EAT: Self-Supervised Pre-Training with Efficient Audio Transformer"; going on with it on
        machine sounds: Fang et al., arXiv 2509.12845.
    """
    encoder = Path(output_dir) / "encoder"
    if from_main(encoder.is_dir()):
        return encoder
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
        seed=config.seed,
    )
    trainer = PretrainingTrainer(
        model=model,
        args=arguments,
        dataset=dataset.select_columns("audio"),
        frames=frames,
        channel=channel,
        data_collator=PretrainingCollator(extractor, config),
        callbacks=[_TeacherFollows(config)],
        config=config,
    )
    trainer.train_on()
    return trainer.export(encoder, model.eat, "eat.", extractor)
