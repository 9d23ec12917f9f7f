"""EAT pre-training: a student gets a fifth of the patches and predicts a teacher's outputs for all of them."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from ...distributed import gather_rows, partial_state
from .configuration_eat import EatConfig
from .modeling_eat import EatModel, EatPreTrainedModel, pytorch_default_


MASK_NOISE = 0.01  # standard deviation of the tokens in place of masked patches
TEMPERATURE = 0.1  # of the contrastive loss
NORM_EPSILON = 1e-5  # of the targets' instance normalization


def inverse_block_masks(
    rows: int,
    steps: int,
    bands: int,
    mask_ratio: float,
    block: int,
    generators: list[torch.Generator],
    mask_adjust: float = 0.07,
) -> torch.Tensor:
    """
    Draws the patches that stay visible: square blocks of neighboring patches are kept and all others are masked. Then
    patches are added or removed at random until all rows keep the same number. A block may lie around any patch, and
    what would be outside of the grid is cut off.

    Args:
        rows (`int`): number of masks of each clip.
        steps (`int`), bands (`int`): patches along time and frequency.
        mask_ratio (`float`): share of patches that are masked.
        block (`int`): side of a block in patches.
        generators (`list[torch.Generator]`): of each clip, on the CPU.
        mask_adjust (`float`, *optional*, defaults to 0.07): by how much the share of patches in blocks is larger than
            the share that stays visible, because blocks overlap and are cut off.

    Returns:
        `torch.Tensor` of shape `(clips, rows, visible)`, int64: positions of the visible patches in ascending order,
        with `visible = max(1, int(steps * bands * (1 - mask_ratio)))`.

    References:
        A. Baevski et al. 2023, "Efficient Self-supervised Learning with Contextualized Target Representations",
        section 3.2; W. Chen et al. 2024, "EAT", section 3.2.
    """
    visible = max(1, int(steps * bands * (1 - mask_ratio) + 1e-9))
    blocks = max(1, int(steps * bands * (1 - mask_ratio + mask_adjust) / block**2 + 1e-9))
    # What is drawn depends on the clip alone; the rest is computed for all of them together.
    drawn = [
        (
            torch.randint(0, steps * bands, (rows, blocks), generator=generator),
            torch.rand(rows, steps * bands, generator=generator),
        )
        for generator in generators
    ]
    centers, order = (torch.stack(values) for values in zip(*drawn, strict=True))
    tops, lefts = centers // bands - block // 2, centers % bands - block // 2
    time, band = torch.arange(steps), torch.arange(bands)
    inside_time = (time >= tops[..., None]) & (time < tops[..., None] + block)
    inside_band = (band >= lefts[..., None]) & (band < lefts[..., None] + block)
    kept = (inside_time[..., :, None] & inside_band[..., None, :]).any(2).flatten(2)
    # Patches inside blocks come first, in random order, then those outside.
    order += ~kept
    return order.topk(visible, dim=-1, largest=False).indices.sort(-1).values


@dataclass
class EatForPreTrainingOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, float32): weighted sum of the three losses.
        frame_loss (`torch.Tensor` of shape `()`, float32): of the masked patches.
        utterance_loss (`torch.Tensor` of shape `()`, float32): of the CLS token.
        contrast_loss (`torch.Tensor` of shape `()`, float32): of the contrast between clips; 0 without a projection.
        agreement (`torch.Tensor` of shape `()`, float32, *optional*): mean cosine between the student's predictions
            of masked patches and the teacher's targets.
        targets (`torch.Tensor` of shape `(clips, patches, hidden_size)`, float32): of the teacher.
        teacher_states (`torch.Tensor` of shape `(clips, patches, hidden_size)`, float32): the teacher's own output.
    """

    loss: torch.Tensor | None = None
    frame_loss: torch.Tensor | None = None
    utterance_loss: torch.Tensor | None = None
    contrast_loss: torch.Tensor | None = None
    agreement: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    teacher_states: torch.Tensor | None = None


class EatDecoder(nn.Module):
    """Convolutions over the grid of patches that predict the masked ones."""

    def __init__(self, config: EatConfig):
        super().__init__()
        size, kernel, groups = config.hidden_size, config.decoder_kernel, config.decoder_groups
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(size, size, kernel, padding="same", groups=groups) for _ in range(config.decoder_layers)]
        )
        self.projection = nn.Linear(size, size)

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """`(clips, hidden_size, steps, bands)` -> `(clips, steps * bands, hidden_size)`."""
        for convolution in self.convolutions:
            filled = convolution(grid).permute(0, 2, 3, 1)
            filled = nn.functional.layer_norm(filled, filled.shape[-1:]).permute(0, 3, 1, 2)
            grid = grid + nn.functional.gelu(filled)
        return self.projection(grid.flatten(2).transpose(1, 2))


class EatProjector(nn.Module):
    """Projects embeddings for the contrastive loss, to unit length."""

    def __init__(self, config: EatConfig):
        super().__init__()
        assert config.projection_size is not None
        self.fc1 = nn.Linear(config.hidden_size, 4 * config.projection_size)
        self.norm = nn.LayerNorm(4 * config.projection_size, eps=config.layer_norm_eps)
        self.fc2 = nn.Linear(4 * config.projection_size, config.projection_size)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """`(..., hidden_size)` -> `(..., projection_size)`."""
        return nn.functional.normalize(self.fc2(nn.functional.gelu(self.norm(self.fc1(embeddings)))), dim=-1)


class EatForPreTraining(EatPreTrainedModel):
    """
    Student, teacher and decoder.

    The teacher is a part of the model so that checkpoints contain it; it gets no gradient and is a moving average of
    the student, see [`~EatForPreTraining.update_teacher`]. Its weights are always float32: its changes are too small
    for half precision.

    Args:
        config ([`EatConfig`]): the encoder's and the decoder's shape.
        student ([`EatModel`], *optional*): an encoder to start from; the teacher starts as its copy.

    References:
        W. Chen et al. 2024, "EAT: Self-Supervised Pre-Training with Efficient Audio Transformer", section 3. Both
        losses are means over rows here; EAT's code sums the utterance loss over the clips and masks of a device. For
        that, multiply `utterance_weight` by their number.
    """

    accepts_loss_kwargs = False

    def __init__(self, config: EatConfig, student: EatModel | None = None):
        super().__init__(config)
        self.eat = EatModel(config)
        self.decoder = EatDecoder(config)
        self.projector = EatProjector(config) if config.projection_size else None
        self.teacher_projector: EatProjector | None = None
        self.post_init()
        if student is not None:
            self.eat.load_state_dict(student.state_dict())
        self.start_teacher()

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        in_decoder = any(module is layer for layer in (*self.decoder.convolutions, self.decoder.projection))
        if in_decoder and self.config.initial_weights == "published":
            pytorch_default_(module)

    def start_teacher(self) -> None:
        """Makes the teacher a copy of the student."""
        self.teacher = deepcopy(self.eat).requires_grad_(False).float()
        if self.projector is not None:
            self.teacher_projector = deepcopy(self.projector).requires_grad_(False).float()

    @classmethod
    def from_pretrained(cls, source, *args, **kwargs):
        """
        As [`EatModel.from_pretrained`]. If it is an encoder only, the teacher starts as its copy, and the decoder with
        random weights.
        """
        if cls.__name__ in (EatConfig.from_pretrained(source, **kwargs).architectures or []):
            return super().from_pretrained(source, *args, **kwargs)
        student = EatModel.from_pretrained(source, *args, **kwargs)
        return cls(student.config, student).eval()

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Moves the teacher towards the student: `teacher = decay * teacher + (1 - decay) * student`."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.teacher, self.eat)]
        if self.projector is not None and self.teacher_projector is not None:
            pairs.append((self.teacher_projector, self.projector))
        for teacher, student in pairs:
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.lerp_(fast.to(slow.dtype), 1 - decay)

    @torch.no_grad()
    def targets(self, input_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The targets of the student's predictions: outputs of the teacher's MLPs, normalized over the patches of a clip
        and averaged over layers.

        Args:
            input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`, float32): from the feature extractor.

        Returns:
            `tuple`: the targets, and the output of the teacher's last layer, both of shape
            `(clips, patches, hidden_size)`, float32.
        """
        hidden_states = self.teacher.with_cls(self.teacher.embeddings(input_values))
        total = torch.zeros_like(hidden_states[:, 1:], dtype=torch.float32)
        first = len(self.teacher.layers) - (self.config.average_top_k_layers or len(self.teacher.layers))
        for number, layer in enumerate(self.teacher.layers):
            hidden_states, mlp_output = layer(hidden_states, with_mlp_output=True)
            if number >= first:
                # Instance normalization, without copies of the transposed patches.
                patches = mlp_output[:, 1:].float()
                patches = patches - patches.mean(1, keepdim=True)
                total.addcmul_(patches, (patches.square().mean(1, keepdim=True) + NORM_EPSILON).rsqrt())
        targets = nn.functional.layer_norm(total / (len(self.teacher.layers) - first), total.shape[-1:])
        return targets, hidden_states[:, 1:].float()

    def forward(
        self,
        input_values: torch.Tensor,
        visible: torch.Tensor,
        augmentation_seeds: torch.Tensor,
        student_values: torch.Tensor | None = None,
        frame_weight: float = 1.0,
        utterance_weight: float = 1.0,
        contrast_weight: float = 1.0,
        with_agreement: bool = True,
    ) -> EatForPreTrainingOutput:
        """
        Args:
            input_values (`torch.Tensor` of shape `(clips, frames, mel_bins)`, float32): from the feature extractor.
            visible (`torch.Tensor` of shape `(clips, masks, visible)`, int64): from [`inverse_block_masks`].
            augmentation_seeds (`torch.Tensor` of shape `(clips,)`, int64): seeds of the mask tokens.
            student_values (`torch.Tensor` of the shape of `input_values`, *optional*): the student's input, such as a
                noisy one; by default the same as the teacher's.
            frame_weight, utterance_weight, contrast_weight (`float`, *optional*, default to 1.0): of the losses; the
                last one of a model with a projection.
            with_agreement (`bool`, *optional*, defaults to `True`): measure `agreement`, which costs some time.
        """
        targets, teacher_states = self.targets(input_values)
        values = input_values if student_values is None else student_values
        predicted, cls_token, seen = self.predict(values, visible, augmentation_seeds)
        (clips, count, size), (masks, kept) = targets.shape, visible.shape[1:]
        scale = size**-0.5
        wanted = targets[:, None]
        masked = torch.ones(clips, masks, count, dtype=torch.bool, device=seen.device).scatter(2, visible, False)
        num_masked = clips * masks * (count - kept)
        # A visible patch is compared with itself: no loss, no gradient, and no copy of the masked ones.
        compared = torch.where(masked[..., None], wanted, predicted.detach())
        frame_loss = nn.functional.mse_loss(predicted, compared, reduction="sum") * (scale / num_masked)
        utterance_loss = (cls_token - wanted.mean(2)).square().sum(-1).mean() * scale
        contrast_loss = torch.zeros_like(frame_loss)
        if self.projector is not None:
            contrast_loss = self.contrast(seen.mean(2), teacher_states.mean(1))
        agreement = None
        if with_agreement:
            with torch.no_grad():
                cosines = nn.functional.cosine_similarity(predicted, wanted, dim=-1)
                agreement = (cosines * masked).sum() / num_masked
        return EatForPreTrainingOutput(
            loss=frame_weight * frame_loss + utterance_weight * utterance_loss + contrast_weight * contrast_loss,
            frame_loss=frame_loss.detach(),
            utterance_loss=utterance_loss.detach(),
            contrast_loss=contrast_loss.detach(),
            agreement=agreement,
            targets=targets,
            teacher_states=teacher_states,
        )

    def predict(
        self, values: torch.Tensor, visible: torch.Tensor, augmentation_seeds: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        The student's predictions from the visible patches.

        Args:
            values (`torch.Tensor` of shape `(clips, frames, mel_bins)`, float32): the student's input.
            visible, augmentation_seeds: as for [`~EatForPreTraining.forward`].

        Returns:
            predictions of all patches, of shape `(clips, masks, patches, hidden_size)`, float32; CLS tokens, of shape
            `(clips, masks, hidden_size)`, float32; outputs of the visible patches, of shape
            `(clips, masks, visible, hidden_size)`.
        """
        patches = self.eat.embeddings(values)
        clips, count, size = patches.shape
        masks = visible.shape[1]
        rows = visible[..., None].expand(-1, -1, -1, size)

        seen = patches[:, None].expand(-1, masks, -1, -1).gather(2, rows)
        hidden_states = self.eat.with_cls(seen.flatten(0, 1))
        for layer in self.eat.layers:
            hidden_states = layer(hidden_states)
        cls_token = hidden_states[:, 0].unflatten(0, (clips, masks)).float()
        seen = hidden_states[:, 1:].unflatten(0, (clips, masks))

        tokens = self.mask_tokens((masks, count, size), augmentation_seeds, seen.device)
        grid = tokens.to(seen.dtype).scatter(2, rows, seen)
        bands = self.config.num_mel_bins // self.config.patch_size
        predicted = self.decoder(grid.flatten(0, 1).transpose(1, 2).unflatten(2, (-1, bands)))
        return predicted.unflatten(0, (clips, masks)).float(), cls_token, seen

    def contrast(self, views: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """
        Contrastive loss (InfoNCE): each embedding of the student is assigned to one of the teacher's embeddings of the
        batch's clips.

        Both are standardized by mean and standard deviation of the teacher's embeddings; otherwise the embeddings of
        all clips would be almost the same at first.

        Args:
            views (`torch.Tensor` of shape `(clips, masks, hidden_size)`): embeddings of the student, one per mask.
            embeddings (`torch.Tensor` of shape `(clips, hidden_size)`): of the teacher.

        Returns:
            `torch.Tensor` of shape `()`: cross-entropy over the clips of all processes.

        References:
            A. van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4;
            keys of a moving-average teacher: K. He et al. 2020, "Momentum Contrast".
        """
        assert self.projector is not None and self.teacher_projector is not None
        clips, masks, _ = views.shape
        with torch.no_grad():
            (everyone,) = gather_rows(embeddings)
            mean, std = everyone.mean(0), everyone.std(0, correction=0) + 1e-6
            keys = self.teacher_projector((everyone - mean) / std)
        queries = self.projector(((views.float() - mean) / std).to(views.dtype))
        own = partial_state().process_index * clips + torch.arange(clips, device=views.device)
        logits = queries.float() @ keys.float().T / TEMPERATURE
        return nn.functional.cross_entropy(logits.flatten(0, 1), own.repeat_interleave(masks))

    @staticmethod
    def mask_tokens(shape: tuple[int, ...], augmentation_seeds: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Tokens in place of masked patches: noise of shape `(clips, *shape)`, drawn clip by clip."""
        generator = torch.Generator(device)
        tokens = [
            torch.randn(shape, generator=generator.manual_seed(seed), device=device)
            for seed in augmentation_seeds.tolist()
        ]
        return torch.stack(tokens).mul_(MASK_NOISE)


def ema_decay(step: int, start: float, end: float, steps: float) -> float:
    """EMA decay of the teacher at a step: linear from `start` to `end` over `steps`, then `end`."""
    return float(np.interp(step, [0, max(1, steps)], [start, end]))
