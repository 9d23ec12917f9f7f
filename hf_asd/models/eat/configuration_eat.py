"""EAT configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class EatConfig(PreTrainedConfig):
    r"""
    Efficient Audio Transformer (W. Chen et al. 2024, arXiv 2401.03497). The defaults are EAT-base.

    hidden_size (`int`, *optional*, defaults to 768), num_hidden_layers (`int`, *optional*, defaults to 12),
    num_attention_heads (`int`, *optional*, defaults to 12), intermediate_size (`int`, *optional*, defaults to 3072):
        The encoder's shape; `hidden_size` is a multiple of 4 and of the number of heads.
    patch_size (`int`, *optional*, defaults to 16):
        Frames and mel bands a patch.
    num_mel_bins (`int`, *optional*, defaults to 128):
        Mel bands, a multiple of `patch_size`.
    attention_dropout (`float`, *optional*, defaults to 0.0), hidden_dropout (`float`, *optional*, defaults to 0.0):
        Dropout of attention weights, and behind attention and MLP.
    average_top_k_layers (`int`, *optional*):
        Pre-training: last blocks whose outputs make the teacher's target; all by default.
    decoder_layers (`int`, *optional*, defaults to 6), decoder_groups (`int`, *optional*, defaults to 16):
        Pre-training: convolutions of the decoder and their groups, which divide `hidden_size`.
    """

    model_type = "eat"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    patch_size: int = 16
    num_mel_bins: int = 128
    attention_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    initializer_range: float = 0.02
    average_top_k_layers: int | None = None
    decoder_layers: int = 6
    decoder_groups: int = 16

    def __post_init__(self, **kwargs):
        if self.hidden_size % 4 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}; accepted are multiples of 4 and of num_attention_heads "
                f"({self.num_attention_heads})."
            )
        if self.num_mel_bins % self.patch_size:
            raise ValueError(
                f"num_mel_bins is {self.num_mel_bins}; accepted are multiples of patch_size ({self.patch_size})."
            )
        super().__post_init__(**kwargs)
