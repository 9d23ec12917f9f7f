"""EAT: a vision transformer over log-mel patches."""

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..checkpoint import StrictPreTrainedModel
from .configuration_eat import EatConfig


# Names in the published weights, and ours; applied one after the other.
PUBLISHED_KEYS = {
    r"^model\.": "",
    r"^local_encoder\.proj\.": "embeddings.patch_embedding.",
    r"^extra_tokens$": "embeddings.cls_token",
    r"^pre_norm\.": "norm.",
    r"^blocks\.": "layers.",
    r"\.attn\.": ".attention.",
}
# Fixed positions are computed, and an encoder does not need the head of a fine-tuned model.
UNUSED_KEYS = (r"^fixed_positional_encoder\.", r"^fc_norm\.", r"^head\.")


def sincos_positions(steps: int, bands: int, size: int, device: torch.device) -> torch.Tensor:
    """
    Fixed two-dimensional position embeddings: the first half of the channels encodes the band, the second the time
    step.

    Args:
        steps (`int`): patches along time.
        bands (`int`): patches along frequency.
        size (`int`): channels, a multiple of 4.
        device (`torch.device`): of the result.

    Returns:
        `torch.Tensor` of shape `(steps * bands, size)`, float32, rows in the order (time, frequency).

    References:
        A. Vaswani et al. 2017, "Attention Is All You Need", section 3.5; in two dimensions: K. He et al. 2022,
        "Masked Autoencoders Are Scalable Vision Learners", section 3.
    """
    # In double precision: for time steps of several hundred, the sine in single precision is inaccurate. On the CPU:
    # Apple's GPU has no double precision.
    rates = 10_000 ** -(torch.arange(size // 4, dtype=torch.float64) / (size // 4))

    def along(length: int) -> torch.Tensor:
        angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1).float().to(device)

    frequency = along(bands)[None].expand(steps, -1, -1)
    time = along(steps)[:, None].expand(-1, bands, -1)
    return torch.cat([frequency, time], dim=-1).flatten(0, 1)


class EatEmbeddings(nn.Module):
    """Patches of the log-mel spectrogram with their positions."""

    def __init__(self, config: EatConfig):
        super().__init__()
        self.patch_size = config.patch_size
        self.num_mel_bins = config.num_mel_bins
        self.patch_embedding = nn.Conv2d(1, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """`(clips, frames, mel_bins)` -> `(clips, patches, hidden_size)`; an incomplete last patch is dropped."""
        if input_values.shape[-1] != self.num_mel_bins or input_values.shape[1] < self.patch_size:
            raise ValueError(
                f"input_values has the shape {tuple(input_values.shape)}; accepted is (clips, frames, "
                f"{self.num_mel_bins}) with at least {self.patch_size} frames."
            )
        grid = self.patch_embedding(input_values[:, None])
        positions = sincos_positions(grid.shape[2], grid.shape[3], grid.shape[1], grid.device)
        return grid.flatten(2).transpose(1, 2) + positions.to(grid.dtype)


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Attention in plain operations, which returns attention weights; SDPA is the default."""
    weights = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class EatAttention(nn.Module):
    def __init__(self, config: EatConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        clips, tokens, size = hidden_states.shape
        query, key, value = (
            part.view(clips, tokens, -1, self.head_dim).transpose(1, 2)
            for part in self.qkv(hidden_states).split(size, dim=-1)
        )
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(
            str(self.config._attn_implementation), eager_attention_forward
        )
        dropout = self.config.attention_dropout if self.training else 0.0
        output, weights = attention(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.proj(output.reshape(clips, tokens, size)), weights


class EatMLP(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation(self.fc1(hidden_states)))


class EatLayer(GradientCheckpointingLayer):
    """A transformer layer with its norms after attention and MLP."""

    def __init__(self, config: EatConfig):
        super().__init__()
        self.attention = EatAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = EatMLP(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self, hidden_states: torch.Tensor, with_mlp_output: bool = False, **kwargs
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The layer's output, and its MLP's output before the residual: pre-training predicts the latter."""
        attended, _ = self.attention(hidden_states, **kwargs)
        hidden_states = self.norm1(hidden_states + self.dropout(attended))
        mlp_output = self.mlp(hidden_states)
        hidden_states = self.norm2(hidden_states + self.dropout(mlp_output))
        return (hidden_states, mlp_output) if with_mlp_output else hidden_states


def pytorch_default_(layer: nn.Conv2d | nn.Linear) -> None:
    """PyTorch's own initial weights: uniform, up to one over the square root of the inputs of an output."""
    bound = layer.weight[0].numel() ** -0.5
    init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound)


class EatPreTrainedModel(StrictPreTrainedModel):
    config: EatConfig
    config_class = EatConfig
    published_keys = PUBLISHED_KEYS
    base_model_prefix = "eat"
    main_input_name = "input_values"
    input_modalities = ["audio"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["EatLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": EatLayer, "attentions": EatAttention}
    _keys_to_ignore_on_load_unexpected = set(UNUSED_KEYS)

    def save_pretrained(self, folder, *args, save_original_format: bool = False, **kwargs):
        """As `PreTrainedModel.save_pretrained`, with our own names of weights: a resumed Trainer reads only these."""
        super().save_pretrained(folder, *args, save_original_format=save_original_format, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if not isinstance(module, EatEmbeddings):
            return
        if self.config.initial_weights == "normal":
            init.normal_(module.cls_token, std=self.config.initializer_range)
        else:
            init.normal_(module.cls_token)
            convolution = module.patch_embedding
            pytorch_default_(convolution)
            # Xavier's bound for a matrix: a standard deviation of .044 for EAT-base.
            bound = (6 / (len(convolution.weight) + convolution.weight[0].numel())) ** 0.5
            init.uniform_(convolution.weight, -bound, bound)


class EatModel(EatPreTrainedModel):
    """
    The EAT encoder.

    Args:
        config ([`EatConfig`]): the model's shape.
    """

    # The other parts of a checkpoint of pre-training.
    _keys_to_ignore_on_load_unexpected = {*UNUSED_KEYS, r"^decoder\.", r"^(teacher_)?projector\.", r"^teacher\."}

    def __init__(self, config: EatConfig):
        super().__init__(config)
        self.embeddings = EatEmbeddings(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList([EatLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embedding

    def with_cls(self, patches: torch.Tensor) -> torch.Tensor:
        """The input of the first layer: the CLS token and all (or all visible) patches, normalized."""
        cls_token = self.embeddings.cls_token.expand(patches.shape[0], -1, -1)
        return self.norm(torch.cat([cls_token, patches], dim=1))

    @can_return_tuple
    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """
        Args:
            input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`, float32): from
                [`EatFeatureExtractor`], of any length.
            attention_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*): nonzero for the frames of the
                recording, 0 for padding. Patches of padding only are masked; their own outputs are meaningless.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` of shape `(clips, 1 + patches, hidden_size)`, the CLS
            token first, then patches row-major (time, frequency); `pooler_output`, the CLS token.
        """
        hidden_states = self.with_cls(self.embeddings(input_values))
        if attention_mask is not None:
            bands = self.config.num_mel_bins // self.config.patch_size
            valid = attention_mask.bool().unfold(1, self.config.patch_size, self.config.patch_size).any(-1)
            valid = nn.functional.pad(valid.repeat_interleave(bands, 1), (1, 0), value=True)  # the CLS token
            attention_mask = create_bidirectional_mask(
                config=self.config, inputs_embeds=hidden_states, attention_mask=valid
            )
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask=attention_mask, **kwargs)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=hidden_states[:, 0])
