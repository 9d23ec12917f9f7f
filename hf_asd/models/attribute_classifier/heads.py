"""Classification heads with their losses: softmax, and cosine classifiers, some with a margin on the true class."""

import math

import torch
from torch import nn
from transformers import initialization as init

from ...distributed import gather_rows
from .configuration_attribute_classifier import AttributeClassifierConfig


class Head(nn.Module):
    """
    The three steps of every head: `forward` compares embeddings with classes, `logits` turns similarities into logits,
    in training with a margin on the true class, and `loss` computes the loss. All of them work in float32, also under
    autocast: half precision is too coarse for the margin.

    Args:
        dimensions (`int`): length of an embedding.
        num_labels (`int`): number of classes, two or more.
        config ([`AttributeClassifierConfig`]): of which a head reads the options that it has: `scale`, `margin`,
            `num_centers`, `fixed_centers`.
    """

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__()

    def init_weights(self, std: float) -> None:
        """Draws the initial weights; `std` is their standard deviation."""
        raise NotImplementedError

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """
        Args:
            embeddings (`torch.Tensor` of shape `(clips, dimensions)`): any floating-point type.

        Returns:
            `torch.Tensor` of shape `(clips, num_labels)`, float32; for [`SubClusterAdaCosHead`]
            `(clips, num_labels, num_centers)`.
        """
        raise NotImplementedError

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            similarities (`torch.Tensor`): of `forward`.
            labels (`torch.Tensor` of shape `(clips,)`, *optional*): the classes that get the margin, int64.

        Returns:
            `torch.Tensor` of shape `(clips, num_labels)`, float32.
        """
        raise NotImplementedError

    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor) -> None:
        """Sets an adaptive scale from a batch; called for every batch in training. Other heads do nothing."""

    def loss(self, similarities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """
        Args:
            similarities (`torch.Tensor`): of `forward`.
            labels (`torch.Tensor` of shape `(clips,)`): classes, int64.

        Returns:
            `torch.Tensor` of shape `(clips,)`, float32: cross-entropy of every clip, to be weighted and averaged.
        """
        return nn.functional.cross_entropy(self.logits(similarities, labels), labels, reduction="none")


class SoftmaxHead(Head):
    """Linear classifier; it has no options."""

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__(dimensions, num_labels, config)
        self.weight = nn.Parameter(torch.empty(num_labels, dimensions))
        self.bias = nn.Parameter(torch.empty(num_labels))

    def init_weights(self, std: float) -> None:
        init.normal_(self.weight, std=std)
        init.zeros_(self.bias)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            return nn.functional.linear(embeddings.float(), self.weight.float(), self.bias.float())

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return similarities


class ArcFaceHead(Head):
    """
    Cosine classifier with an additive angular margin on the true class. It reads `scale`, factor of the cosines,
    `margin`, an angle in radians, and `fixed_centers`.

    References:
        J. Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", equation 3. For angles
        above pi - margin, where the cosine of the sum would rise again, its authors' code goes on with
        `cosine - margin * sin(margin)`.
    """

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__(dimensions, num_labels, config)
        self.weight = centers(num_labels, dimensions, config)
        self.scale = config.scale
        self.margin = config.margin

    def init_weights(self, std: float) -> None:
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight)

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        if labels is not None:
            own = similarities.gather(1, labels[:, None])
            theta = angle(own)
            beyond = own - self.margin * math.sin(self.margin)
            with_margin = torch.where(theta <= math.pi - self.margin, (theta + self.margin).cos(), beyond)
            similarities = similarities.scatter(1, labels[:, None], with_margin)
        return self.scale * similarities


class SubCenterArcFaceHead(ArcFaceHead):
    """
    ArcFace with several centers per class, of which the nearest is used: a class may have several modes, and clips
    with a wrong label get a center of their own. It reads `scale`, `margin`, `fixed_centers` and `num_centers`,
    centers per class.

    References:
        J. Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces",
        section 3.
    """

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__(dimensions, num_labels * config.num_centers, config)
        self.num_centers = config.num_centers

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return super().forward(embeddings).unflatten(1, (-1, self.num_centers)).amax(2)


class AdaptiveHead(Head):
    """
    A cosine classifier that computes its scale from every batch (the batches of all processes together), so that
    neither scale nor margin has to be chosen.

    With two classes the first scale of the papers would be 0, and with few classes a later one can become so small
    that nothing is learned any more: here a scale is at least 1.

    Args:
        total_centers (`int`): of all classes together.

    References:
        X. Zhang et al. 2019, "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face
        Representations", section 3.3: first scale sqrt(2) log(C - 1), then log(B_avg) / cos(min(pi / 4, median
        angle to the own class)), where B_avg is the mean over clips of the sum over the other classes of
        exp(scale cosine).
    """

    scale: torch.Tensor

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig, total_centers: int):
        super().__init__(dimensions, num_labels, config)
        self.first_scale = max(math.sqrt(2) * math.log(total_centers - 1), 1.0)
        # A buffer, because resumed training and a loaded model need the last scale.
        self.register_buffer("scale", torch.tensor(self.first_scale))

    def init_weights(self, std: float) -> None:
        init.constant_(self.scale, self.first_scale)

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.scale * similarities

    @torch.no_grad()
    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor) -> None:
        own = similarities.gather(1, labels[:, None])
        others = (self.scale * similarities).scatter(1, labels[:, None], -torch.inf)
        self._set_scale(others, own)

    def _set_scale(self, exponents: torch.Tensor, own: torch.Tensor) -> None:
        exponents, own = gather_rows(exponents, own)
        log_average = exponents.flatten().logsumexp(0) - math.log(len(exponents))
        median = angle(own).quantile(0.5)
        self.scale.copy_((log_average / median.clamp_max(math.pi / 4).cos()).clamp_min(1.0))


class AdaCosHead(AdaptiveHead):
    """
    AdaCos: one center per class. It reads `fixed_centers`.

    References:
        as for [`AdaptiveHead`].
    """

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__(dimensions, num_labels, config, num_labels)
        self.weight = centers(num_labels, dimensions, config)

    def init_weights(self, std: float) -> None:
        super().init_weights(std)
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight)


class SubClusterAdaCosHead(AdaptiveHead):
    """
    AdaCos with several centers per class, whose probabilities are added: a class may have any distribution on the
    sphere. It reads `num_centers`, centers per class, and `fixed_centers`, as in the paper.

    References:
        K. Wilkinghoff 2021, "Sub-Cluster AdaCos: Learning Representations for Anomalous Sound Detection", section
        III: B_avg sums over all centers, and the median angle is that of all pairs of a clip and a center of its
        class.
    """

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        super().__init__(dimensions, num_labels, config, num_labels * config.num_centers)
        self.num_centers = config.num_centers
        self.weight = centers(num_labels * config.num_centers, dimensions, config)

    def init_weights(self, std: float) -> None:
        super().init_weights(std)
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight).unflatten(1, (-1, self.num_centers))

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return (self.scale * similarities).logsumexp(2)

    @torch.no_grad()
    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor) -> None:
        own = similarities[torch.arange(len(labels), device=labels.device), labels]
        self._set_scale(self.scale * similarities, own)


class AdaProjHead(AdaptiveHead):
    """
    AdaCos over subspaces: a class is the span of several fixed random directions, and a clip's cosine is that of the
    angle between the clip and its projection on the span. It reads `num_centers`, dimensions of a class's subspace,
    which must be smaller than the embedding's.

    Raises:
        ValueError: `num_centers` is not smaller than `dimensions`.

    References:
        K. Wilkinghoff 2024, "AdaProj: Adaptively Scaled Angular Margin Subspace Projections for Anomalous Sound
        Detection with Auxiliary Classification Tasks". Its logit is the negative squared distance between the clip and
        its projection, both on the unit sphere: 2 cosine - 2, whose constant cancels in the softmax and whose factor
        is part of the scale. In its B_avg the own class has a term, too: exp(0), as in the code that its author
        contributed to ASDKit.
    """

    bases: torch.Tensor

    def __init__(self, dimensions: int, num_labels: int, config: AttributeClassifierConfig):
        if config.num_centers >= dimensions:
            raise ValueError(
                f"num_centers is {config.num_centers}; with adaproj it must be below the number of dimensions of an "
                f"embedding, here {dimensions}."
            )
        super().__init__(dimensions, num_labels, config, num_labels)
        self.register_buffer("bases", torch.empty(num_labels, dimensions, config.num_centers))

    def init_weights(self, std: float) -> None:
        super().init_weights(std)
        init.copy_(self.bases, torch.linalg.qr(torch.randn(self.bases.shape)).Q)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = nn.functional.normalize(embeddings.float(), dim=1)
            return torch.einsum("bd,cdk->bck", unit, self.bases.float()).norm(dim=2)

    @torch.no_grad()
    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor) -> None:
        own = similarities.gather(1, labels[:, None])
        self._set_scale((self.scale * similarities).scatter(1, labels[:, None], 0.0), own)


def centers(count: int, dimensions: int, config: AttributeClassifierConfig) -> nn.Parameter:
    """Centers of classes, of shape `(count, dimensions)`; with `fixed_centers` they keep their random directions."""
    return nn.Parameter(torch.empty(count, dimensions), requires_grad=not config.fixed_centers)


def cosines(embeddings: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """
    Cosines of the angles between embeddings and directions, float32 also under autocast.

    Args:
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`), directions (`torch.Tensor` of shape
            `(directions, dimensions)`): any floating-point type, any length.

    Returns:
        `torch.Tensor` of shape `(clips, directions)`, float32.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = nn.functional.normalize(embeddings.float(), dim=1)
        return unit @ nn.functional.normalize(directions.float(), dim=1).T


def angle(cosine: torch.Tensor) -> torch.Tensor:
    """Angles in radians; cosines are clamped just inside -1 and 1, where the gradient is infinite."""
    return cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()


# Loss -> its head; all are made from the same arguments.
HEADS: dict[str, type[Head]] = {
    "softmax": SoftmaxHead,
    "arcface": ArcFaceHead,
    "subcenter_arcface": SubCenterArcFaceHead,
    "adacos": AdaCosHead,
    "subcluster_adacos": SubClusterAdaCosHead,
    "adaproj": AdaProjHead,
}


def make_head(dimensions: int, num_labels: int, config: AttributeClassifierConfig) -> Head:
    """
    The head of the config's loss.

    Args:
        dimensions, num_labels, config: as for [`Head`].

    Raises:
        ValueError: an unknown loss.
    """
    if config.loss not in HEADS:
        raise ValueError(f"loss is {config.loss!r}; accepted are {', '.join(HEADS)}.")
    return HEADS[config.loss](dimensions, num_labels, config)
