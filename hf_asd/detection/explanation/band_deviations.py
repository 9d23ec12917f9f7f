"""Which bands and which short events made the score of a clip high."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ...audio.reading import SAMPLING_RATE
from ...embedding.band_statistics import (
    DECIBELS,
    EVENTS_SIZE,
    MELS,
    MELS_APART,
    MELS_PER_BAND,
    NUM_BANDS,
    QUANTILES,
    SPECTRUM_SIZE,
    STATISTICS_SIZE,
    band_statistics,
    event_moments,
)
from ...embedding.statistics import SpectralStatistics
from ..backends.cross_scores import cross_splits, single_splits
from ..backends.gaussian import NUM_DEVIATIONS, ConditionalDeviations
from ..backends.standardized import MaxEvent
from .normal_profile import LEAST_LIMIT, MARGIN


RARE_SHARE = 0.9
NEIGHBORS = 2  # bands overlap by half: what lies in one is seen in the next
MOST_EXACT = 32  # normal clips that are left out one by one to learn what is usual; of more, a tenth at a time
MEL_LOWEST_HZ, MEL_BREAK_HZ = 20.0, 700.0  # of Kaldi's mel scale


@dataclass(frozen=True)
class BandFinding:
    """
    Neighboring bands that deviate, or a short event.

    Args:
        kind (`str`): `"level"`, `"flutter"`, `"event"` or `"dropout"`.
        low_hz, high_hz (`float`): the bands in Hz.
        db (`float`): median level above the mean of the normal clips (of an event: above that of the normal clips'
            loudest moments; of a dropout: below).
        deviations (`float`): how far the strongest value lies from what the rest of the clip lets expect, in standard
            deviations.
        strength (`float`): above 1 is beyond every normal clip, with the margin of [`NormalProfile`].
        is_rare (`bool`): whether nine of ten normal clips have no such deviation.
        flutter (`float`, *optional*): where flutter deviates too, by which factor the bands change more from moment to
            moment than in normal clips.
        seconds (`float`, *optional*): the moment of an event.
    """

    kind: str
    low_hz: float
    high_hz: float
    db: float
    deviations: float
    strength: float
    is_rare: bool
    flutter: float | None = None
    seconds: float | None = None


class BandDeviations:
    """
    Compares the band statistics of a clip with those of a machine's normal clips, part by part.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, band statistics first.
    """

    def __init__(self, bank: torch.Tensor):
        self.bank = bank[:, :STATISTICS_SIZE].float()
        self.statistics = SpectralStatistics()

    @cached_property
    def gaussian(self) -> ConditionalDeviations:
        """Of levels and flutter."""
        return ConditionalDeviations(self.bank[:, :SPECTRUM_SIZE])

    @cached_property
    def events(self) -> MaxEvent:
        """Of events."""
        return MaxEvent(self.bank[:, SPECTRUM_SIZE:])

    @cached_property
    def usual(self) -> tuple[np.ndarray, np.ndarray]:
        """The largest deviation and the largest event of each normal clip when it is compared with the others."""
        n = len(self.bank)
        splits = single_splits(n) if n <= MOST_EXACT else cross_splits(n)
        spectrum = self.bank[:, :SPECTRUM_SIZE]
        deviations = [ConditionalDeviations(spectrum[kept]).deviations_of(spectrum[own]) for own, kept in splits]
        return torch.cat(deviations).abs().amax(1).numpy(), self.events.leave_one_out().numpy()

    def compare(self, samples: np.ndarray) -> list[BandFinding]:
        """
        What makes the score of a clip high, the strongest first.

        Args:
            samples (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.

        Returns:
            `list[BandFinding]`: the largest deviations, those of neighboring bands as one, and the largest event.
        """
        log_mel = self.statistics.feature_extractor.log_mel(torch.from_numpy(np.ascontiguousarray(samples))[None])[0]
        embedding = band_statistics(log_mel)[None]
        found = [*self._bands(embedding[:, :SPECTRUM_SIZE]), self._event(embedding[:, SPECTRUM_SIZE:], log_mel)]
        return sorted(found, key=lambda one: -one.strength)

    def _bands(self, spectrum: torch.Tensor) -> list[BandFinding]:
        deviations = self.gaussian.deviations_of(spectrum)[0].numpy()
        above = (spectrum[0].double() - self.gaussian.mean).numpy().reshape(-1, NUM_BANDS)
        order = np.argsort(-np.abs(deviations))[:NUM_DEVIATIONS]
        groups: list[list[int]] = []
        for place in order.tolist():
            near = [g for g in groups if any(abs(place % NUM_BANDS - p % NUM_BANDS) <= NEIGHBORS for p in g)]
            if near:
                near[0].append(place)
            else:
                groups.append([place])
        return [self._finding(group, deviations, above) for group in groups]

    def _finding(self, places: list[int], deviations: np.ndarray, above: np.ndarray) -> BandFinding:
        kinds, bands = np.divmod(places, NUM_BANDS)
        is_flutter = kinds >= len(QUANTILES)
        largest = float(abs(deviations[places[0]]))
        middle = int(bands[0])
        fluttering = above[kinds[is_flutter], bands[is_flutter]]  # the strongest first
        factor = float(np.exp(fluttering[0])) if len(fluttering) else None
        return BandFinding(
            kind="flutter" if is_flutter.all() else "level",
            low_hz=mel_hertz(MELS_APART * int(bands.min()) + 0.5),
            high_hz=mel_hertz(MELS_APART * int(bands.max()) + MELS_PER_BAND + 0.5),
            db=float(DECIBELS * above[len(QUANTILES) // 2, middle]),
            deviations=largest,
            **_rarity(largest, self.usual[0]),
            flutter=factor,
        )

    def _event(self, events: torch.Tensor, log_mel: torch.Tensor) -> BandFinding:
        standardized = self.events.standardize(events)[0]
        place, largest = int(standardized.argmax()), float(standardized.max())
        is_dropout = place == EVENTS_SIZE - 1
        moments = event_moments(log_mel)[:, place]
        low, high = (0, MELS) if is_dropout else (MELS_PER_BAND * place, MELS_PER_BAND * (place + 1))
        return BandFinding(
            kind="dropout" if is_dropout else "event",
            low_hz=mel_hertz(low + 0.5),
            high_hz=mel_hertz(high + 0.5),
            db=float((events[0].double() - self.events.mean)[place]),
            deviations=largest,
            **_rarity(largest, self.usual[1]),
            seconds=float(moments.argmin() if is_dropout else moments.argmax()) * len(log_mel) / len(moments) / 100,
        )


def _rarity(deviation: float, usual: np.ndarray) -> dict[str, Any]:
    rare = float(np.quantile(usual, RARE_SHARE, method="lower"))
    strength = deviation / max(LEAST_LIMIT, MARGIN * float(usual.max()))
    return {"strength": strength, "is_rare": deviation > rare}


def mel_hertz(mel: float) -> float:
    """Frequency at a place on the scale of the 128 mels, whose centers lie at 1 to 128."""
    low, high = (np.log1p(hertz / MEL_BREAK_HZ) for hertz in (MEL_LOWEST_HZ, SAMPLING_RATE / 2))
    return float(MEL_BREAK_HZ * np.expm1(low + (high - low) * mel / (MELS + 1)))
