"""Spectral statistics: embeddings without weights."""

import numpy as np
import torch

from ..audio.reading import SAMPLING_RATE
from ..models.choices import StatisticsName
from ..models.eat.feature_extraction_eat import EatFeatureExtractor
from ..options import check_word


QUANTILES = (0.1, 0.5, 0.9)
MEL_BANDS = 128
STATISTICS_SIZE = len(QUANTILES) * MEL_BANDS  # dimensions of "quantiles"
DESCRIPTIONS: dict[StatisticsName, str] = {
    "quantiles": f"spectral statistics, 10, 50 and 90 % quantiles over time of {MEL_BANDS} log-mel bands; no weights",
    "mean": f"spectral statistics, the mean over time of {MEL_BANDS} log-mel bands; no weights",
    "acoustic_features": "levels, tones, swells, knocks and rhythms of the recording; no weights",
}


class SpectralStatistics:
    """
    An embedding without weights: statistics over time of the log energy in each mel band, or acoustic features.

    Args:
        statistics (`"quantiles"`, `"mean"` or `"acoustic_features"`, *optional*, defaults to `"quantiles"`): the 10,
            50 and 90 % quantiles of each of the 128 bands; their mean; or levels, tones, swells, knocks and rhythms
            ([`~hf_asd.audio.acoustic_features.extract_features`]).
    """

    def __init__(self, statistics: StatisticsName = "quantiles"):
        check_word("statistics", statistics, StatisticsName)
        self.statistics: StatisticsName = statistics
        self.feature_extractor = EatFeatureExtractor(do_normalize=False)

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        if self.statistics == "acoustic_features":
            return self([np.zeros(SAMPLING_RATE, dtype=np.float32)]).shape[1]
        return STATISTICS_SIZE if self.statistics == "quantiles" else MEL_BANDS

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
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz.

        Returns:
            `np.ndarray` of shape `(clips, 384)` (quantiles) or `(clips, 128)` (mean), float32, natural logarithms of
            energy; or of shape `(clips, 608)` (acoustic features), float32, decibels.
        """
        if self.statistics == "acoustic_features":
            from ..audio.acoustic_features import SOUNDS, extract_features, summarize_features

            summaries = [summarize_features(extract_features(clip)) for clip in clips]
            return np.stack([np.concatenate([summary[kind] for kind in SOUNDS]) for summary in summaries])
        rows = []
        for clip in clips:
            log_mel = self.feature_extractor.log_mel(torch.from_numpy(clip)[None])[0]
            if self.statistics == "mean":
                rows.append(log_mel.mean(0))
            else:
                rows.append(log_mel.quantile(torch.tensor(QUANTILES), dim=0).flatten())
        return torch.stack(rows).numpy()
