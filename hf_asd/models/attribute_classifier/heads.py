"""Heads over embeddings with their losses: softmax, and cosine classifiers with a margin on the true class alone."""

import math

import torch
from torch import nn
from transformers import initialization as init

from ...distributed import gather_rows


class Head(nn.Module):
    """
    What every head does, in three steps: `forward` compares embeddings with classes, `logits` turns that into logits,
    in training with a margin on the true class, and `loss` into a loss. All work in float32, also under autocast:
    angles in half precision lose the margin.
    """

    def init_weights(self, std: float):
        """Draws what the head learns from; `std` is the standard deviation of weights."""
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

    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor):
        """Sets an adaptive scale from a batch; called once a training step. Heads without one do nothing."""

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
    """
    Linear classifier.

    Args:
        dimensions (`int`): length of an embedding.
        num_labels (`int`): number of classes, two or more.
    """

    def __init__(self, dimensions: int, num_labels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, dimensions))
        self.bias = nn.Parameter(torch.empty(num_labels))

    def init_weights(self, std: float):
        init.normal_(self.weight, std=std)
        init.zeros_(self.bias)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            return nn.functional.linear(embeddings.float(), self.weight.float(), self.bias.float())

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return similarities


class ArcFaceHead(Head):
    """
    Cosine classifier with an additive angular margin on the true class.

    Args:
        dimensions (`int`): length of an embedding.
        num_labels (`int`): number of classes, two or more.
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

    def init_weights(self, std: float):
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight)

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        if labels is not None:
            own = similarities.gather(1, labels[:, None])
            # Beyond pi the cosine would rise again and reward a clip for lying opposite its class.
            with_margin = (angle(own) + self.margin).clamp_max(math.pi).cos()
            similarities = similarities.scatter(1, labels[:, None], with_margin)
        return self.scale * similarities


class SubCenterArcFaceHead(ArcFaceHead):
    """
    ArcFace with several centers a class, of which the nearest counts: a class may have several modes, and clips with a
    wrong label gather around a center of their own.

    Args:
        dimensions, num_labels, scale, margin: as for [`ArcFaceHead`].
        num_centers (`int`): centers a class.

    References:
        J. Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces",
        section 3.
    """

    def __init__(self, dimensions: int, num_labels: int, scale: float, margin: float, num_centers: int):
        super().__init__(dimensions, num_labels * num_centers, scale, margin)
        self.num_centers = num_centers

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return super().forward(embeddings).unflatten(1, (-1, self.num_centers)).amax(2)


class AdaptiveHead(Head):
    """
    A cosine classifier whose scale follows from every batch, that of all processes together: no scale and no margin
    have to be chosen.

    With two classes the first scale of the papers would be 0, and with few the later ones can fall below it, which
    ends learning: none here is below 1.

    Args:
        num_centers (`int`): of all classes together.

    References:
        X. Zhang et al. 2019, "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face
        Representations", section 3.3: first scale sqrt(2) log(C - 1), then log(B_avg) / cos(min(pi / 4, median
        angle to the own class)), where B_avg is the mean over clips of the sum over the other classes of
        exp(scale cosine).
    """

    def __init__(self, num_centers: int):
        super().__init__()
        self.first_scale = max(math.sqrt(2) * math.log(num_centers - 1), 1.0)
        # A buffer, because training that goes on and logits after a reload need the scale that was reached.
        self.register_buffer("scale", torch.tensor(self.first_scale))

    def init_weights(self, std: float):
        init.constant_(self.scale, self.first_scale)

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.scale * similarities

    @torch.no_grad()
    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor):
        own = similarities.gather(1, labels[:, None])
        others = (self.scale * similarities).scatter(1, labels[:, None], -torch.inf)
        self._set_scale(others, own)

    def _set_scale(self, exponents: torch.Tensor, own: torch.Tensor):
        exponents, own = gather_rows(exponents, own)
        log_average = exponents.flatten().logsumexp(0) - math.log(len(exponents))
        median = angle(own).quantile(0.5)
        self.scale.copy_((log_average / median.clamp_max(math.pi / 4).cos()).clamp_min(1.0))


class AdaCosHead(AdaptiveHead):
    """
    AdaCos: one center a class.

    Args:
        dimensions, num_labels: as for [`ArcFaceHead`].

    References:
        as for [`AdaptiveHead`].
    """

    def __init__(self, dimensions: int, num_labels: int):
        super().__init__(num_labels)
        self.weight = nn.Parameter(torch.empty(num_labels, dimensions))

    def init_weights(self, std: float):
        super().init_weights(std)
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight)


class SubClusterAdaCosHead(AdaptiveHead):
    """
    AdaCos with several centers a class whose probabilities add up: a class may have any distribution on the sphere.

    Args:
        dimensions, num_labels: as for [`ArcFaceHead`].
        num_centers (`int`): centers a class.

    References:
        K. Wilkinghoff 2021, "Sub-Cluster AdaCos: Learning Representations for Anomalous Sound Detection"; B_avg sums
        over all centers. The median angle here is that to the nearest center of the own class.
    """

    def __init__(self, dimensions: int, num_labels: int, num_centers: int):
        super().__init__(num_labels * num_centers)
        self.num_centers = num_centers
        self.weight = nn.Parameter(torch.empty(num_labels * num_centers, dimensions))

    def init_weights(self, std: float):
        super().init_weights(std)
        init.normal_(self.weight, std=std)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return cosines(embeddings, self.weight).unflatten(1, (-1, self.num_centers))

    def logits(self, similarities: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return (self.scale * similarities).logsumexp(2)

    @torch.no_grad()
    def adapt(self, similarities: torch.Tensor, labels: torch.Tensor):
        own = similarities[torch.arange(len(labels), device=labels.device), labels].amax(1)
        self._set_scale(self.scale * similarities, own)


class AdaProjHead(AdaptiveHead):
    """
    AdaCos over subspaces: a class is the span of several fixed random directions, and a clip's cosine is that of the
    angle between the clip and its projection on the span.

    Args:
        dimensions, num_labels: as for [`ArcFaceHead`].
        num_centers (`int`): dimensions of a class's subspace, fewer than `dimensions`.

    References:
        K. Wilkinghoff 2024, "AdaProj: Adaptively Scaled Angular Margin Subspace Projections for Anomalous Sound
        Detection with Auxiliary Classification Tasks". Its logit is the negative squared distance between the clip and
        its projection, both on the unit sphere: 2 cosine - 2, whose constant cancels in the softmax and whose factor
        is part of the scale.
    """

    def __init__(self, dimensions: int, num_labels: int, num_centers: int):
        if num_centers >= dimensions:
            raise ValueError(
                f"num_centers is {num_centers}; a subspace of embeddings with {dimensions} dimensions has fewer."
            )
        super().__init__(num_labels)
        self.register_buffer("bases", torch.empty(num_labels, dimensions, num_centers))

    def init_weights(self, std: float):
        super().init_weights(std)
        init.copy_(self.bases, torch.linalg.qr(torch.randn(self.bases.shape)).Q)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = nn.functional.normalize(embeddings.float(), dim=1)
            return torch.einsum("bd,cdk->bck", unit, self.bases.float()).norm(dim=2)


def cosines(embeddings: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """
    Cosines of the angles between embeddings and centers, float32 also under autocast.

    Args:
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`), centers (`torch.Tensor` of shape
            `(centers, dimensions)`): any floating-point type, any length.

    Returns:
        `torch.Tensor` of shape `(clips, centers)`, float32.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = nn.functional.normalize(embeddings.float(), dim=1)
        return unit @ nn.functional.normalize(centers.float(), dim=1).T


def angle(cosine: torch.Tensor) -> torch.Tensor:
    """Angles in radians; the gradient, infinite at cosines of -1 and 1, is cut off there."""
    return cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()


LOSSES = ("softmax", "arcface", "subcenter_arcface", "adacos", "subcluster_adacos", "adaproj")


def make_head(loss: str, dimensions: int, num_labels: int, scale: float, margin: float, num_centers: int) -> Head:
    """
    The head of a loss.

    Args:
        loss (`str`): one of `LOSSES`.
        dimensions (`int`), num_labels (`int`): length of an embedding, number of classes.
        scale (`float`), margin (`float`): of the ArcFace losses.
        num_centers (`int`): centers or dimensions a class, of the losses that have several.

    Raises:
        ValueError: an unknown loss.
    """
    if loss == "softmax":
        return SoftmaxHead(dimensions, num_labels)
    if loss == "arcface":
        return ArcFaceHead(dimensions, num_labels, scale, margin)
    if loss == "subcenter_arcface":
        return SubCenterArcFaceHead(dimensions, num_labels, scale, margin, num_centers)
    if loss == "adacos":
        return AdaCosHead(dimensions, num_labels)
    if loss == "subcluster_adacos":
        return SubClusterAdaCosHead(dimensions, num_labels, num_centers)
    if loss == "adaproj":
        return AdaProjHead(dimensions, num_labels, num_centers)
    raise ValueError(f"loss is {loss!r}; accepted are {', '.join(LOSSES)}.")
