"""Between which limits the recordings of a machine lie that are usual ones: what a recording is checked against."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


UNUSUAL_SHARE = 0.1  # so many normal clips, or one, may be unlike the others; more are another state of the machine
ISOLATED_DB = 10.0  # how far clips that are so few may widen a limit of a band
ISOLATED_DEFICIT_DB = 3.0  # and that of the mean over all bands


@dataclass(frozen=True)
class InputRanges:
    """
    Limits of the normal clips of one machine that no few unusual ones among them move far.

    Args:
        lowest_level, highest_level (`np.ndarray` of shape `(51,)`): in each sixth of an octave, in dB.
        lowest_spectrum, highest_spectrum (`np.ndarray` of shape `(128,)`): in each 62.5 Hz, in dB.
        deficit (`float`): how far below all other normal clips one of them lies, mean over sixths of an octave in dB.
        clipped (`float`): the largest share of clipped samples.
        gap (`float`): the longest gap in seconds.
        seconds (`float`): the length of the shortest.
    """

    lowest_level: np.ndarray
    highest_level: np.ndarray
    lowest_spectrum: np.ndarray
    highest_spectrum: np.ndarray
    deficit: float
    clipped: float
    gap: float
    seconds: float

    @classmethod
    def of(cls, summaries: Mapping[str, np.ndarray], isolated_db: float = ISOLATED_DB) -> "InputRanges":
        """
        Args:
            summaries (`Mapping[str, np.ndarray]`): stacked over normal clips: `level`, `spectrum`, `clipped`, `gap`,
                `seconds`.
            isolated_db (`float`, *optional*, defaults to 10): how far few clips may widen a limit of a band; 0 where
                these clips themselves are checked.
        """
        lowest_level, highest_level = _limits(summaries["level"], isolated_db)
        lowest_spectrum, highest_spectrum = _limits(summaries["spectrum"], isolated_db)
        return cls(
            lowest_level=lowest_level,
            highest_level=highest_level,
            lowest_spectrum=lowest_spectrum,
            highest_spectrum=highest_spectrum,
            deficit=_deficit(summaries["level"]),
            clipped=usual_highest(summaries["clipped"]),
            gap=usual_highest(summaries["gap"]),
            seconds=-usual_highest(-summaries["seconds"]),
        )


def unusual_count(clips: int) -> int:
    """How many of the normal clips of a machine may be unlike the others: a tenth, or one."""
    return max(1, int(UNUSUAL_SHARE * clips))


def usual_highest(values: np.ndarray) -> float:
    """The highest value of clips (`(clips,)` or `(clips, 1)`) once the few that may be unusual are left out."""
    ordered = np.sort(values.ravel())
    return float(ordered[-1 - min(unusual_count(len(ordered)), len(ordered) - 1)])


def _limits(levels: np.ndarray, isolated_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest of `(clips, bands)`, as far as they are not the doing of a few clips."""
    ordered, few = np.sort(levels, axis=0), min(unusual_count(len(levels)), len(levels) - 1)
    lowest = np.maximum(ordered[0], ordered[few] - isolated_db)
    return lowest, np.minimum(ordered[-1], ordered[-1 - few] + isolated_db)


def _deficit(levels: np.ndarray) -> float:
    ordered = np.sort(levels, axis=0)
    others_lowest = np.where(levels == ordered[0], ordered[1], ordered[0])
    deficits = np.maximum(others_lowest - levels, 0).mean(1)
    return min(float(deficits.max()), usual_highest(deficits) + ISOLATED_DEFICIT_DB)
