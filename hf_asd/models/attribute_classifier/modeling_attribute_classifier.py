"""Attribute classifier: an encoder that learns to tell machines and their attributes apart."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ...distributed import from_all
from ..pooling import check_pooling, embedding_size, pool
from .configuration_attribute_classifier import AttributeClassifierConfig
from .heads import Head, make_head


MOMENTUM = 0.1  # of a step's clips in the running values, as in torch's batch normalisation


@dataclass
class AttributeClassifierOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`): cross-entropy, when `labels` are given.
        logits (`torch.FloatTensor` of shape `(clips, num_labels)`): without a margin.
        embeddings (`torch.FloatTensor` of shape `(clips, dimensions)`): what detection compares: the pooled encoder
            output or, with `config.detect_on` `"projection"`, its projection.
        similarities (`torch.FloatTensor`): what the head's loss takes (see [`~.heads.Head`]).
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    embeddings: torch.FloatTensor | None = None
    similarities: torch.FloatTensor | None = None


class Standardisation(nn.Module):
    """
    Features less a running mean, divided by a running standard deviation.

    What all clips have in common is most of an encoder's output; a cosine head would see next to nothing but that.
    ArcFace has a batch normalisation in this place. Here the running values normalise in training as well, no gradient
    passes through them, and they move once a step, by the clips of all its batches and processes: so a step is the
    same however its clips are dealt out.

    Args:
        dimensions (`int`): length of the pooled encoder output.

    References:
        S. Ioffe and C. Szegedy 2015, "Batch Normalization"; J. Deng et al. 2019, "ArcFace", section 3.1.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("variance", torch.ones(dimensions))
        self.heard, self.sums = 0, 0.0  # clips since the last update; their deviations and squared deviations

    @torch.no_grad()
    def fit(self, features: torch.Tensor):
        """
        Where the running values start.

        Args:
            features (`torch.Tensor` of shape `(clips, dimensions)`): pooled encoder outputs, float32.
        """
        self.mean.copy_(features.mean(0))
        self.variance.copy_(features.var(0, correction=0))

    @torch.no_grad()
    def update(self):
        """Moves the running values by what all processes heard since the last call; due after each training step."""
        sums, heard = from_all(self.sums[None], torch.tensor([self.heard], device=self.mean.device))
        deviation, square = sums.sum(0) / heard.sum()
        self.mean += MOMENTUM * deviation
        self.variance.lerp_(square, MOMENTUM)
        self.heard, self.sums = 0, 0.0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`(clips, dimensions)` -> the same shape, float32."""
        deviations = features.float() - self.mean
        if self.training:
            heard = deviations.detach()
            self.heard += len(heard)
            self.sums = self.sums + torch.stack([heard.sum(0), heard.square().sum(0)])
        return deviations / (self.variance + 1e-5).sqrt()


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
        self.standardisation = Standardisation(dimensions)
        self.projection = nn.Identity()
        if config.projection_size is not None:
            self.projection = nn.Linear(dimensions, config.projection_size)
            dimensions = config.projection_size
        self.head = make_head(
            config.loss, dimensions, config.num_labels, config.scale, config.margin, config.num_centres
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
        elif isinstance(module, Standardisation):
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
        projected = self.projection(self.standardisation(pooled))
        similarities = self.head(projected)
        loss = None
        if labels is not None:
            if self.training:
                self.head.adapt(similarities, labels)
            loss = self.head.loss(similarities, labels).mean()
        return AttributeClassifierOutput(
            loss=loss,
            logits=self.head.logits(similarities),
            embeddings=projected if self.config.detect_on == "projection" else pooled,
            similarities=similarities,
        )
