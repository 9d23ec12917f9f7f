"""The options of pre-training and fine-tuning."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

from ..data.dcase.years import YEARS
from ..models.choices import POOLING_PARAMETER, EmbeddingSource, LossName, PoolingName
from ..options import check_options, option


# The keys of `SYNTHETIC_FAULTS` in `synthetic_faults.py`.
FaultName = Literal["knocks", "tones", "noise", "swell", "loss"]


@dataclass
class NoiseOptions:
    """
    Augmentation that simulates other recording conditions: of all clips in fine-tuning, of the student's clips in
    pre-training.
    """

    noise_probability: float = option(
        0.0, "share of clips that get another clip in the background", at_least=0, at_most=1
    )
    snr_db: list[float] = option(
        default_factory=lambda: [-2.0, 15.0],
        help="level of a clip above that background in dB: lowest and highest",
        at_least=-100,
        at_most=100,
    )
    eq_db: float = option(
        0.0, "random smooth equalization: standard deviation in dB of the gain of mel bands", at_least=0, at_most=60
    )
    gain_db: float = option(0.0, "largest random gain of a clip in dB, up or down", at_least=0, at_most=100)

    def __post_init__(self):
        check_options(self)
        if len(self.snr_db) != 2 or self.snr_db[0] > self.snr_db[1]:
            raise ValueError(
                f"snr_db is {self.snr_db}; accepted are two numbers: the lowest and the highest level in dB."
            )

    @property
    def changes_acoustics(self) -> bool:
        """Whether any of these augmentations is on."""
        return bool(self.noise_probability or self.eq_db or self.gain_db)


@dataclass
class LoraOptions:
    """LoRA adapters on the frozen encoder; they need the package peft."""

    rank: int = option(16, "rank of the adapter matrices", at_least=1)
    alpha: float = option(32.0, "scaling of the adapters: their output is multiplied by alpha / rank", above=0)
    dropout: float = option(0.0, "dropout at the input of the adapters", at_least=0, below=1)
    keep_adapter: bool = option(False, "also save the adapter to adapter/, beside the merged encoder")

    def __post_init__(self):
        check_options(self)
        if find_spec("peft") is None:
            raise ValueError("lora needs the package peft, which is not installed: pip install hf-asd[lora]")


@dataclass
class PretrainingData:
    """More recordings for pre-training, in addition to those of the recipe."""

    path: str = option(help="a DCASE folder, or a folder of own recordings")
    year: int | None = option(
        None,
        "challenge year of a DCASE folder; none: a folder of own recordings",
        at_least=min(YEARS),
        at_most=max(YEARS),
    )
    weight: float = option(1.0, "how often each of its clips is used in one epoch", above=0)

    def __post_init__(self):
        check_options(self)


@dataclass
class PretrainConfig(NoiseOptions):
    """
    Options of pre-training. The defaults follow EAT's published pre-training where it states a value; those of the
    paper (arXiv 2509.12845) are not public.
    """

    encoder: str | None = option(None, "Hub id or folder of the EAT encoder to start from; none: train from scratch")
    model: dict[str, Any] = option(default_factory=dict, help="training from scratch: options of EatConfig")
    input_statistics: Literal["bands", "audioset"] = option(
        "bands",
        "training from scratch: normalize log energies by mean and standard deviation of each mel band of the "
        "recordings (bands), or by the values of published encoders (audioset)",
    )
    datasets: list[PretrainingData] = option(
        default_factory=list, help="more recordings to train on: a list of {path, year, weight}"
    )
    crop_seconds: float = option(
        10.0,
        "longest crop in seconds; a batch is cropped to its shortest clip if that is shorter",
        above=0,
        at_most=3600,
    )
    input_frames: int | None = option(
        None,
        "cut or fill up all clips to this number of frames of 10 ms, as EAT does (1024), also when the encoder is "
        "used later; none: lengths as they are, so that no filled-up frames are learned",
        at_least=16,
    )
    mask_ratio: float = option(
        0.8, "share of patches that are hidden from the student; EAT-large: 0.75", above=0, below=1
    )
    mask_adjust: float = option(
        0.07,
        "by how much the share of patches in visible blocks exceeds the visible share, because blocks overlap; "
        "EAT-large: 0.1",
        at_least=0,
        below=1,
    )
    mask_block: int = option(5, "patches along the side of a visible block", at_least=1)
    num_masks: int = option(16, "masks drawn for every clip of a batch", at_least=1)
    frame_weight: float = option(1.0, "weight of the frame loss (masked patches)", at_least=0)
    utterance_weight: float = option(1.0, "weight of the utterance loss (CLS token)", at_least=0)
    utterance_reduction: Literal["mean", "sum"] = option(
        "sum",
        "utterance loss: sum over the clips and masks of a device's batch, as in EAT (192 of them there), or their "
        "mean, which is that much weaker",
    )
    contrast_weight: float = option(
        0.0, "weight of the contrastive loss between the clips of a batch (of all devices); 0: off", at_least=0
    )
    epochs: float = option(10.0, "number of passes over the recordings", above=0)
    max_steps: int | None = option(None, "number of steps, instead of epochs; none: epochs count", at_least=1)
    batch_size: int = option(12, "clips per step and device", at_least=1)
    learning_rate: float = option(
        5e-4, "highest learning rate; it rises in the warmup and then falls along a cosine", above=0
    )
    warmup: float = option(
        0.1333,
        "number of steps in which the learning rate rises; below 1: their share of all steps; EAT: 53 333 of 400 000",
        at_least=0,
    )
    weight_decay: float = option(0.05, "weight decay of AdamW; biases and norms have none", at_least=0)
    ema_decay_start: float = option(
        0.9998,
        "EMA decay of the teacher at the start: the share of its weights that it keeps in a step",
        at_least=0,
        at_most=1,
    )
    ema_decay_end: float = option(0.99999, "EMA decay of the teacher after ema_anneal_steps", at_least=0, at_most=1)
    ema_anneal_steps: float | None = option(
        0.25,
        "number of steps in which the EMA decay rises; below 1: their share of all steps; none: all steps; EAT: "
        "100 000 of 400 000, EAT-large: 150 000",
        above=0,
    )
    save_steps: int = option(500, "steps between checkpoints", at_least=1)
    compile: bool | None = option(None, "compile the layers by torch.compile; none: only if there is a GPU")
    lora: LoraOptions | None = option(
        None, "train LoRA adapters on the frozen encoder: rank, alpha, dropout, keep_adapter"
    )
    seed: int = option(0, "random seed of initial weights, order, crops and masks", at_least=0)
    training: dict[str, Any] = option(
        default_factory=dict, help="any option of transformers' TrainingArguments, by its own name"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.ema_decay_start > self.ema_decay_end:
            raise ValueError(
                f"ema_decay_start is {self.ema_decay_start} and ema_decay_end is {self.ema_decay_end}; ema_decay_end "
                "must not be smaller."
            )
        if self.input_frames is not None and self.changes_acoustics:
            raise ValueError(
                f"input_frames is {self.input_frames}, which fills up clips with frames that are no sound; "
                "noise_probability, eq_db and gain_db change sounds of exact length only: remove one of the two."
            )
        if self.encoder is not None and self.model:
            raise ValueError(
                "model is for training from scratch, but encoder is given, which has its own shape; remove one."
            )
        if self.encoder is None and self.lora is not None:
            raise ValueError("lora needs an encoder to start from; give its Hub id or folder as encoder.")


@dataclass
class FinetuneConfig(NoiseOptions):
    """
    Options of fine-tuning. The paper's settings (arXiv 2509.12845) are not public; the defaults follow the most
    similar published systems of the 2025 challenge (EAT, ArcFace with scale 30 and margin 0.2, SpecAugment).
    """

    pooling: PoolingName = option("mean", "how the encoder's tokens become one embedding")
    pooling_parameter: float | None = option(None, POOLING_PARAMETER, at_least=0)
    loss: LossName = option("arcface", "classification head and its loss")
    scale: float = option(30.0, "arcface, subcenter_arcface: factor of the cosines", above=0)
    margin: float = option(0.2, "arcface, subcenter_arcface: margin, an angle in radians", at_least=0)
    num_centers: int = option(
        16,
        "subcenter_arcface, subcluster_adacos: centers per class; adaproj: dimensions of a class's subspace",
        at_least=1,
    )
    fixed_centers: bool = option(
        False,
        "arcface, subcenter_arcface, adacos, subcluster_adacos: the centers keep their random directions, as in the "
        "paper of sub-cluster AdaCos",
    )
    projection_size: int | None = option(
        None, "length of a learned projection between pooling and head; none: no projection", at_least=1
    )
    embedding_from: EmbeddingSource = option(
        "encoder", "the embedding that detection uses: the pooled output of the encoder, or its projection"
    )
    crop_seconds: float = option(
        10.0,
        "longest crop in seconds; a batch is cropped to its shortest clip if that is shorter",
        above=0,
        at_most=3600,
    )
    time_mask: int = option(80, "SpecAugment: largest number of frames hidden in a clip; 0: off", at_least=0)
    frequency_mask: int = option(80, "SpecAugment: largest number of mel bands hidden in a clip; 0: off", at_least=0)
    mixup: float = option(0.0, "alpha of mixup's Beta distribution; 0: off", at_least=0)
    fault_probability: float = option(
        0.0,
        f"share of clips that get a synthetic fault ({', '.join(get_args(FaultName))}); each kind is one more class, "
        "and the other clips remain normal",
        at_least=0,
        below=1,
    )
    balance: Literal["none", "sampling", "weights"] = option(
        "none",
        "classes of unequal size: use them equally often (sampling), or weight them equally in the loss (weights)",
    )
    num_trainable_layers: int | None = option(
        None,
        "number of last layers of the encoder that learn; 0: only the head learns, on embeddings computed once; none: "
        "all of it learns",
        at_least=0,
    )
    early_stopping_patience: int = option(
        0,
        "stop after this many checks (one every save_steps) without a lower loss on held-out training clips; 0: never",
        at_least=0,
    )
    validation_fraction: float = option(
        0.1, "early stopping: share of the clips of every class that is held out", above=0, below=1
    )
    epochs: float = option(10.0, "number of passes over the recordings", above=0)
    max_steps: int | None = option(None, "number of steps, instead of epochs; none: epochs count", at_least=1)
    batch_size: int = option(32, "clips per step and device", at_least=1)
    learning_rate: float = option(
        5e-5, "highest learning rate of the encoder; it rises in the warmup and then falls along a cosine", above=0
    )
    head_learning_rate: float = option(1e-3, "highest learning rate of the classification head", above=0)
    warmup: float = option(
        0.1, "number of steps in which the learning rate rises; below 1: their share of all steps", at_least=0
    )
    weight_decay: float = option(0.01, "weight decay of AdamW; biases and norms have none", at_least=0)
    save_steps: int = option(500, "steps between checkpoints", at_least=1)
    compile: bool | None = option(None, "compile the layers by torch.compile; none: only if there is a GPU")
    lora: LoraOptions | None = option(
        None, "train LoRA adapters on the frozen encoder: rank, alpha, dropout, keep_adapter"
    )
    seed: int = option(0, "random seed of the head's initial weights, order, crops and masks", at_least=0)
    training: dict[str, Any] = option(
        default_factory=dict, help="any option of transformers' TrainingArguments, by its own name"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.num_trainable_layers == 0:
            self._check_head_alone()
        if self.embedding_from == "projection" and self.projection_size is None:
            raise ValueError("embedding_from is 'projection', but there is no projection; give projection_size.")
        if self.num_trainable_layers is not None and self.lora is not None:
            raise ValueError(
                "lora trains adapters on a frozen encoder, num_trainable_layers its own layers; give one of the two."
            )

    def _check_head_alone(self):
        augmentations = ("fault_probability", "mixup", "noise_probability", "eq_db", "gain_db")
        for name in (*augmentations, "early_stopping_patience"):
            if getattr(self, name):
                raise ValueError(
                    "num_trainable_layers is 0, so the head is trained on embeddings that are computed once; "
                    f"{name} needs at least one trainable layer."
                )
        if self.embedding_from != "projection":
            raise ValueError(
                "num_trainable_layers is 0, which leaves the encoder unchanged, so fine-tuning would not change "
                "detection; give projection_size and embedding_from 'projection'."
            )
        if self.training.get("push_to_hub"):
            raise ValueError(
                "training.push_to_hub publishes a fine-tuned encoder; with num_trainable_layers 0 it stays unchanged. "
                "Publish the detector instead (hf-asd push)."
            )
