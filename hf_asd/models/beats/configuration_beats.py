"""BEATs configuration."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig


@strict
class BeatsConfig(PreTrainedConfig):
    r"""
    BEATs (S. Chen et al. 2023, arXiv 2212.09058). The defaults are the published size, with 90 M parameters.

    hidden_size (`int`, *optional*, defaults to 768), num_hidden_layers (`int`, *optional*, defaults to 12),
    num_attention_heads (`int`, *optional*, defaults to 12), intermediate_size (`int`, *optional*, defaults to 3072):
        The encoder's shape; `hidden_size` is a multiple of the number of heads.
    patch_embedding_size (`int`, *optional*, defaults to 512):
        Channels of a patch before it is projected to `hidden_size`.
    patch_size (`int`, *optional*, defaults to 16):
        Frames and mel bands per patch.
    num_mel_bins (`int`, *optional*, defaults to 128):
        Mel bands, a multiple of `patch_size`.
    num_conv_pos_embeddings (`int`, *optional*, defaults to 128),
    num_conv_pos_embedding_groups (`int`, *optional*, defaults to 16):
        Position embedding by a convolution: its width in tokens and its groups; `hidden_size` is a multiple of the
        groups.
    num_buckets (`int`, *optional*, defaults to 320), max_distance (`int`, *optional*, defaults to 800):
        Relative position bias: number of buckets, a multiple of 4, and the distance in tokens above which all
        distances share one bucket, more than a quarter of `num_buckets`.
    residual_scale (`float`, *optional*):
        Factor of the residual, DeepNorm's alpha; by default `(2 * num_hidden_layers) ** 0.25`. It is kept if layers
        are removed, because the others were trained with it.
    attention_dropout (`float`, *optional*, defaults to 0.0), hidden_dropout (`float`, *optional*, defaults to 0.0):
        Dropout of attention weights, and before the layers and after attention and MLP.
    """

    model_type = "beats"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    patch_embedding_size: int = 512
    patch_size: int = 16
    num_mel_bins: int = 128
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    num_buckets: int = 320
    max_distance: int = 800
    residual_scale: float | None = None
    attention_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        accepted = {
            "hidden_size": (
                self.hidden_size % self.num_attention_heads or self.hidden_size % self.num_conv_pos_embedding_groups,
                f"multiples of num_attention_heads ({self.num_attention_heads}) and of num_conv_pos_embedding_groups "
                f"({self.num_conv_pos_embedding_groups})",
            ),
            "num_mel_bins": (self.num_mel_bins % self.patch_size, f"multiples of patch_size ({self.patch_size})"),
            "num_buckets": (self.num_buckets % 4 or self.num_buckets < 4, "multiples of 4"),
            "max_distance": (
                self.max_distance <= self.num_buckets // 4,
                f"values above a quarter of num_buckets ({self.num_buckets})",
            ),
        }
        for name, (refused, values) in accepted.items():
            if refused:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted are {values}.")
        if self.residual_scale is None:
            self.residual_scale = (2 * self.num_hidden_layers) ** 0.25
        super().__post_init__(**kwargs)


AutoConfig.register(BeatsConfig.model_type, BeatsConfig, exist_ok=True)
