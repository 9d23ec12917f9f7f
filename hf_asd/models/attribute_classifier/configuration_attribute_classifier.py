"""Attribute classifier configuration."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class AttributeClassifierConfig(PreTrainedConfig):
    r"""
    An audio encoder, pooling and a head over machine attributes.

    encoder_config (`PreTrainedConfig` or `dict`, *optional*, defaults to an `EatConfig`):
        Configuration of the encoder, any audio encoder of `AutoModel`.
    pooling (`str`, *optional*, defaults to `"mean"`):
        How tokens become one embedding: `"mean"`, `"cls"`, `"bands"` or `"bands_std"` (see
        [`~hf_asd.models.pooling.pool`]).
    loss (`str`, *optional*, defaults to `"arcface"`):
        Head and loss: `"softmax"`, `"arcface"`, `"subcenter_arcface"`, `"adacos"`, `"subcluster_adacos"` or
        `"adaproj"` (see [`~hf_asd.models.attribute_classifier.heads`]).
    scale (`float`, *optional*, defaults to 30.0):
        Factor of the cosines before the softmax, for the ArcFace losses; the Ada losses find their own.
    margin (`float`, *optional*, defaults to 0.2):
        Angle in radians that is added to a clip's angle to its own class in training, for the ArcFace losses.
    num_centers (`int`, *optional*, defaults to 16):
        Centers a class (`"adaproj"`: dimensions of a class's subspace), for the losses that have several.
    projection_size (`int`, *optional*):
        Length of a learned projection between pooling and head; by default there is none.
    embedding_from (`str`, *optional*, defaults to `"encoder"`):
        What detection compares: the pooled output of the `"encoder"`, or its `"projection"`.
    """

    model_type = "attribute_classifier"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(AutoConfig, model_type="eat")}

    encoder_config: dict | PreTrainedConfig | None = None
    pooling: str = "mean"
    loss: str = "arcface"
    scale: float = 30.0
    margin: float = 0.2
    num_centers: int = 16
    projection_size: int | None = None
    embedding_from: str = "encoder"
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.embedding_from not in ("encoder", "projection"):
            raise ValueError(f"embedding_from is {self.embedding_from!r}; accepted are 'encoder' and 'projection'.")
        if self.embedding_from == "projection" and self.projection_size is None:
            raise ValueError("embedding_from is 'projection', but there is none; give projection_size.")


AutoConfig.register(AttributeClassifierConfig.model_type, AttributeClassifierConfig, exist_ok=True)
