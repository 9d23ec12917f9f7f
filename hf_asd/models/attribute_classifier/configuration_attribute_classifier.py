"""Attribute classifier configuration."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class AttributeClassifierConfig(PreTrainedConfig):
    r"""
    An audio encoder, pooling and an additive angular margin head over machine attributes.

    encoder_config (`PreTrainedConfig` or `dict`, *optional*, defaults to an `EatConfig`):
        Configuration of the encoder, any audio encoder of `AutoModel`.
    pooling (`str`, *optional*, defaults to `"mean"`):
        How tokens become one embedding: `"mean"`, `"cls"` or `"bands"` (see [`~hf_asd.models.pooling.pool`]).
    scale (`float`, *optional*, defaults to 30.0):
        Factor of the cosines before the softmax.
    margin (`float`, *optional*, defaults to 0.2):
        Angle in radians that is added to a clip's angle to its own class in training.
    """

    model_type = "attribute_classifier"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(AutoConfig, model_type="eat")}

    encoder_config: dict | PreTrainedConfig | None = None
    pooling: str = "mean"
    scale: float = 30.0
    margin: float = 0.2
    initializer_range: float = 0.02
