"""How many samples of a recording were cut off because they exceeded what the recorder could store."""

import numpy as np

from .stored_sound import Range


OUTLIERS = 0.00025  # share of samples that may lie above a flat top, such as clicks
FEWEST = 5  # samples at a flat top; fewer are chance
CREST = 0.05  # share of the top: samples so far below it are compared with those at it
NEIGHBORS = 8  # steps of the recording that are compared with the top at least


def clipped_share(samples: np.ndarray, own: Range | None = None) -> float:
    """
    The share of samples that lie at a recording's highest and lowest value because they were cut off there.

    Clipped samples pile up at one value, which may lie below full scale. A pile has more than twice the samples of any
    other value near it, and more than twice those of a sine at its crest, where no oscillation stays longer. A few
    samples above it, such as clicks, are neither a pile nor do they hide one.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): as recorded; resampling hides clipping.
        own ([`~hf_asd.audio.stored_sound.Range`], *optional*): where they lie, if that is known.

    Returns:
        `float`: between 0 and 1; 0 for silence and constants, which are flat without being clipped.
    """
    own = own or Range.of(samples)
    if own.is_silent:
        return 0.0
    # Of 16 bits where all values are such, otherwise of 24 bits, as floats have near full scale.
    some = samples[: 1 << 12].astype(np.float64) * 2**15
    step = 2.0**-15 if np.array_equal(some, np.round(some)) else 2.0**-23
    loud = samples[np.flatnonzero(np.abs(samples) > own.largest / 2)]
    clipped = sum(_pile(samples, sign, sign * loud, own.largest, step) for sign in (1, -1))
    return min(clipped / len(samples), 1.0)


def _pile(samples: np.ndarray, sign: int, loud: np.ndarray, extreme: float, step: float) -> int:
    """
    The number of samples on a flat top, or for a sign of -1 on a flat bottom; 0 where they are no more than elsewhere
    near it. The loud samples have that sign already.
    """
    rank = int(OUTLIERS * len(samples)) + 1
    # Few samples are near the top; only those are sorted.
    floor, high = extreme / 2, loud[loud > 0]
    for lower in (extreme / 4, extreme / 8, extreme / 16, -np.inf):
        if len(high) >= 4 * rank:
            break
        floor, high = lower, sign * samples
        high = high[high > lower]
    top = float(np.partition(high, len(high) - rank)[-rank])
    # Coarse recordings have few values: their distance is that of the two values below the top. The distance from the
    # top itself says nothing, it may stand alone.
    second = _next_value(samples, sign, high, top - 1.5 * step)
    third = _next_value(samples, sign, high, second - 0.5 * step)
    distance = max(second - third, step) if third > -np.inf else step
    reach = max(CREST * top, NEIGHBORS * distance)
    near = high if top - reach > floor else sign * samples
    near = near[(near > top - reach) & (near < top + 1.5 * step)]
    # Rounding after clipping leaves one value, or three where noise was added before it.
    count = max(_flat_top(near, top, width, max(width, distance) / reach) for width in (step, 3 * step))
    if count and top - sign * float(samples.mean()) <= distance:
        return 0  # not a top, but the value of silence between clicks
    return count


def _next_value(samples: np.ndarray, sign: int, high: np.ndarray, limit: float) -> float:
    """The largest value below a limit, which is looked for among the high ones first."""
    found = float(high.max(where=high < limit, initial=-np.inf))
    if found > -np.inf:
        return found
    values = sign * samples
    return float(values.max(where=values < limit, initial=-np.inf))


def _flat_top(near: np.ndarray, top: float, width: float, share: float) -> int:
    at_top = int(np.count_nonzero(np.abs(near - top) < width / 2))
    if at_top < FEWEST:
        return 0
    depths = ((top + width / 2 - near[near < top + width / 2]) / width).astype(np.int64)
    others = np.bincount(depths, minlength=2)[1:]
    # The part of a sine's crest that lies within a step of it goes with the root of that step.
    crest = len(depths) * np.sqrt(share)
    return at_top if at_top > 2 * max(int(others.max()), crest) else 0
