"""Compares the normal clips of a machine with their majority: which are copies, which are odd, and in what."""

import re
from collections.abc import Sequence

import numpy as np

from ..explanation.input_checks import (
    CLIPPED_SHARE,
    OFF_EXCESS_DB,
    gap_or_clipped,
    upper_bands_added,
    upper_bands_missing,
)
from ..explanation.input_ranges import InputRanges, unusual_count, usual_highest
from .copies import find_copies
from .findings import TrainingFindings, listed
from .measures import ClipMeasures
from .pieces import count_joined


FEWEST_CLIPS = 4  # fewer have no majority
LARGEST_SHARE = 0.2  # of the clips may be left out; so many that are alike would be a state of the machine
ODD_LEVEL_DB = 12.0  # from the median: a gain knob that was touched
ODD_SPREADS = 6.0  # robust standard deviations: where levels vary, a level is odd only beyond them
OTHER_SCALE_DB = 40.0  # from the median: no machine does that, a wrong scale of a file does
OFF_DEFICIT_DB = 10.0  # below nearly all others in the mean over bands: the slowest speed of a motor is 7 dB below
OFF_DEFICITS = 3.0  # times as far below them as usual clips lie
OTHER_LENGTH = 2.0  # so many times as long as the median, or as short


def check_clips(
    names: Sequence[str], clips: Sequence[ClipMeasures], are_recordings: Sequence[bool]
) -> tuple[TrainingFindings, list[int]]:
    """
    Looks at the normal clips of one machine.

    Clips that the checks of recordings would refuse to judge beside the others, and those of a level far from theirs,
    are left out as long as they are few: they are no example of what is normal, and one of them can raise the
    threshold so far that no fault is found.

    Args:
        names (`Sequence[str]`): of the clips.
        clips (`Sequence[ClipMeasures]`): of the clips.
        are_recordings (`Sequence[bool]`): whether a clip is a whole recording, not a window that was cut from one.

    Returns:
        `tuple[TrainingFindings, list[int]]`: what was found, and the numbers of the clips to learn from.
    """
    findings = TrainingFindings()
    copies = find_copies([clip.digest for clip in clips], np.stack([clip.fingerprint for clip in clips]))
    findings.copies = {names[copy]: names[first] for copy, first in copies.items()}
    kept = [row for row in range(len(clips)) if row not in copies]
    unfit, kept = _split_unfit(clips, kept)
    findings.left_out = {names[row]: why for row, why in unfit.items()}
    findings.unusual = {names[kept[place]]: why for place, why in _unusual([clips[row] for row in kept]).items()}
    findings.remarks = _remarks([clips[row] for row in kept])
    whole = sorted((row for row in kept if are_recordings[row]), key=lambda row: natural_key(names[row]))
    if joined := count_joined([clips[row].ends for row in whole]):
        findings.remarks.append(
            f"At least {joined} of {len(whole)} recordings begin exactly where the one before ends: they are pieces "
            "of longer recordings. The false-alarm rate then holds for sound like that of these hours alone; another "
            "day can sound different. Record on several days."
        )
    return findings, kept


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts `2.wav` before `10.wav`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _split_unfit(clips: Sequence[ClipMeasures], rows: list[int]) -> tuple[dict[int, str], list[int]]:
    """By number, why clips are no example of the machine's normal sound; and the numbers of the others."""
    unfit: dict[int, str] = {}
    most = LARGEST_SHARE * len(rows)
    # Again without those that were found, since one odd clip can hide another.
    while len(rows) >= FEWEST_CLIPS:
        found = _unfit([clips[row] for row in rows])
        if not found or len(unfit) + len(found) > max(1, most):
            break
        unfit |= {rows[place]: why for place, why in found.items()}
        rows = [row for place, row in enumerate(rows) if place not in found]
    return unfit, rows


def _unfit(clips: Sequence[ClipMeasures]) -> dict[int, str]:
    """By place, why a clip is no example of the machine's normal sound."""
    levels = np.stack([clip.checked.level for clip in clips])
    ranges = InputRanges.of(
        {
            "level": levels,
            "spectrum": np.stack([clip.checked.spectrum for clip in clips]),
            "clipped": np.array([clip.checked.clipped for clip in clips]),
            "gap": np.array([clip.checked.gap_seconds for clip in clips]),
            "seconds": np.array([clip.checked.seconds for clip in clips]),
        },
        isolated_db=0.0,
    )
    found = _off(levels, ranges) | _odd_levels(clips)
    for place, clip in enumerate(clips):
        spectrum = clip.checked.spectrum
        why = (
            upper_bands_missing(spectrum, ranges)
            or upper_bands_added(spectrum, ranges)
            or gap_or_clipped(clip.checked, ranges)
        )
        if why is not None:
            found[place] = f"{why.partition(';')[0].replace('the normal clips', 'the others')}."
    return found


def _odd_levels(clips: Sequence[ClipMeasures]) -> dict[int, str]:
    above = np.array([clip.decibels for clip in clips])
    above = above - np.median(above)
    spread = 1.4826 * float(np.median(np.abs(above)))
    limit = min(max(ODD_LEVEL_DB, ODD_SPREADS * spread), OTHER_SCALE_DB)
    found = {}
    for sign, word in ((1, "above"), (-1, "below")):
        odd = np.flatnonzero(sign * above > limit).tolist()
        if len(odd) <= unusual_count(len(clips)):
            found |= {place: f"its level is {abs(above[place]):.0f} dB {word} that of the others." for place in odd}
    return found


def _off(levels: np.ndarray, ranges: InputRanges) -> dict[int, str]:
    """Clips of a machine at rest: quieter than all others, the few lowest aside, and louder nowhere."""
    deficits = np.maximum(ranges.lowest_level - levels, 0).mean(1)
    off = deficits > max(OFF_DEFICIT_DB, OFF_DEFICITS * usual_highest(deficits))
    off &= (levels - ranges.highest_level).max(1) < OFF_EXCESS_DB
    return {
        place: f"machine off: {deficits[place]:.0f} dB quieter than the others on the mean over bands, louder in none."
        for place in np.flatnonzero(off).tolist()
    }


def _unusual(clips: Sequence[ClipMeasures]) -> dict[int, str]:
    """By place, in what a clip that is kept differs from nearly all others."""
    if len(clips) < FEWEST_CLIPS:
        return {}
    lengths = np.array([clip.checked.seconds for clip in clips])
    ratio = lengths / np.median(lengths)
    rates = [clip.sampling_rate for clip in clips]
    usual_rate = max(set(rates), key=rates.count)
    odd_lengths = np.flatnonzero((ratio > OTHER_LENGTH) | (ratio < 1 / OTHER_LENGTH)).tolist()
    odd_rates = [place for place, rate in enumerate(rates) if rate != usual_rate]
    found: dict[int, list[str]] = {}
    if len(odd_lengths) <= unusual_count(len(clips)):
        for place in odd_lengths:
            text = f"it is {lengths[place]:.3g} s long, the others are {np.median(lengths):.3g} s"
            found.setdefault(place, []).append(text)
    if len(odd_rates) <= unusual_count(len(clips)):
        for place in odd_rates:
            text = f"it is stored at {rates[place]} Hz, the others at {usual_rate} Hz"
            found.setdefault(place, []).append(text)
    return {place: f"{'; '.join(texts)}." for place, texts in sorted(found.items())}


def _remarks(clips: Sequence[ClipMeasures]) -> list[str]:
    remarks, count = [], len(clips)
    clipped = [100 * clip.checked.clipped for clip in clips if clip.checked.clipped > CLIPPED_SHARE]
    if clipped:
        remarks.append(
            f"{len(clipped)} of {count} recordings are clipped, up to {max(clipped):.2g} % of their samples: lower "
            "the recording level."
        )
    gaps = [clip.checked.gap_seconds for clip in clips if clip.checked.gap_seconds]
    if gaps:
        remarks.append(
            f"In {len(gaps)} of {count} recordings sound is cut out, for up to {max(gaps):.2g} s: does the recorder "
            "lose samples, or does a noise gate mute them?"
        )
    used = [clip for clip in clips if clip.silent_channels]
    if used:
        channels = sorted({channel for clip in used for channel in clip.silent_channels})
        named = f"channel{'s' if len(channels) > 1 else ''} {listed([str(channel) for channel in channels])}"
        remarks.append(f"{len(used)} of {count} recordings have no sound in {named}.")
    return remarks
