"""The options of pre-training and fine-tuning."""

from dataclasses import dataclass
from typing import Any, Literal

from ..models.choices import EmbeddingSource, LossName, PoolingName
from ..options import check_options, option


@dataclass
class NoiseOptions:
    """Clips as if recorded elsewhere: in fine-tuning all clips, in pre-training those that the student gets."""

    noise_probability: float = option(
        0.0, "share of clips that get another clip in the background", at_least=0, at_most=1
    )
    snr_db: list[float] = option(
        default_factory=lambda: [-2.0, 15.0], help="level of a clip above that background in dB, lowest and highest"
    )
    eq_db: float = option(
        0.0, "standard deviation in dB by which mel bands are smoothly raised and lowered", at_least=0
    )
    gain_db: float = option(0.0, "largest random gain of a clip in dB, up or down", at_least=0)

    def __post_init__(self):
        check_options(self)
        if len(self.snr_db) != 2 or self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"snr_db is {self.snr_db}; accepted are the lowest and the highest ratio in dB.")

    @property
    def elsewhere(self) -> bool:
        """Whether any of these augmentations is on."""
        return bool(self.noise_probability or self.eq_db or self.gain_db)


@dataclass
class LoraOptions:
    """LoRA adapters on the frozen encoder."""

    rank: int = option(16, "rank of the adapter matrices", at_least=1)
    alpha: float = option(32.0, "scaling of the adapters: their output counts alpha / rank times")
    dropout: float = option(0.0, "dropout in front of the adapters", at_least=0, below=1)
    keep_adapter: bool = option(False, "also write the adapter to adapter/, beside the merged encoder")

    def __post_init__(self):
        check_options(self)


@dataclass
class PretrainingData:
    """Recordings to pre-train on besides those of the recipe."""

    path: str = option(help="a DCASE folder, or a folder of own recordings")
    year: int | None = option(None, "challenge year of a DCASE folder; none: a folder of own recordings")
    weight: float = option(1.0, "how often each of its clips is used in one pass", above=0)

    def __post_init__(self):
        check_options(self)


@dataclass
class PretrainConfig(NoiseOptions):
    """
    How the encoder continues to learn. The defaults follow EAT's published pre-training where it states a value; those
    of the paper (arXiv 2509.12845) are not public.
    """

    encoder: str | None = option(None, "Hub id or folder of the EAT encoder to continue with; none: from scratch")
    model: dict[str, Any] = option(default_factory=dict, help="from scratch: options of EatConfig")
    input_statistics: Literal["bands", "audioset"] = option(
        "bands",
        "from scratch: log energies are normalized by mean and standard deviation of each mel band over the recordings, "
        "or by the values of published encoders",
    )
    datasets: list[PretrainingData] = option(
        default_factory=list, help="further recordings to learn from: a list of {path, year, weight}"
    )
    crop_seconds: float = option(
        10.0, "longest crop in seconds; a batch is cropped to its shortest clip if that is shorter", above=0
    )
    mask_ratio: float = option(0.8, "share of patches that the student does not see", above=0, below=1)
    mask_block: int = option(5, "patches along the side of a visible block", at_least=1)
    num_masks: int = option(16, "masks drawn for every clip of a batch", at_least=1)
    frame_weight: float = option(1.0, "weight of the loss of the masked patches", at_least=0)
    utterance_weight: float = option(1.0, "weight of the loss of the CLS token", at_least=0)
    utterance_reduction: Literal["mean", "sum"] = option(
        "mean", "that loss over the clips and masks of a step: their mean, or their sum as in EAT"
    )
    contrast_weight: float = option(
        0.0, "weight of the contrast between clips of a batch, on all devices; 0 for none", at_least=0
    )
    epochs: float = option(10.0, "passes over the recordings", above=0)
    max_steps: int = option(-1, "number of steps; overrides epochs when positive")
    batch_size: int = option(12, "clips of a step and device", at_least=1)
    learning_rate: float = option(5e-4, "highest learning rate, cosine decay", above=0)
    warmup: float = option(0.1, "share of the steps in which the learning rate rises", at_least=0)
    weight_decay: float = option(0.05, "of AdamW; none on biases and norms", at_least=0)
    ema_decay_start: float = option(0.9998, "how much of itself the teacher keeps in a step", at_least=0, at_most=1)
    ema_decay_end: float = option(0.99999, "the same at the end of training", at_least=0, at_most=1)
    save_steps: int = option(500, "steps between checkpoints", at_least=1)
    compile: bool | None = option(None, "torch.compile of the layers; none: where there is a GPU")
    lora: LoraOptions | None = option(None, "continue with LoRA adapters on the frozen weights: rank, alpha, dropout")
    seed: int = option(0, "random seed of weights, order, crops and masks", at_least=0)
    training: dict[str, Any] = option(
        default_factory=dict, help="any of transformers' TrainingArguments, under their own names"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.ema_decay_start > self.ema_decay_end:
            raise ValueError(
                f"ema_decay_start is {self.ema_decay_start} and ema_decay_end {self.ema_decay_end}; accepted are shares "
                "from 0 to 1 in rising order."
            )
        if self.encoder is not None and self.model:
            raise ValueError("model is for an encoder from scratch; an encoder to continue with has its own shape.")
        if self.encoder is None and self.lora is not None:
            raise ValueError("lora continues with an encoder; name one with encoder.")


@dataclass
class FinetuneConfig(NoiseOptions):
    """
    How the encoder learns attributes. The paper's settings (arXiv 2509.12845) are not public; the defaults follow its
    closest published relatives of the 2025 challenge (EAT, ArcFace with scale 30 and margin 0.2, SpecAugment).
    """

    pooling: PoolingName = option("mean", "how tokens become one embedding")
    loss: LossName = option("arcface", "classification head and its loss")
    scale: float = option(30.0, "arcface, subcenter_arcface: factor of the cosines", above=0)
    margin: float = option(0.2, "arcface, subcenter_arcface: angle in radians", at_least=0)
    num_centers: int = option(
        16, "subcenter_arcface, subcluster_adacos: centers of a class; adaproj: dimensions of its subspace", at_least=1
    )
    projection_size: int | None = option(
        None, "length of a learned projection in front of the head; none: no projection", at_least=1
    )
    embedding_from: EmbeddingSource = option(
        "encoder", "what detection compares: the pooled encoder or the projection"
    )
    crop_seconds: float = option(
        10.0, "longest crop in seconds; a batch is cropped to its shortest clip if that is shorter", above=0
    )
    time_mask: int = option(80, "SpecAugment: largest number of frames hidden in a clip; 0 for none", at_least=0)
    frequency_mask: int = option(
        80, "SpecAugment: largest number of mel bands hidden in a clip; 0 for none", at_least=0
    )
    mixup: float = option(0.0, "alpha of mixup's Beta distribution; 0 for none", at_least=0)
    fault_probability: float = option(
        0.0,
        "share of clips that get a synthetic fault (knocks, tones, noise, swell, loss), each kind one more class; below "
        "1, so that some clips remain normal",
        at_least=0,
        below=1,
    )
    balance: Literal["none", "sampling", "weights"] = option(
        "none", "classes of unequal size: used equally often (sampling), or weighted equally in the loss (weights)"
    )
    num_trainable_layers: int | None = option(
        None,
        "only the last layers of the encoder learn; 0: only the head, on features that are computed once; none: all",
        at_least=0,
    )
    early_stopping_patience: int = option(
        0, "stop after this many checks without a lower loss on held-out training clips; 0: never", at_least=0
    )
    validation_fraction: float = option(0.1, "early stopping: share of every class that is held out", above=0, below=1)
    epochs: float = option(10.0, "passes over the recordings", above=0)
    max_steps: int = option(-1, "number of steps; overrides epochs when positive")
    batch_size: int = option(32, "clips of a step and device", at_least=1)
    learning_rate: float = option(5e-5, "highest learning rate of the encoder, cosine decay", above=0)
    head_learning_rate: float = option(1e-3, "highest learning rate of the classification head", above=0)
    warmup: float = option(0.1, "share of the steps in which the learning rate rises", at_least=0)
    weight_decay: float = option(0.01, "of AdamW; none on biases and norms", at_least=0)
    save_steps: int = option(500, "steps between checkpoints", at_least=1)
    compile: bool | None = option(None, "torch.compile of the layers; none: where there is a GPU")
    lora: LoraOptions | None = option(None, "LoRA adapters on the frozen encoder: rank, alpha, dropout")
    seed: int = option(0, "random seed of the head's weights, order, crops and masks", at_least=0)
    training: dict[str, Any] = option(
        default_factory=dict, help="any of transformers' TrainingArguments, under their own names"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.num_trainable_layers == 0:
            self._check_head_alone()
        if self.embedding_from == "projection" and self.projection_size is None:
            raise ValueError("embedding_from is 'projection', but there is no projection; give projection_size.")
        if self.num_trainable_layers is not None and self.lora is not None:
            raise ValueError(
                "lora trains adapters on a frozen encoder, num_trainable_layers its layers; give one of the two."
            )

    def _check_head_alone(self):
        if self.fault_probability:
            raise ValueError(
                "num_trainable_layers is 0, which learns from features of the unchanged clips; fault_probability needs "
                "at least one trainable layer."
            )
        if self.embedding_from != "projection":
            raise ValueError(
                "num_trainable_layers is 0, which leaves the encoder unchanged, so that fine-tuning would not change "
                "detection; give projection_size, and embedding_from 'projection'."
            )
        if self.training.get("push_to_hub"):
            raise ValueError(
                "training.push_to_hub publishes a fine-tuned encoder; with num_trainable_layers 0 it stays unchanged. "
                "Publish the detector (hf-asd push)."
            )
