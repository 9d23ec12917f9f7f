"""Attribute classifier configuration."""

from typing import Any, get_args

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ..choices import EmbeddingSource


@strict
class AttributeClassifierConfig(PreTrainedConfig):
    r"""
    An audio encoder, pooling and a classification head over machine attributes.

    encoder_config (`PreTrainedConfig` or `dict`, *optional*, defaults to an `EatConfig`):
        Configuration of the encoder, any audio encoder of `AutoModel`.
    pooling (`str`, *optional*, defaults to `"mean"`):
        How tokens become one embedding, a key of [`~hf_asd.models.pooling.POOLINGS`].
    pooling_parameter (`float`, *optional*):
        Of poolings that have one; by default the one that was published for the encoder.
    loss (`str`, *optional*, defaults to `"arcface"`):
        Head and loss, a key of [`~hf_asd.models.attribute_classifier.heads.HEADS`].
    scale (`float`, *optional*, defaults to 30.0):
        Factor of the cosines before the softmax, for the ArcFace losses; the Ada losses compute their own.
    margin (`float`, *optional*, defaults to 0.2):
        Angle in radians that is added to a clip's angle to its own class in training, for the ArcFace losses.
    num_centers (`int`, *optional*, defaults to 16):
        Centers per class (`"adaproj"`: dimensions of a class's subspace), for the losses that have several.
    fixed_centers (`bool`, *optional*, defaults to `False`):
        The centers keep their random initial directions instead of being learned, for the losses that have centers.
    projection_size (`int`, *optional*):
        Length of a learned projection between pooling and head; by default there is no projection.
    embedding_from (`str`, *optional*, defaults to `"encoder"`):
        The embedding that detection uses: the pooled output of the `"encoder"`, or its `"projection"`.
    """

    model_type = "attribute_classifier"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(AutoConfig, model_type="eat")}

    # A dictionary becomes a configuration when this one is made.
    encoder_config: dict | PreTrainedConfig | None = None
    pooling: str = "mean"
    pooling_parameter: float | None = None
    loss: str = "arcface"
    scale: float = 30.0
    margin: float = 0.2
    num_centers: int = 16
    fixed_centers: bool = False
    projection_size: int | None = None
    embedding_from: str = "encoder"
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any):
        super().__post_init__(**kwargs)
        if self.embedding_from not in get_args(EmbeddingSource):
            raise ValueError(
                f"embedding_from is {self.embedding_from!r}; accepted are {', '.join(get_args(EmbeddingSource))}."
            )
        if self.embedding_from == "projection" and self.projection_size is None:
            raise ValueError("embedding_from is 'projection', but there is no projection; give projection_size.")


AutoConfig.register(AttributeClassifierConfig.model_type, AttributeClassifierConfig, exist_ok=True)
