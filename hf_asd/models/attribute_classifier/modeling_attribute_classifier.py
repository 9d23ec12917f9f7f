"""Attribute classifier: an encoder that learns to tell machines and their attributes apart."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ..pooling import check_pooling, embedding_size, pool
from .configuration_attribute_classifier import AttributeClassifierConfig


@dataclass
class AttributeClassifierOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`): cross-entropy, when `labels` are given.
        logits (`torch.FloatTensor` of shape `(clips, num_labels)`): scaled cosines without a margin.
        embeddings (`torch.FloatTensor` of shape `(clips, dimensions)`): pooled encoder output, what detection
            compares.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    embeddings: torch.FloatTensor | None = None


class ArcFaceHead(nn.Module):
    """
    Cosine classifier with an additive angular margin on the true class.

    Args:
        dimensions (`int`): length of an embedding.
        num_labels (`int`): number of classes.
        scale (`float`): factor of the cosines.
        margin (`float`): angle in radians.

    References:
        J. Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", equation 3.
    """

    def __init__(self, dimensions: int, num_labels: int, scale: float, margin: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, dimensions))
        self.scale = scale
        self.margin = margin

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Cosines, float32, of shape `(clips, num_labels)`: angles in half precision lose the margin."""
        embeddings = nn.functional.normalize(embeddings.float(), dim=1)
        return embeddings @ nn.functional.normalize(self.weight.float(), dim=1).T

    def loss(self, cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cosines (`torch.Tensor` of shape `(clips, num_labels)`): float32.
            labels (`torch.Tensor` of shape `(clips,)`): int64.
        """
        own = cosines.gather(1, labels[:, None])
        # The gradient of the angle is infinite at a cosine of 1.
        angle = own.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        # Beyond pi the cosine would rise again and reward a clip for lying opposite its class.
        with_margin = (angle + self.margin).clamp_max(torch.pi).cos()
        return nn.functional.cross_entropy(self.scale * cosines.scatter(1, labels[:, None], with_margin), labels)


class AttributeClassifier(PreTrainedModel):
    """
    An audio encoder with an ArcFace head over classes made of machine and (true or pseudo) attribute.

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
        self.head = ArcFaceHead(dimensions, config.num_labels, config.scale, config.margin)
        self.post_init()

    def save_pretrained(self, folder, *args, save_original_format: bool = False, **kwargs):
        """
        As `PreTrainedModel.save_pretrained`, under the names in memory: a Trainer that resumes reads no others, while
        transformers writes some encoders (AST) under older ones.
        """
        super().save_pretrained(folder, *args, save_original_format=save_original_format, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, ArcFaceHead):
            init.normal_(module.weight, std=self.config.initializer_range)

    def forward(
        self, input_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs
    ) -> AttributeClassifierOutput:
        """
        Args:
            input_values (`torch.FloatTensor`): what the encoder's feature extractor gives, of shape
                `(clips, frames, mel_bins)` or `(clips, samples)`.
            labels (`torch.LongTensor` of shape `(clips,)`, *optional*): classes; the loss is returned with them.
        """
        hidden_states = self.encoder(input_values, **kwargs).last_hidden_state
        embeddings = pool(hidden_states, self.config.pooling, self.config.encoder_config)
        cosines = self.head(embeddings)
        loss = None if labels is None else self.head.loss(cosines, labels)
        return AttributeClassifierOutput(loss=loss, logits=self.head.scale * cosines, embeddings=embeddings)
