"""Attribute classifier: an encoder that learns to tell machines and their attributes apart."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ..pooling import check_pooling, embedding_size, pool
from .configuration_attribute_classifier import AttributeClassifierConfig
from .heads import Head, make_head
from .running_norm import RunningNorm


@dataclass
class AttributeClassifierOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`): cross-entropy, when `labels` are given.
        logits (`torch.FloatTensor` of shape `(clips, num_labels)`): without a margin.
        embeddings (`torch.FloatTensor` of shape `(clips, dimensions)`): what detection compares: the pooled encoder
            output or, with `config.embedding_from` `"projection"`, its projection.
        similarities (`torch.FloatTensor`): what the head's loss takes (see [`~.heads.Head`]).
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    embeddings: torch.FloatTensor | None = None
    similarities: torch.FloatTensor | None = None


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
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # The loss is a mean over the batch; the Trainer must not rescale it by a count that this model does not take.
    accepts_loss_kwargs = False

    def __init__(self, config: AttributeClassifierConfig):
        super().__init__(config)
        check_pooling(config.encoder_config, config.pooling)
        dimensions = embedding_size(config.encoder_config, config.pooling)
        self.encoder = AutoModel.from_config(config.encoder_config)
        self.running_norm = RunningNorm(dimensions)
        self.projection = nn.Identity()
        if config.projection_size is not None:
            self.projection = nn.Linear(dimensions, config.projection_size)
            dimensions = config.projection_size
        self.head = make_head(
            config.loss, dimensions, config.num_labels, config.scale, config.margin, config.num_centers
        )
        self.post_init()

    def save_pretrained(self, folder, *args, save_original_format: bool = False, **kwargs):
        """
        As `PreTrainedModel.save_pretrained`, under the names in memory: a Trainer that resumes reads no others, while
        transformers writes some encoders (AST) under older ones.
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
            input_values (`torch.FloatTensor`): what the encoder's feature extractor gives, of shape
                `(clips, frames, mel_bins)` or `(clips, samples)`.
            labels (`torch.LongTensor` of shape `(clips,)`, *optional*): classes; the loss is returned with them.
            pooled (`torch.FloatTensor` of shape `(clips, dimensions)`, *optional*): pooled encoder output that was
                computed before, instead of `input_values`.
        """
        if pooled is None:
            hidden_states = self.encoder(input_values, **kwargs).last_hidden_state
            pooled = pool(hidden_states, self.config.pooling, self.config.encoder_config)
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
