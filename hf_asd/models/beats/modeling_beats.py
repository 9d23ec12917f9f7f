"""BEATs: a transformer over log-mel patches, with a bias in its attention for the distance of two patches."""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..checkpoint import StrictPreTrainedModel
from ..eat.modeling_eat import EatMLP, eager_attention_forward
from .configuration_beats import BeatsConfig


class BeatsEmbeddings(nn.Module):
    """Patches of the log-mel spectrogram."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(
            1, config.patch_embedding_size, config.patch_size, stride=config.patch_size, bias=False
        )
        self.norm = nn.LayerNorm(config.patch_embedding_size, eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.patch_embedding_size, config.hidden_size)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """`(clips, frames, mel_bins)` -> `(clips, patches, hidden_size)`; an incomplete last patch is dropped."""
        patch_size, bands = self.config.patch_size, self.config.num_mel_bins
        if input_values.shape[-1] != bands or input_values.shape[1] < patch_size:
            raise ValueError(
                f"input_values has the shape {tuple(input_values.shape)}; accepted is (clips, frames, {bands}) with "
                f"at least {patch_size} frames."
            )
        grid = self.patch_embedding(input_values[:, None])
        return self.projection(self.norm(grid.flatten(2).transpose(1, 2)))


class BeatsPositionEmbedding(nn.Module):
    """Position embedding by a convolution over neighboring tokens."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        width = config.num_conv_pos_embeddings
        convolution = nn.Conv1d(
            config.hidden_size,
            config.hidden_size,
            width,
            padding=width // 2,
            groups=config.num_conv_pos_embedding_groups,
        )
        self.convolution = nn.utils.parametrizations.weight_norm(convolution, dim=2)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        tokens = hidden_states.shape[1]
        # An even width returns one more token.
        positions = self.convolution(hidden_states.transpose(1, 2))[..., :tokens]
        return nn.functional.gelu(positions).transpose(1, 2)


class BeatsRelativePositionBias(nn.Module):
    """
    A learned bias of every head for the distance of two tokens; all layers share it.

    References:
        C. Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
        section 2.1: each distance up to a quarter of the buckets has its own; larger ones share buckets that are
        logarithmically spaced.
    """

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.num_buckets = config.num_buckets
        self.max_distance = config.max_distance
        self.embedding = nn.Embedding(config.num_buckets, config.num_attention_heads)

    def buckets(self, distances: torch.Tensor) -> torch.Tensor:
        """Key position minus query position, int64, -> number of the bucket, of the same shape."""
        half = self.num_buckets // 2
        exact = half // 2
        size = distances.abs()
        far = (size.clamp_min(exact).float() / exact).log() / math.log(self.max_distance / exact) * (half - exact)
        bucket = torch.where(size < exact, size, (exact + far.long()).clamp_max(half - 1))
        return bucket + half * (distances > 0)

    def forward(self, tokens: int) -> torch.Tensor:
        """`torch.Tensor` of shape `(1, heads, tokens, tokens)`: a row per query, a column per key."""
        distances = torch.arange(1 - tokens, tokens, device=self.embedding.weight.device)
        by_distance = self.embedding(self.buckets(distances)).T
        places = torch.arange(tokens, device=distances.device)
        return by_distance[:, places - places[:, None] + tokens - 1][None]


class BeatsAttention(nn.Module):
    """Attention with a position bias that a gate scales for every query."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.gate = nn.Linear(self.head_dim, 8)
        self.gate_scale = nn.Parameter(torch.ones(1, config.num_attention_heads, 1, 1))

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_bias: torch.Tensor,
        valid: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        clips, tokens, size = hidden_states.shape
        query, key, value = (
            projection(hidden_states).view(clips, tokens, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        update, reset = self.gate(query).unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        bias = ((update * (reset * self.gate_scale - 1) + 2) * position_bias).to(query.dtype)
        if valid is not None:
            bias = bias.masked_fill(~valid[:, None, None], torch.finfo(bias.dtype).min)
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(
            str(self.config._attn_implementation), eager_attention_forward
        )
        dropout = self.config.attention_dropout if self.training else 0.0
        output, weights = attention(self, query, key, value, bias, dropout=dropout, scaling=self.scaling, **kwargs)
        return self.out_proj(output.reshape(clips, tokens, size)), weights


class BeatsLayer(GradientCheckpointingLayer):
    """
    A transformer layer with its norms after attention and MLP, and with a scaled residual.

    References:
        H. Wang et al. 2022, "DeepNet: Scaling Transformers to 1,000 Layers", section 3.
    """

    def __init__(self, config: BeatsConfig):
        super().__init__()
        assert config.residual_scale is not None  # the config computes it
        self.residual_scale = config.residual_scale
        self.attention = BeatsAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = EatMLP(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_bias: torch.Tensor,
        valid: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        attended, _ = self.attention(hidden_states, position_bias, valid, **kwargs)
        hidden_states = self.norm1(self.residual_scale * hidden_states + self.dropout(attended))
        return self.norm2(self.residual_scale * hidden_states + self.dropout(self.mlp(hidden_states)))


class BeatsPreTrainedModel(StrictPreTrainedModel):
    config: BeatsConfig
    config_class = BeatsConfig
    base_model_prefix = "beats"
    main_input_name = "input_values"
    input_modalities = ["audio"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["BeatsLayer"]
    _supports_sdpa = True  # flash attention takes no bias
    _can_record_outputs = {"hidden_states": BeatsLayer, "attentions": BeatsAttention}

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BeatsAttention):
            init.ones_(module.gate_scale)


class BeatsModel(BeatsPreTrainedModel):
    """
    The BEATs encoder, of the third iteration (iter3 and iter3+).

    Args:
        config ([`BeatsConfig`]): the model's shape.
    """

    def __init__(self, config: BeatsConfig):
        super().__init__(config)
        self.embeddings = BeatsEmbeddings(config)
        self.position_embedding = BeatsPositionEmbedding(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.relative_position_bias = BeatsRelativePositionBias(config)
        self.layers = nn.ModuleList([BeatsLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embedding

    @can_return_tuple
    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutput:
        """
        Args:
            input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`, float32): from
                [`BeatsFeatureExtractor`], of any length.
            attention_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*): nonzero for the frames of the
                recording, 0 for padding. Patches with padding are masked; their own outputs are meaningless.

        Returns:
            `BaseModelOutput`: `last_hidden_state` of shape `(clips, patches, hidden_size)`, patches row-major (time,
            frequency).
        """
        hidden_states = self.embeddings(input_values)
        valid = None
        if attention_mask is not None:
            bands = self.config.num_mel_bins // self.config.patch_size
            valid = attention_mask.bool().unfold(1, self.config.patch_size, self.config.patch_size).all(-1)
            valid = valid.repeat_interleave(bands, 1)
            hidden_states = hidden_states.masked_fill(~valid[..., None], 0.0)
        hidden_states = self.dropout(self.norm(hidden_states + self.position_embedding(hidden_states)))
        position_bias = self.relative_position_bias(hidden_states.shape[1])
        for layer in self.layers:
            # Both as positional arguments: with gradient checkpointing, keyword arguments get no gradient.
            hidden_states = layer(hidden_states, position_bias, valid, **kwargs)
        return BaseModelOutput(last_hidden_state=hidden_states)
