"""A pretrained audio transformer as an encoder of clips."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..audio.filter_bank import FRAME_SAMPLES, HOP_SAMPLES, FilterBankExtractor
from ..audio.reading import SAMPLING_RATE
from ..distributed import partial_state
from ..models.architectures import architecture_of
from ..models.choices import PoolingName, PrecisionName
from ..models.encoders import get_layers, load_feature_extractor, load_weights, truncate_layers
from ..models.hub_checkpoints import local_encoder
from ..models.pooling import check_pooling, clamp_outliers, embedding_size, patch_grid, pool, pooling_parameter
from ..models.tone_check import check_tone_output
from ..options import check_word
from ..threads import map_on_cores
from .precision import products_in
from .statistics import SpectralStatistics


WINDOW_SECONDS = 30  # longer recordings are embedded in parts: attention grows with the square of the length
Layer = int | Literal["mean"] | None


class TransformerEncoder:
    """
    A pretrained audio transformer, its feature extractor and pooling.

    Args:
        model (`PreTrainedModel`): any audio encoder of `AutoModel`, or an attribute classifier.
        feature_extractor (`FeatureExtractionMixin`): the one the model was trained with.
        pooling (`str`, *optional*): how tokens become one embedding, see [`~hf_asd.models.pooling.pool`]; defaults to
            `"mean"`, for an attribute classifier to the pooling that it was trained with.
        batch_size (`int`, *optional*, defaults to 8): clips a forward pass, at most.
        layer (`int` or `"mean"`, *optional*): the transformer layer whose output is pooled, from 1, or from -1 for the
            last one backwards; later layers are removed from the model. It is the output of the layer itself, before
            a norm that an encoder may have after its last layer. `"mean"` pools the mean of all layers' outputs. By
            default the encoder's last hidden state is pooled.
        clamp_outlier_channels (`bool`, *optional*, defaults to `False`): see [`~hf_asd.models.pooling.pool`].
        with_statistics (`bool`, *optional*, defaults to `False`): put [`SpectralStatistics`] in front of every
            embedding.
        pooling_parameter (`float`, *optional*): of poolings that have one, see [`~hf_asd.models.pooling.pool`].
        precision (`"fp32"` or `"bf16"`, *optional*, defaults to `"fp32"`): number format of its products, see
            [`~hf_asd.embedding.precision.products_in`]. Embeddings are float32.

    Raises:
        ValueError: a pooling or a layer that this encoder does not have, or an option that it does not use.
    """

    def __init__(
        self,
        model,
        feature_extractor,
        pooling: PoolingName | None = None,
        batch_size: int = 8,
        layer: Layer = None,
        clamp_outlier_channels: bool = False,
        with_statistics: bool = False,
        pooling_parameter: float | None = None,
        precision: PrecisionName = "fp32",
    ):
        check_word("precision", precision, PrecisionName)
        self.precision: PrecisionName = precision
        self.is_classifier = model.config.model_type == "attribute_classifier"
        if self.is_classifier:
            _check_classifier_options(model.config, pooling, layer, clamp_outlier_channels, pooling_parameter)
            pooling, pooling_parameter = model.config.pooling, model.config.pooling_parameter
        self.shape = model.config.encoder_config if self.is_classifier else model.config
        self.pooling: PoolingName = pooling or "mean"
        self.pooling_parameter = pooling_parameter
        check_pooling(self.shape, self.pooling, pooling_parameter)
        self.statistics = SpectralStatistics() if with_statistics else None
        if isinstance(layer, str) and layer != "mean":
            raise ValueError(f"layer is {layer!r}; accepted are the number of a layer and 'mean'.")
        self.layer = layer if layer is None or layer == "mean" else truncate_layers(model, int(layer))
        self.model = model.eval()
        self.feature_extractor = feature_extractor
        self.batch_size = batch_size
        self.clamp_outlier_channels = clamp_outlier_channels
        self.dimensions = embedding_size(self.shape, self.pooling)
        if self.is_classifier and model.config.embedding_from == "projection":
            self.dimensions = model.config.projection_size
        if self.statistics is not None:
            self.dimensions += self.statistics.dimensions

    @classmethod
    def from_pretrained(
        cls,
        encoder: str | Path,
        pooling: PoolingName | None = None,
        batch_size: int = 8,
        layer: Layer = None,
        clamp_outlier_channels: bool = False,
        with_statistics: bool = False,
        pooling_parameter: float | None = None,
        precision: PrecisionName = "fp32",
    ) -> "TransformerEncoder":
        """
        Args:
            encoder (`str` or `Path`): id on the Hub, or a folder with a model and its feature extractor; also a
                checkpoint of EAT's or BEATs' own code ([`~hf_asd.models.hub_checkpoints.local_encoder`]).
            pooling, batch_size, layer, clamp_outlier_channels, with_statistics, pooling_parameter, precision: as for
                the class.

        Raises:
            OSError: there is no such encoder.
            ValueError: some of its weights are missing, or as for the class.
        """
        from transformers import AutoModel

        encoder = local_encoder(encoder)
        # Weights may be kept in half precision; embeddings are single precision.
        model = load_weights(AutoModel, encoder, dtype=torch.float32).to(partial_state().device)
        if model.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        extractor = load_feature_extractor(encoder)
        check_tone_output(model, extractor, encoder)
        options = (clamp_outlier_channels, with_statistics, pooling_parameter, precision)
        return cls(model, extractor, pooling, batch_size, layer, *options)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes model and feature extractor as an ordinary transformers checkpoint."""
        self.model.save_pretrained(folder)
        self.feature_extractor.save_pretrained(folder)

    @property
    def log_mel_extractor(self) -> FilterBankExtractor | None:
        """Whose log energies it takes in place of samples."""
        extractor = self.feature_extractor
        if not isinstance(extractor, FilterBankExtractor):
            return None
        own = self.statistics is None or self.statistics.feature_extractor.filter_bank == extractor.filter_bank
        return extractor if own else None

    @property
    def longest_frames(self) -> float:
        """Frames of the longest recording that is embedded as one."""
        return (self._longest_samples() - FRAME_SAMPLES) // HOP_SAMPLES

    @property
    def description(self) -> str:
        """For cards and reports."""
        beside = "" if self.precision == "fp32" else ", computed in bfloat16 where the processor has it"
        beside += "" if self.statistics is None else ", beside spectral statistics"
        if self.is_classifier:
            return (
                f"audio transformer in `encoder/` ({self.shape.model_type}), fine-tuned to distinguish "
                f"{self.model.config.num_labels} machine attributes, tokens pooled by {self.pooling}{beside}"
            )
        tokens = "tokens" if self.layer is None else f"tokens of layer {self.layer}"
        return f"audio transformer in `encoder/` ({self.shape.model_type}), {tokens} pooled by {self.pooling}{beside}"

    @property
    def fingerprint(self) -> str:
        """Equal for encoders that give equal embeddings: of weights, configuration and options."""
        parameter = pooling_parameter(self.shape, self.pooling, self.pooling_parameter)
        options = (self.pooling, parameter, self.layer, self.clamp_outlier_channels, self.statistics is not None)
        options += () if self.precision == "fp32" else (self.precision,)
        settings = (self.model.config.to_json_string(), self.feature_extractor.to_json_string(), options)
        digest = hashlib.sha256(repr(settings).encode())
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())  # a scale has no dimension
        return digest.hexdigest()

    @contextmanager
    def computing_in(self, precision: PrecisionName) -> Iterator[None]:
        """Within it the number format of its products is another one."""
        before, self.precision = self.precision, precision
        try:
            yield
        finally:
            self.precision = before

    @torch.inference_mode()
    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """
        Recordings longer than 30 s, for AST longer than its fixed length (10.24 s as published), are embedded in equal
        parts and averaged.

        Args:
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz; or its log energies, of shape
                `(frames, 128)`, where there is a `log_mel_extractor`.

        Returns:
            `np.ndarray` of shape `(clips, dimensions)`, float32.
        """
        if self.statistics is not None and self.log_mel_extractor is not None and self.model.device.type == "cpu":
            clips = map_on_cores(self._log_mel, clips)  # once for both
        parts, owners = [], []
        for owner, clip in enumerate(clips):
            own = self._parts(clip)
            parts += own
            owners += [owner] * len(own)
        # Only parts of one length share a forward pass, so no padding reaches an embedding.
        by_length: dict[tuple[int, int], list[int]] = {}
        for index, part in enumerate(parts):
            by_length.setdefault((part.ndim, len(part)), []).append(index)
        on_cpu, size = self.model.device.type == "cpu", self.batch_size
        if on_cpu:  # some batches for each thread, so that none waits long for the others in the end
            size = min(size, max(1, len(parts) // (4 * torch.get_num_threads())))
        batches = [
            indices[start : start + size] for indices in by_length.values() for start in range(0, len(indices), size)
        ]
        together = [[parts[index] for index in batch] for batch in batches]
        outputs = map_on_cores(self._forward, together) if on_cpu else [self._forward(batch) for batch in together]
        embedded: dict[int, torch.Tensor] = {}
        for batch, rows in zip(batches, outputs, strict=True):
            embedded.update(zip(batch, rows, strict=True))
        rows = torch.stack([embedded[index] for index in range(len(parts))])
        sums = torch.zeros(len(clips), rows.shape[1]).index_add_(0, torch.tensor(owners), rows)
        means = (sums / torch.tensor(owners).bincount()[:, None]).numpy()
        return means if self.statistics is None else np.concatenate([self.statistics(clips), means], axis=1)

    @torch.inference_mode()
    def patches(self, clip: np.ndarray) -> torch.Tensor:
        """
        The patches of a clip before pooling; those of a long clip's parts follow one another.

        Args:
            clip (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.

        Returns:
            `torch.Tensor` of shape `(times, bands, hidden_size)`, float32.
        """
        grids = []
        for part in self._parts(clip):
            inputs = self._inputs([part])
            with products_in(self.precision, self.model.device):
                tokens = self._tokens(inputs)
            grids.append(patch_grid(clamp_outliers(tokens) if self.clamp_outlier_channels else tokens, self.shape)[0])
        return torch.cat(grids).cpu()

    def _log_mel(self, clip: np.ndarray) -> np.ndarray:
        """The log energies of a recording that is embedded as one; a longer one as it is."""
        if clip.ndim == 2 or len(clip) > self._longest_samples():
            return clip
        return self.feature_extractor.log_mel(torch.from_numpy(clip)[None])[0].numpy()

    def _parts(self, clip: np.ndarray) -> list[np.ndarray]:
        return [clip] if clip.ndim == 2 else np.array_split(clip, math.ceil(len(clip) / self._longest_samples()))

    def _longest_samples(self) -> int:
        longest = WINDOW_SECONDS * SAMPLING_RATE
        max_frames = architecture_of(self.shape).max_frames
        if max_frames is not None:  # everything beyond would be dropped; frames of 25 ms every 10 ms
            longest = min(longest, samples_of(max_frames(self.shape)))
        num_frames = getattr(self.feature_extractor, "num_frames", None)
        if num_frames is not None:
            longest = min(longest, samples_of(num_frames))
        return longest

    def _inputs(self, parts: list[np.ndarray]) -> torch.Tensor:
        if parts[0].ndim == 2:
            log_mels = [torch.from_numpy(part).to(self.model.device) for part in parts]
            return self.feature_extractor.from_log_mel(log_mels, "pt")[self.model.main_input_name]
        # EAT's and BEATs' log energies are computed where the model is.
        where = {"device": self.model.device} if isinstance(self.feature_extractor, FilterBankExtractor) else {}
        features = self.feature_extractor(parts, sampling_rate=SAMPLING_RATE, return_tensors="pt", **where)
        return features[self.model.main_input_name].to(self.model.device)

    @torch.inference_mode()  # of each thread
    def _forward(self, parts: list[np.ndarray]) -> torch.Tensor:
        inputs, clamp = self._inputs(parts), self.clamp_outlier_channels
        with products_in(self.precision, self.model.device):
            if self.is_classifier:
                return self.model(inputs).embeddings.float().cpu()
            tokens = self._tokens(inputs)
        return pool(tokens, self.pooling, self.shape, clamp, self.pooling_parameter).cpu()

    def _tokens(self, inputs: torch.Tensor) -> torch.Tensor:
        """Tokens of the chosen layer, of shape `(clips, tokens, hidden_size)`, float32."""
        if self.layer is None:
            model = self.model.encoder if self.is_classifier else self.model
            return model(inputs).last_hidden_state.float()
        layers = list(get_layers(self.model))
        outputs: list[torch.Tensor] = []

        def keep(layer, args, output):
            outputs.append((output[0] if isinstance(output, tuple) else output).float())

        hooks = [layer.register_forward_hook(keep) for layer in (layers if self.layer == "mean" else layers[-1:])]
        try:
            self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(outputs).mean(0)


def samples_of(frames: int) -> int:
    """The number of samples that a number of frames covers."""
    return frames * HOP_SAMPLES + FRAME_SAMPLES - HOP_SAMPLES


def _check_classifier_options(
    config: Any, pooling: PoolingName | None, layer: Layer, clamp: bool, parameter: float | None
) -> None:
    """A fine-tuned encoder keeps the pooling and the layer that it was trained with."""
    if parameter not in (None, config.pooling_parameter):
        raise ValueError(
            f"pooling_parameter is {parameter}, but this encoder was fine-tuned with "
            f"{config.pooling_parameter or 'the published one'}; leave it out."
        )
    if pooling not in (None, config.pooling):
        raise ValueError(
            f"pooling is {pooling!r}, but this encoder was fine-tuned with pooling {config.pooling!r}; leave it out."
        )
    if layer is not None:
        raise ValueError(
            f"layer is {layer}, but this encoder was fine-tuned on the output of its last layer; leave it out."
        )
    if clamp:
        raise ValueError("clamp_outlier_channels is for encoders that were not fine-tuned; leave it out.")
