"""Spectral statistics: embeddings without weights."""

import math

import numpy as np
import torch

from ..audio.reading import SAMPLING_RATE
from ..models.choices import StatisticsName
from ..models.eat.feature_extraction_eat import EatFeatureExtractor
from ..options import check_word
from ..threads import map_on_cores
from .band_statistics import MELS, NUM_BANDS, STATISTICS_SIZE, band_statistics


DESCRIPTIONS: dict[StatisticsName, str] = {
    "band_statistics": f"spectral statistics, levels and flutter of {NUM_BANDS} bands and their short events; no "
    "weights",
    "mean": f"spectral statistics, the mean over time of {MELS} log-mel bands; no weights",
    "acoustic_features": "levels, tones, swells, knocks and rhythms of the recording; no weights",
}


class SpectralStatistics:
    """
    An embedding without weights: statistics over time of the log energy in each mel band, or acoustic features.

    Args:
        statistics (`"band_statistics"`, `"mean"` or `"acoustic_features"`, *optional*, defaults to
            `"band_statistics"`): levels, flutter and short events of bands
            ([`~hf_asd.embedding.band_statistics.band_statistics`]); the mean of 128 log-mel bands; or levels, tones,
            swells, knocks and rhythms ([`~hf_asd.audio.acoustic_features.extract_features`]).
    """

    def __init__(self, statistics: StatisticsName = "band_statistics"):
        check_word("statistics", statistics, StatisticsName)
        self.statistics: StatisticsName = statistics
        self.feature_extractor = EatFeatureExtractor(do_normalize=False)

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        if self.statistics == "acoustic_features":
            return self([np.zeros(SAMPLING_RATE, dtype=np.float32)]).shape[1]
        return STATISTICS_SIZE if self.statistics == "band_statistics" else MELS

    @property
    def log_mel_extractor(self) -> EatFeatureExtractor | None:
        """Whose log energies it takes in place of samples."""
        return None if self.statistics == "acoustic_features" else self.feature_extractor

    @property
    def longest_frames(self) -> float:
        """Frames of the longest recording that is embedded as one."""
        return math.inf

    @property
    def description(self) -> str:
        """For cards and reports."""
        return DESCRIPTIONS[self.statistics]

    @property
    def fingerprint(self) -> str:
        """Equal for encoders that give equal embeddings."""
        return f"spectral statistics, {self.statistics}"

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """
        Args:
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz; or its log energies, of shape
                `(frames, 128)`, where there is a `log_mel_extractor`.

        Returns:
            `np.ndarray`, float32: of shape `(clips, 296)` (band statistics; natural logarithms, events in decibels),
            `(clips, 128)` (mean; natural logarithms of energy) or `(clips, 608)` (acoustic features; decibels).
        """
        if self.statistics == "acoustic_features":
            from ..audio.acoustic_features import SOUNDS, extract_features, summarize_features

            summaries = map_on_cores(lambda clip: summarize_features(extract_features(clip)), clips)
            return np.stack([np.concatenate([summary[kind] for kind in SOUNDS]) for summary in summaries])
        return torch.stack(map_on_cores(self._of_log_mel, clips)).numpy()

    def _of_log_mel(self, clip: np.ndarray) -> torch.Tensor:
        log_mel = torch.from_numpy(clip)
        if clip.ndim == 1:
            log_mel = self.feature_extractor.log_mel(log_mel[None])[0]
        return log_mel.mean(0) if self.statistics == "mean" else band_statistics(log_mel)
