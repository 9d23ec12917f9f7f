"""EAT configuration."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig


# Names in the configurations published beside EAT's weights, and ours.
PUBLISHED_NAMES = {
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mel_bins": "num_mel_bins",
    "norm_eps": "layer_norm_eps",
}
# Options of published configurations of which this model supports one value only.
PUBLISHED_FIXED = {"in_chans": 1, "layer_norm_first": False, "norm_affine": True, "fixed_positions": True}
# Options that do not change the encoder: its head, the length of its position table, regularization in training, and
# the code that is published with the weights.
PUBLISHED_UNUSED = (
    *("auto_map", "model_variant", "num_classes", "max_length", "img_size", "drop_rate", "attn_drop_rate"),
    *("activation_dropout", "post_mlp_drop", "start_drop_path_rate", "end_drop_path_rate"),
)
INITIAL_WEIGHTS = ("published", "normal")


@strict
class EatConfig(PreTrainedConfig):
    r"""
    Efficient Audio Transformer (W. Chen et al. 2024, arXiv 2401.03497). The defaults are EAT-base. The configurations
    published beside EAT's weights (`embed_dim`, `depth`, ...) are read as well.

    hidden_size (`int`, *optional*, defaults to 768), num_hidden_layers (`int`, *optional*, defaults to 12),
    num_attention_heads (`int`, *optional*, defaults to 12), intermediate_size (`int`, *optional*, defaults to 3072):
        The encoder's shape; `hidden_size` is a multiple of 4 and of the number of heads.
    patch_size (`int`, *optional*, defaults to 16):
        Frames and mel bands per patch.
    num_mel_bins (`int`, *optional*, defaults to 128):
        Mel bands, a multiple of `patch_size`.
    attention_dropout (`float`, *optional*, defaults to 0.0), hidden_dropout (`float`, *optional*, defaults to 0.0):
        Dropout of attention weights, and after attention and MLP.
    average_top_k_layers (`int`, *optional*):
        Pre-training: number of last layers whose outputs are the teacher's target; all by default.
    decoder_layers (`int`, *optional*, defaults to 6), decoder_groups (`int`, *optional*, defaults to 16),
    decoder_kernel (`int`, *optional*, defaults to 3):
        Pre-training: convolutions of the decoder, their groups and the side of their kernels, an odd number;
        `hidden_size` is a multiple of the groups. EAT-large has 3 layers with kernels of 5.
    initial_weights (`str`, *optional*, defaults to `"published"`):
        Weights before training: `"published"`, as in EAT's code; or `"normal"`, where the CLS token and convolutions,
        too, are normal with the standard deviation `initializer_range`.
    projection_size (`int`, *optional*):
        Pre-training: dimensions of the contrastive loss between clips; by default there is no such loss.
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
    decoder_kernel: int = 3
    initial_weights: str = "published"
    projection_size: int | None = None

    def __post_init__(self, **kwargs):
        kwargs = self._read_published(kwargs)
        if self.hidden_size % 4 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}; accepted are multiples of 4 and of num_attention_heads "
                f"({self.num_attention_heads})."
            )
        if self.num_mel_bins % self.patch_size:
            raise ValueError(
                f"num_mel_bins is {self.num_mel_bins}; accepted are multiples of patch_size ({self.patch_size})."
            )
        if self.decoder_kernel % 2 == 0:
            raise ValueError(f"decoder_kernel is {self.decoder_kernel}; accepted are odd numbers.")
        if self.initial_weights not in INITIAL_WEIGHTS:
            raise ValueError(
                f"initial_weights is {self.initial_weights!r}; accepted are {', '.join(INITIAL_WEIGHTS)}."
            )
        super().__post_init__(**kwargs)

    def _read_published(self, options: dict) -> dict:
        """Reads published options and returns the others."""
        for name, value in (PUBLISHED_FIXED | {"stride": self.patch_size}).items():
            found = options.pop(name, value)
            if found != value:
                raise ValueError(f"{name} is {found!r}; EatModel accepts {value!r} only.")
        if "embed_dim" in options:
            self.intermediate_size = int(options["embed_dim"] * options.pop("mlp_ratio", 4))
        for name, own in PUBLISHED_NAMES.items():
            if name in options:
                setattr(self, own, options.pop(name))
        return {name: value for name, value in options.items() if name not in PUBLISHED_UNUSED}


AutoConfig.register(EatConfig.model_type, EatConfig, exist_ok=True)
