"""Attribute classifier: an encoder with a head that classifies machines and their attributes."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from ..pooling import check_pooling, embedding_size, pool
from .configuration_attribute_classifier import AttributeClassifierConfig
from .heads import Head, make_head
from .running_norm import RunningNorm


@dataclass
class AttributeClassifierOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, float32): mean cross-entropy, if `labels` are given.
        logits (`torch.Tensor` of shape `(clips, num_labels)`, float32): without a margin.
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`): the embeddings that detection uses: the pooled
            encoder output or, with `config.embedding_from` `"projection"`, its projection.
        similarities (`torch.Tensor`): input of the head's loss (see [`~.heads.Head`]).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None
    similarities: torch.Tensor | None = None


class AttributeClassifier(PreTrainedModel):
    """
    An audio encoder with a head over classes made of machine and (true or pseudo) attribute.

    Args:
        config ([`AttributeClassifierConfig`]): `id2label` holds the classes.
    """

    config: AttributeClassifierConfig
    config_class = AttributeClassifierConfig
    base_model_prefix = "encoder"
    main_input_name = "input_values"
    input_modalities = ["audio"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # The loss is a mean over the batch, so the Trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False

    def __init__(self, config: AttributeClassifierConfig):
        super().__init__(config)
        self.encoder_config = cast(PreTrainedConfig, config.encoder_config)
        check_pooling(self.encoder_config, config.pooling, config.pooling_parameter)
        dimensions = embedding_size(self.encoder_config, config.pooling)
        self.encoder = AutoModel.from_config(self.encoder_config)
        self.running_norm = RunningNorm(dimensions)
        self.projection = nn.Identity()
        if config.projection_size is not None:
            self.projection = nn.Linear(dimensions, config.projection_size)
            dimensions = config.projection_size
        self.head = make_head(dimensions, len(config.id2label or {}), config)
        self.post_init()

    def save_pretrained(self, folder, *args, save_original_format: bool = False, **kwargs):
        """
        As `PreTrainedModel.save_pretrained`, with the names of weights in memory: a resumed Trainer reads only these,
        while transformers saves some encoders (AST) with older names.
        """
        super().save_pretrained(folder, *args, save_original_format=save_original_format, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, Head):
            module.init_weights(self.config.initializer_range)
        elif isinstance(module, RunningNorm):
            init.zeros_(module.mean)
            init.ones_(module.variance)
        elif module is self.projection and self.config.projection_size is not None:
            super()._init_weights(module)

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        pooled: torch.Tensor | None = None,
        **kwargs,
    ) -> AttributeClassifierOutput:
        """
        Args:
            input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)` or `(clips, samples)`, float32): from the
                encoder's feature extractor.
            labels (`torch.Tensor` of shape `(clips,)`, int64, *optional*): classes; with them a loss is returned.
            pooled (`torch.Tensor` of shape `(clips, dimensions)`, float32, *optional*): pooled encoder output that was
                computed before, instead of `input_values`.
        """
        if pooled is None:
            hidden_states = self.encoder(input_values, **kwargs).last_hidden_state
            parameter = self.config.pooling_parameter
            pooled = pool(hidden_states, self.config.pooling, self.encoder_config, parameter=parameter)
        projected = self.projection(self.running_norm(pooled))
        similarities = self.head(projected)
        loss = None
        if labels is not None:
            if self.training:
                self.head.adapt(similarities, labels)
            loss = self.head.loss(similarities, labels).mean()
        return AttributeClassifierOutput(
            loss=loss,
            logits=self.head.logits(similarities),
            embeddings=projected if self.config.embedding_from == "projection" else pooled,
            similarities=similarities,
        )
