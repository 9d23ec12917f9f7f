"""Domain-adaptive pre-training: an audio transformer goes on learning on machine sounds, without any label."""

from collections import deque
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm
from transformers import AutoConfig, TrainerCallback, set_seed

from ..audio.reading import read_audio
from ..distributed import broadcast
from ..models.eat.configuration_eat import EatConfig
from ..models.eat.feature_extraction_eat import EatFeatureExtractor
from ..models.eat.modeling_eat import EatModel
from ..models.eat.pretraining_eat import EatForPreTraining, ema_decay, inverse_block_masks
from ..models.encoders import load_feature_extractor
from .augmentation import augment_acoustics
from .collapse import effective_rank, output_spread
from .config import PretrainConfig
from .lora import add_lora
from .sampling import ClipCollator, frames_of
from .trainer import SeededTrainer, TrainingError, compile_blocks, training_arguments


PROJECTION_SIZE = 128  # dimensions in which clips are told apart
STATISTICS_CLIPS = 1000
LEAST_STD = 0.3  # of a mel band, in natural logarithms: the lowest bands are empty, and nothing is to be blown up
HEALTH_CLIPS = 16  # at least so many embeddings are looked at, of earlier steps where a batch has fewer
# A healthy teacher's outputs differ by a third of their size or more and its embeddings use several directions. Where
# it followed at once (a decay of 0), outputs became the same, or embeddings came to lie on a line, a rank of 1.
COLLAPSED_SPREAD = 0.01
COLLAPSED_RANK = 1.3
CERTAIN = 3  # measurements in a row


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
        for seed in batch["augmentation_seeds"].tolist():
            generator = torch.Generator().manual_seed(seed)
            masks, share, block = self.config.num_masks, self.config.mask_ratio, self.config.mask_block
            visible.append(inverse_block_masks(masks, steps, bands, share, block, generator))
        batch["visible"] = torch.stack(visible)
        if self.config.elsewhere:  # the student alone; the teacher hears the clip as it is
            batch["student_values"] = augment_acoustics(
                batch["input_values"], batch["augmentation_seeds"], self.feature_extractor, self.config
            )
        return batch


class PretrainingTrainer(SeededTrainer):
    """Watches the teacher."""

    def __init__(self, *args, config: PretrainConfig, **kwargs):
        super().__init__(*args, **kwargs)
        self.config = config
        self.utterance_weight = config.utterance_weight
        if config.utterance_reduction == "sum":
            self.utterance_weight *= self.clip_sampler.step_clips * config.num_masks
        self.embeddings = deque(maxlen=max(HEALTH_CLIPS, self.args.per_device_train_batch_size))
        self.health = {}
        self.times_collapsed = 0

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        outputs = model(
            **inputs,
            frame_weight=self.config.frame_weight,
            utterance_weight=self.utterance_weight,
            contrast_weight=self.config.contrast_weight,
        )
        loss = self.checked(outputs.loss)
        embeddings = outputs.teacher_states.mean(1)
        # Around the step's own mean: the teacher moves between steps.
        self.embeddings.extend((embeddings - embeddings.mean(0)).detach())
        if self.accelerator.sync_gradients and (self.state.global_step + 1) % self.state.logging_steps == 0:
            self.watch(outputs)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def watch(self, outputs) -> None:
        """
        Measures the teacher's health, for the log.

        Raises:
            TrainingError: it has collapsed, and was so at the last measurements already.
        """
        names = ["frame_loss", "utterance_loss", "agreement"] + ["contrast_loss"] * (self.config.contrast_weight > 0)
        self.health = {name: self.accelerator.reduce(outputs[name], "mean").item() for name in names}
        targets, states = self.accelerator.gather((outputs.targets, outputs.teacher_states))
        embeddings = self.accelerator.gather(torch.stack(tuple(self.embeddings)))
        self.health["target_variance"] = targets.flatten(0, 1).var(0).mean().item()
        self.health["output_spread"] = spread = output_spread(states).item()
        self.health["effective_rank"] = rank = effective_rank(embeddings).item()
        collapsed = spread < COLLAPSED_SPREAD or rank < COLLAPSED_RANK
        self.times_collapsed = self.times_collapsed + 1 if collapsed else 0
        if self.times_collapsed == CERTAIN:
            raise TrainingError(
                f"The teacher has collapsed by step {self.state.global_step + 1}: its outputs for different patches "
                f"and clips differ by {spread:.2g} of their size, and the embeddings of {len(embeddings)} clips have "
                f"an effective rank of {rank:.2f}. {CERTAIN} times in a row that was below {COLLAPSED_SPREAD} or "
                f"below {COLLAPSED_RANK}: clips look alike to it. Lower learning_rate, raise ema_decay_start or "
                "warmup, or check that the recordings differ at all. The checkpoints before it are kept."
            )

    def log(self, logs: dict, *args, **kwargs):
        super().log({**logs, **self.health} if "loss" in logs else logs, *args, **kwargs)


def band_statistics(dataset: Dataset, channel: int | str = 0, seed: int = 0) -> tuple[list[float], list[float]]:
    """
    Mean and standard deviation of the log energies in each mel band, over the recordings or 1000 random ones of them.

    A quiet band says as much about a machine as a loud one, and one mean for all leaves to a fresh encoder the task of
    finding that out.

    Args:
        dataset (`datasets.Dataset`): with `audio`.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        seed (`int`, *optional*, defaults to 0): of the choice.

    Returns:
        `tuple` of two lists of 128 numbers, natural logarithms; standard deviations are 0.3 (1.3 dB) or more.
    """
    extractor = EatFeatureExtractor(do_normalize=False)
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:STATISTICS_CLIPS]
    count, total = 0, torch.zeros(2, extractor.feature_size, dtype=torch.float64)
    rows = dataset.select(np.sort(chosen)).select_columns("audio")
    for row in tqdm(rows, desc="input statistics", unit="clip", delay=2, disable=None):
        log_mel = extractor.log_mel(torch.from_numpy(read_audio(row["audio"], channel=channel))[None])[0].double()
        count += len(log_mel)
        total += torch.stack([log_mel.sum(0), log_mel.square().sum(0)])
    mean, square = total / count
    std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(LEAST_STD)
    return mean.tolist(), std.tolist()


def init_encoder(
    config: PretrainConfig, dataset: Dataset, channel: int | str = 0
) -> tuple[EatModel, EatFeatureExtractor]:
    """The encoder, weights drawn at random, and the feature extractor that pre-training from scratch starts from."""
    student, extractor = EatModel(EatConfig(**config.model)), EatFeatureExtractor()
    if config.input_statistics == "bands":
        extractor.mean, extractor.std = band_statistics(dataset, channel, config.seed)
    return student, extractor


class _TeacherFollows(TrainerCallback):
    def __init__(self, config: PretrainConfig):
        self.config = config

    def on_step_end(self, args, state, control, model=None, **kwargs):
        start, end = self.config.ema_decay_start, self.config.ema_decay_end
        model.update_teacher(ema_decay(state.global_step, start, end, state.max_steps))


def pretrain(
    dataset: Dataset | list[Dataset],
    config: PretrainConfig,
    output_dir: str | Path,
    channel: int | str = 0,
    weights: list[float] | None = None,
) -> Path:
    """
    Goes on pre-training an encoder on recordings of machines; nothing about them is read but their sound, and that
    from disk when its turn comes.

    A second call with the same folder goes on where the first stopped and ends with the same weights, to the bit, as
    one that was never stopped (on the same hardware).

    Args:
        dataset (`datasets.Dataset` or a list of them): training clips of any length; only `audio` is read.
        config ([`PretrainConfig`]): how.
        output_dir (`str` or `Path`): checkpoints, and in the end `encoder/`.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        weights (`list[float]`, *optional*): for each dataset how often a pass hears each of its clips; once by
            default, 0.5 for every second pass.

    Returns:
        `Path`: `<output_dir>/encoder`, an encoder and its feature extractor as `AutoModel` and `AutoFeatureExtractor`
        load them.

    Raises:
        TrainingError: the loss is not finite or the teacher has collapsed.
        ValueError: fewer recordings than a batch, an encoder that is no EAT, an unknown training option, or weights
            that are not one positive number a dataset.
        HubError: with `training: {push_to_hub: true}`, the Hub refuses or cannot be reached.
        BadAudioError: a recording cannot be used.

    References:
        W. Chen et al. 2024, "EAT: Self-Supervised Pre-Training with Efficient Audio Transformer"; going on with it on
        machine sounds: Fang et al., arXiv 2509.12845.
    """
    encoder = Path(output_dir) / "encoder"
    if broadcast(encoder.is_dir()):
        return encoder
    parts = dataset if isinstance(dataset, list) else [dataset]
    weights = [1.0] * len(parts) if weights is None else weights
    if len(weights) != len(parts) or min(weights) <= 0:
        raise ValueError(f"weights are {weights}; accepted is one positive number for each of {len(parts)} datasets.")
    recordings = concatenate_datasets([part.select_columns("audio") for part in parts])
    set_seed(config.seed)
    projection_size = PROJECTION_SIZE if config.contrast_weight else None
    if config.encoder is None:
        student, extractor = init_encoder(config, recordings, channel)
        student.config.projection_size = projection_size
        model = EatForPreTraining(student.config, student)
    else:
        kind = AutoConfig.from_pretrained(config.encoder).model_type
        if kind != "eat":
            raise ValueError(f"{config.encoder} is a {kind}; accepted are EAT encoders.")
        model = EatForPreTraining.from_pretrained(config.encoder, dtype=torch.float32, projection_size=projection_size)
        extractor = load_feature_extractor(config.encoder)
    if config.lora is not None:
        add_lora(model.eat, config.lora, config.encoder)
        model.start_teacher()
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
        dataset=recordings,
        weights=np.repeat(weights, [len(part) for part in parts]),
        frames=frames,
        channel=channel,
        data_collator=PretrainingCollator(extractor, config),
        callbacks=[_TeacherFollows(config)],
        config=config,
    )
    compile_blocks([*model.eat.layers, *model.teacher.layers, model.decoder], config.compile)
    trainer.resume_or_train()
    if config.lora is not None:
        trainer.merge_lora(model.eat, config.lora)
    return trainer.export(encoder, model.eat, "eat.", extractor, "pretrain", config.encoder)
