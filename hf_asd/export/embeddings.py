"""From waveforms to embeddings, as a module that can be exported."""

from copy import copy, deepcopy

import torch
from torch import nn

from ..audio.filter_bank import FilterBankExtractor
from ..audio.reading import SAMPLING_RATE
from ..embedding.embed import Encoder
from ..embedding.statistics import SpectralStatistics
from ..embedding.transformer import WINDOW_SECONDS, TransformerEncoder, samples_of
from ..models.pooling import pool
from .spectra import LogMel, band_statistics


class StatisticsEmbedding(nn.Module):
    """[`~hf_asd.SpectralStatistics`]: `(clips, samples)` at 16 kHz -> `(clips, dimensions)`, float32."""

    def __init__(self, statistics: SpectralStatistics):
        super().__init__()
        if statistics.statistics == "acoustic_features":
            raise ValueError(
                "a detector with statistics acoustic_features cannot be exported, because their rhythms have no "
                "counterpart in ONNX; fit it with --statistics band_statistics (the default) or mean."
            )
        self.is_mean = statistics.statistics == "mean"
        self.log_mel = LogMel(statistics.feature_extractor)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        log_mel = self.log_mel(waveform)
        return log_mel.mean(-1) if self.is_mean else band_statistics(log_mel)


class TransformerEmbedding(nn.Module):
    """[`~hf_asd.TransformerEncoder`]: `(clips, samples)` at 16 kHz -> `(clips, dimensions)`, float32."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, encoder: TransformerEncoder):
        super().__init__()
        extractor = encoder.feature_extractor
        if not isinstance(extractor, FilterBankExtractor):
            raise ValueError(
                f"a detector with an encoder of type {encoder.shape.model_type} cannot be exported; accepted are EAT, "
                "BEATs and encoders that were fine-tuned from them, and spectral statistics."
            )
        self.encoder, self.extractor = copy(encoder), extractor
        # Its attention has to be in plain operations: torch exports the faster one for some shapes only.
        self.model = self.encoder.model = deepcopy(encoder.model).cpu()
        self.model.set_attn_implementation("eager")
        self.log_mel = LogMel(extractor)
        self.statistics = None if encoder.statistics is None else StatisticsEmbedding(encoder.statistics)
        if extractor.do_normalize:
            self.register_buffer("mean", torch.tensor(extractor.mean, dtype=torch.float32))
            self.register_buffer("deviation", 2 * torch.tensor(extractor.std, dtype=torch.float32))

    @property
    def max_samples(self) -> int:
        """The longest clip that the package embeds as a whole; it would embed a longer one in parts."""
        frames = self.extractor.num_frames
        longest = WINDOW_SECONDS * SAMPLING_RATE
        return longest if frames is None else min(longest, samples_of(frames))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        embeddings = self._pooled(self._inputs(waveform))
        if self.statistics is None:
            return embeddings
        return torch.cat([self.statistics(waveform), embeddings], dim=1)

    def _inputs(self, waveform: torch.Tensor) -> torch.Tensor:
        log_mel = self.log_mel(waveform).transpose(1, 2)
        frames, missing = log_mel.shape[1], 0
        if self.extractor.num_frames is not None:
            missing = self.extractor.num_frames - frames
        elif self.extractor.fill_patches:
            missing = -frames % self.extractor.patch_size
        filled = nn.functional.pad(log_mel, (0, 0, 0, missing), value=self.extractor.padding_value)
        return (filled - self.mean) / self.deviation if self.extractor.do_normalize else filled

    def _pooled(self, inputs: torch.Tensor) -> torch.Tensor:
        encoder = self.encoder
        tokens, clamp = encoder._tokens(inputs), encoder.clamp_outlier_channels
        pooled = pool(tokens, encoder.pooling, encoder.shape, clamp, encoder.pooling_parameter)
        if encoder.is_classifier and self.model.config.embedding_from == "projection":
            return self.model.projection(self.model.running_norm(pooled))  # without the head, which no export needs
        return pooled


def embedding_module(encoder: Encoder) -> StatisticsEmbedding | TransformerEmbedding:
    """
    Raises:
        ValueError: this encoder cannot be exported; says which can.
    """
    if isinstance(encoder, SpectralStatistics):
        return StatisticsEmbedding(encoder)
    if isinstance(encoder, TransformerEncoder):
        return TransformerEmbedding(encoder)
    raise ValueError(f"a detector with an encoder of the class {type(encoder).__name__} cannot be exported.")
