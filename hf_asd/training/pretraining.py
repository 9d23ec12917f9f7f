"""Domain-adaptive pre-training: an audio transformer continues to learn from machine sounds, without any labels."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm
from transformers import AutoConfig, TrainerCallback, set_seed

from ..audio.channels import Channel
from ..audio.log_mel_store import LogMelStore, fitting
from ..audio.reading import read_audio
from ..distributed import broadcast
from ..models.eat.configuration_eat import EatConfig
from ..models.eat.feature_extraction_eat import EatFeatureExtractor
from ..models.eat.modeling_eat import EatModel
from ..models.eat.pretraining_eat import EatForPreTraining, ema_decay, inverse_block_masks
from ..models.encoders import load_feature_extractor, load_weights
from ..models.hub_checkpoints import local_encoder
from .augmentation import augment_acoustics
from .collapse import COLLAPSED_RANK, COLLAPSED_SPREAD, PATIENCE, CollapseMonitor, effective_rank, output_spread
from .config import PretrainConfig
from .lora import add_lora
from .sampling import ClipCollator, frames_of
from .trainer import SeededTrainer, TrainingError, compile_layers, training_arguments


PROJECTION_SIZE = 128  # dimensions of the contrastive loss
STATISTICS_CLIPS = 1000
MIN_STD = 0.3  # of a mel band, in natural logarithms: keeps near-empty mel bands from being amplified


def pretrain(
    dataset: Dataset | list[Dataset],
    config: PretrainConfig,
    output_dir: str | Path,
    channel: Channel = 0,
    weights: list[float] | None = None,
    log_mels: LogMelStore | None = None,
) -> Path:
    """
    Continues the pre-training of an encoder on recordings of machines. Only the sound is used; recordings are read
    from disk when they are needed.

    A second call with the same folder resumes where the first stopped and ends with the same weights, to the bit, as
    a run that was never stopped (on the same hardware).

    Args:
        dataset (`datasets.Dataset` or a list of them): training clips of any length; only `audio` is read.
        config ([`PretrainConfig`]): the options.
        output_dir (`str` or `Path`): for checkpoints, and in the end `encoder/`.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        weights (`list[float]`, *optional*): for each dataset how often its clips are used in an epoch; by default
            once. With 0.5 they are used in every second epoch.
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): log energies that are kept of recordings,
            so that they need not be decoded for each crop; the crops are the same.

    Returns:
        `Path`: `<output_dir>/encoder`, an encoder and its feature extractor for `AutoModel` and
        `AutoFeatureExtractor`.

    Raises:
        TrainingError: the loss is not finite or the teacher has collapsed.
        ValueError: fewer recordings than a batch, an encoder that is not an EAT, an unknown training option, or
            weights that are not one positive number per dataset.
        HubError: with `training: {push_to_hub: true}`, the Hub refuses or cannot be reached.
        BadAudioError: a recording cannot be used.

    References:
        W. Chen et al. 2024, "EAT: Self-Supervised Pre-Training with Efficient Audio Transformer"; continued on machine
        sounds: Fang et al., arXiv 2509.12845.
    """
    folder = Path(output_dir) / "encoder"
    if broadcast(folder.is_dir()):
        return folder
    recordings, weight_per_row = join_datasets(dataset if isinstance(dataset, list) else [dataset], weights)
    set_seed(config.seed)
    model, extractor = build_student_and_teacher(config, recordings, channel, log_mels)
    if config.input_frames is not None:
        extractor.num_frames = config.input_frames
        extractor.check_num_frames()
    trainer = PretrainingTrainer(
        recordings,
        config,
        model=model,
        args=training_arguments(output_dir, config, adam_beta1=0.9, adam_beta2=0.95, max_grad_norm=4.0),
        weights=weight_per_row,
        frames=frames_of(config.crop_seconds, model.config.patch_size if config.input_frames is None else 1),
        fills_up=config.input_frames is not None,
        channel=channel,
        log_mels=fitting(log_mels, extractor),
        data_collator=PretrainingCollator(extractor, config),
        callbacks=[UpdateTeacher(config)],
    )
    compile_layers([*model.eat.layers, *model.teacher.layers, model.decoder], config.compile)
    trainer.resume_or_train()
    if config.lora is not None:
        trainer.merge_lora(model.eat, config.lora)
    return trainer.export(folder, model.eat, "eat.", extractor, "pretrain", config.encoder)


def join_datasets(datasets: list[Dataset], weights: list[float] | None) -> tuple[Dataset, np.ndarray]:
    """
    Joins the recordings of several datasets.

    Args:
        datasets (`list[Dataset]`), weights (`list[float]`, *optional*): as for [`pretrain`].

    Returns:
        rows with `audio`, and the weight of every row, float64.

    Raises:
        ValueError: the weights are not one positive number per dataset.
    """
    weights = [1.0] * len(datasets) if weights is None else weights
    if len(weights) != len(datasets) or min(weights) <= 0:
        raise ValueError(
            f"weights are {weights}; accepted is one positive number for each of {len(datasets)} datasets."
        )
    recordings = concatenate_datasets([rows.select_columns("audio") for rows in datasets])
    return recordings, np.repeat(weights, [len(rows) for rows in datasets])


def build_student_and_teacher(
    config: PretrainConfig, recordings: Dataset, channel: Channel, log_mels: LogMelStore | None = None
) -> tuple[EatForPreTraining, EatFeatureExtractor]:
    """
    The model to train, from scratch or from a pre-trained encoder, and its feature extractor.

    Args:
        config ([`PretrainConfig`]): the options.
        recordings (`datasets.Dataset`), channel (`int` or `str`), log_mels: as for [`pretrain`].

    Raises:
        ValueError: the encoder is not an EAT.
    """
    projection_size = PROJECTION_SIZE if config.contrast_weight else None
    if config.encoder is None:
        student, extractor = init_encoder(config, recordings, channel, log_mels)
        student.config.projection_size = projection_size
        return EatForPreTraining(student.config, student), extractor
    encoder = local_encoder(config.encoder)
    model_type = AutoConfig.from_pretrained(encoder).model_type
    if model_type != EatConfig.model_type:
        raise ValueError(f"{config.encoder} is a {model_type}; accepted are EAT encoders.")
    model = load_weights(EatForPreTraining, encoder, dtype=torch.float32, projection_size=projection_size)
    if config.lora is not None:
        add_lora(model.eat, config.lora, config.encoder)
        model.start_teacher()
    return model, load_feature_extractor(encoder)


def init_encoder(
    config: PretrainConfig, dataset: Dataset, channel: Channel = 0, log_mels: LogMelStore | None = None
) -> tuple[EatModel, EatFeatureExtractor]:
    """
    An encoder with random weights, and its feature extractor, for pre-training from scratch.

    Args:
        config ([`PretrainConfig`]): of which `model`, `input_statistics` and `seed` are read.
        dataset (`datasets.Dataset`), channel (`int` or `str`), log_mels: as for [`band_statistics`].
    """
    student, extractor = EatModel(EatConfig(**config.model)), EatFeatureExtractor()
    if config.input_statistics == "bands":
        extractor.mean, extractor.std = band_statistics(dataset, channel, config.seed, log_mels)
    return student, extractor


def band_statistics(
    dataset: Dataset, channel: Channel = 0, seed: int = 0, log_mels: LogMelStore | None = None
) -> tuple[list[float], list[float]]:
    """
    Mean and standard deviation of the log energies in each mel band, over the recordings or 1000 random ones of them.

    A quiet band says as much about a machine as a loud one; with one mean for all bands, a new encoder would have to
    learn that first.

    Args:
        dataset (`datasets.Dataset`): with `audio`.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        seed (`int`, *optional*, defaults to 0): of the choice of recordings.
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for [`pretrain`].

    Returns:
        `tuple` of two lists of 128 numbers, natural logarithms; standard deviations are at least 0.3 (1.3 dB).
    """
    extractor = EatFeatureExtractor(do_normalize=False)
    log_mels = fitting(log_mels, extractor)
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:STATISTICS_CLIPS]
    count, total = 0, torch.zeros(2, extractor.feature_size, dtype=torch.float64)
    rows = dataset.select(np.sort(chosen)).select_columns("audio")
    for row in tqdm(rows, desc="input statistics", unit="clip", delay=2, disable=None):
        audio = cast(dict, row)["audio"]
        kept = None if log_mels is None else log_mels.get(audio, channel)
        if kept is not None:
            log_mel = torch.from_numpy(np.array(kept)).double()
        else:
            samples = torch.from_numpy(read_audio(audio, channel=channel))
            log_mel = extractor.log_mel(samples[None])[0].double()
        count += len(log_mel)
        total += torch.stack([log_mel.sum(0), log_mel.square().sum(0)])
    mean, square = total / count
    std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(MIN_STD)
    return mean.tolist(), std.tolist()


class PretrainingCollator(ClipCollator):
    """
    Draws the masks of every clip.

    Args:
        feature_extractor ([`~hf_asd.models.eat.feature_extraction_eat.EatFeatureExtractor`]): of the encoder.
        config ([`PretrainConfig`]): options of masks and augmentation.
    """

    def __init__(self, feature_extractor, config: PretrainConfig):
        super().__init__(feature_extractor)
        self.config = config

    def __call__(self, clips: list[dict]) -> dict[str, torch.Tensor]:
        """
        As [`ClipCollator`], with `visible` (int64, `(clips, masks, visible)`), the patches that the student gets, and
        `student_values` (as `input_values`) if augmentation is on.
        """
        batch = super().__call__(clips)
        patch_size = self.feature_extractor.patch_size
        steps, bands = (length // patch_size for length in batch["input_values"].shape[1:])
        generators = [torch.Generator().manual_seed(seed) for seed in batch["augmentation_seeds"].tolist()]
        config = self.config
        batch["visible"] = inverse_block_masks(
            config.num_masks, steps, bands, config.mask_ratio, config.mask_block, generators, config.mask_adjust
        )
        if self.config.changes_acoustics:  # for the student only; the teacher gets the original clip
            batch["student_values"] = augment_acoustics(
                batch["input_values"], batch["augmentation_seeds"], self.feature_extractor, self.config
            )
        return batch


class PretrainingTrainer(SeededTrainer):
    """
    A Trainer that checks whether the teacher has collapsed.

    Args:
        recordings (`datasets.Dataset`): with `audio`.
        config ([`PretrainConfig`]): the options.
        kwargs: of [`SeededTrainer`].
    """

    def __init__(self, recordings: Dataset, config: PretrainConfig, **kwargs):
        super().__init__(recordings, **kwargs)
        self.config = config
        self.utterance_weight = config.utterance_weight
        if config.utterance_reduction == "sum":
            # Of one device's batch: as in fairseq, devices and accumulated batches are averaged.
            self.utterance_weight *= self.args.per_device_train_batch_size * config.num_masks
        self.monitor = CollapseMonitor(self.args.per_device_train_batch_size)
        self.teacher_metrics: dict[str, float] = {}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        measured = self.accelerator.sync_gradients and (self.state.global_step + 1) % self.state.logging_steps == 0
        outputs = model(
            **inputs,
            with_agreement=measured,
            frame_weight=self.config.frame_weight,
            utterance_weight=self.utterance_weight,
            contrast_weight=self.config.contrast_weight,
        )
        loss = self.checked(outputs.loss)
        self.monitor.add(outputs.teacher_states)
        if measured:
            self.check_teacher(outputs)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def check_teacher(self, outputs) -> None:
        """
        Computes the teacher's metrics for the log.

        Raises:
            TrainingError: the teacher has collapsed, at this measurement and at the two before it.
        """
        names = ["frame_loss", "utterance_loss", "agreement"] + ["contrast_loss"] * (self.config.contrast_weight > 0)
        metrics = {name: cast(torch.Tensor, self.accelerator.reduce(outputs[name], "mean")).item() for name in names}
        targets, states = self.accelerator.gather((outputs.targets, outputs.teacher_states))
        embeddings = cast(torch.Tensor, self.accelerator.gather(self.monitor.embeddings))
        metrics["target_variance"] = targets.flatten(0, 1).var(0).mean().item()
        metrics["output_spread"] = spread = output_spread(states).item()
        metrics["effective_rank"] = rank = effective_rank(embeddings).item()
        self.teacher_metrics = metrics
        if self.monitor.collapsed(spread, rank):
            raise TrainingError(
                f"The teacher has collapsed by step {self.state.global_step + 1}: its outputs for different patches "
                f"and clips differ by {spread:.2g} of their size, and the embeddings of {len(embeddings)} clips have "
                f"an effective rank of {rank:.2f}. {PATIENCE} times in a row one of them was below its limit "
                f"({COLLAPSED_SPREAD} and {COLLAPSED_RANK}). Lower learning_rate, raise ema_decay_start or warmup, or "
                "check that the recordings differ at all. The earlier checkpoints are kept."
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({**logs, **self.teacher_metrics} if "loss" in logs else logs, start_time)


class UpdateTeacher(TrainerCallback):
    """Moves the teacher towards the student after every step."""

    def __init__(self, config: PretrainConfig):
        self.config = config

    def on_step_end(self, args, state, control, **kwargs):
        start, end = self.config.ema_decay_start, self.config.ema_decay_end
        steps = self.config.ema_anneal_steps or state.max_steps
        steps = steps * state.max_steps if steps < 1 else steps
        kwargs["model"].update_teacher(ema_decay(state.global_step, start, end, steps))
