"""When not to decide, in a graph: the checks of `detection/explanation/input_checks.py` in their order."""

from typing import cast

import numpy as np
import torch
from torch import nn

from ..audio.acoustic_features import LEVEL_EDGES, LONG, SHORT, SILENCE, SPECTRUM_HZ, _starts
from ..audio.reading import SAMPLING_RATE
from ..detection.explanation.input_checks import (
    BELOW_CUT,
    CLIPPED_SHARE,
    EMPTY_DB,
    HIGHEST_BAND,
    MISSING_DB,
    NEW_SOUND_DB,
    OFF_DB,
    OFF_EXCESS_DB,
    SHORTEST_SHARE,
)
from ..detection.explanation.input_ranges import InputRanges
from .spectra import median
from .stored_faults import clipped_share, gap_seconds, is_silent


USABLE = 0
# What `no_decision` means, from 1 on.
REASONS = (
    "silent: no sound above -90 dB of full scale; is the microphone connected?",
    "gap: sound is cut out; did the recorder lose samples, or did a noise gate mute them?",
    "clipped: samples are cut off at the top; lower the recording level",
    "too short: less than two thirds of the normal recordings; record as much, or fit the detector with recordings as "
    "short as this one",
    "nothing at the top of the band, where the normal recordings have sound; was it recorded with a lower sampling "
    "rate, compressed (MP3), or filtered?",
    "sound at the top of the band, where the normal recordings hold nothing; they were recorded with a lower sampling "
    "rate or compressed (MP3), so fit the detector again with recordings like this one",
    "machine off: quieter than every normal recording over all bands, and louder in none; is the machine running, and "
    "are the microphone's place and gain and the file format as before?",
)


class InputChecks(nn.Module):
    """
    Args:
        ranges ([`InputRanges`], *optional*): of the machine's normal clips; without them silence, gaps and clipping
            alone are checked.
    """

    lowest_level: torch.Tensor
    highest_level: torch.Tensor
    lowest_spectrum: torch.Tensor
    highest_spectrum: torch.Tensor
    level_bands: torch.Tensor

    def __init__(self, ranges: InputRanges | None):
        super().__init__()
        self.ranges = ranges
        if ranges is None:
            return
        for name in ("lowest_level", "highest_level", "lowest_spectrum", "highest_spectrum"):
            self.register_buffer(name, torch.from_numpy(getattr(ranges, name).astype(np.float32)))
        self.register_buffer("level_bands", _band_matrix(LONG, LEVEL_EDGES))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(clips, samples)` at 16 kHz -> `(clips,)`, int64: [`USABLE`], or the first reason that holds."""
        ranges = self.ranges
        gap, clipped = (0.0, 0.0) if ranges is None else (ranges.gap, ranges.clipped)
        found = [
            is_silent(waveform),
            gap_seconds(waveform) > 2 * gap,
            clipped_share(waveform) > max(CLIPPED_SHARE, 2 * clipped),
        ]
        if ranges is not None:
            samples = torch.full_like(waveform[:, 0], waveform.shape[1], dtype=torch.float64)
            level, spectrum = self._levels(waveform)
            found += [
                samples < SHORTEST_SHARE * ranges.seconds * SAMPLING_RATE,
                ~self._has_new_sound(level) & self._upper_bands_missing(spectrum),
                self._upper_bands_added(spectrum),
                self._is_off(level),
            ]
        flags = torch.stack(found, dim=1).long()
        first = flags.argmax(1) + 1
        return torch.where(flags.amax(1) > 0, first, USABLE)

    def _levels(self, waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[`~hf_asd.audio.acoustic_features.extract_levels`]: `(clips, 51)` and `(clips, 128)`."""
        level = _decibels(_power(waveform, LONG) @ self.level_bands)
        width = round(SPECTRUM_HZ * SHORT / SAMPLING_RATE)
        spectrum = _decibels(_power(waveform, SHORT)[..., :-1].unflatten(2, (-1, width)).sum(3))
        return median(level.transpose(1, 2)), median(spectrum.transpose(1, 2))

    def _has_new_sound(self, level: torch.Tensor) -> torch.Tensor:
        above = level - self.highest_level
        return above.amax(1) > median(above) + NEW_SOUND_DB

    def _upper_bands_missing(self, spectrum: torch.Tensor) -> torch.Tensor:
        below = (self.lowest_spectrum - spectrum)[:, :HIGHEST_BAND]
        first = HIGHEST_BAND - _bands_from_top(below > MISSING_DB)[:, None]
        # The median of the bands below the cut, whose number differs from clip to clip.
        ordered = torch.where(torch.arange(HIGHEST_BAND) < first, below, torch.inf).sort(1).values
        middle = (ordered.gather(1, (first - 1).clamp_min(0) // 2) + ordered.gather(1, first // 2)) / 2
        near = (first + torch.arange(BELOW_CUT.start, BELOW_CUT.stop)).clamp_min(0)
        as_usual = torch.maximum(middle[:, 0], median(below.gather(1, near))) <= MISSING_DB / 2
        return (first[:, 0] > -BELOW_CUT.start) & (first[:, 0] < HIGHEST_BAND) & as_usual

    def _upper_bands_added(self, spectrum: torch.Tensor) -> torch.Tensor:
        above, highest = (spectrum - self.highest_spectrum)[:, :HIGHEST_BAND], self.highest_spectrum[:HIGHEST_BAND]
        return _bands_from_top((above > MISSING_DB) & (highest < EMPTY_DB)) > 0

    def _is_off(self, level: torch.Tensor) -> torch.Tensor:
        assert self.ranges is not None
        deficit = (self.lowest_level - level).clamp_min(0).mean(1)
        is_quiet = deficit > max(OFF_DB, 2 * self.ranges.deficit)
        return is_quiet & ((level - self.highest_level).amax(1) < OFF_EXCESS_DB)


def _power(waveform: torch.Tensor, window: int) -> torch.Tensor:
    """Power spectra of windows half a window apart, `(clips, windows, window / 2 + 1)`."""
    missing = cast(int, torch.sym_max(window - waveform.shape[1], 0))  # of no fixed number in a graph
    filled, half = nn.functional.pad(waveform, (0, missing)), window // 2
    halves = filled[:, : filled.shape[1] // half * half].unflatten(1, (-1, half))
    frames = torch.cat([halves[:, :-1], halves[:, 1:]], dim=2)
    spectra = torch.fft.rfft(frames * torch.hann_window(window))
    squares_of_window = 3 / 8 * window
    return (spectra.real.square() + spectra.imag.square()) * (2 / (window * squares_of_window))


def _decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * (power + SILENCE).log10()


def _band_matrix(window: int, edges: np.ndarray) -> torch.Tensor:
    """Which lines of a spectrum are added up in each band, `(window / 2 + 1, bands)`."""
    starts = _starts(window, edges)
    lines = np.arange(window // 2 + 1)[:, None]
    return torch.from_numpy(((lines >= starts[:-1]) & (lines < starts[1:])).astype(np.float32))


def _bands_from_top(chosen: torch.Tensor) -> torch.Tensor:
    """The number of chosen bands without a gap, counted from the highest; 0 where there are fewer than two."""
    count = ((~chosen).flip(1).long().cumsum(1) == 0).sum(1)
    return torch.where(count >= 2, count, 0)
