"""One finding in words and numbers: where, when and by how much a clip differs from the normal ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...audio.acoustic_features import (
    EVENT_EDGES,
    FRAME_SECONDS,
    LEVEL_EDGES,
    OCTAVE_EDGES,
    RATE_EDGES,
    tone_hertz,
)
from .normal_profile import WIDTHS, NormalProfile


@dataclass(frozen=True)
class Reason:
    """
    Args:
        kind (`str`): `"tone"`, `"louder"`, `"quieter"`, `"flutter"` (other changes from moment to moment),
            `"knock"`, `"rhythm"`, `"dropout"`, `"level_rise"`, `"level_drop"`, `"unfit"` (the recording itself) or
            `"cannot_tell"`.
        text (`str`): the reason in words.
        strength (`float`): above 1 is beyond every normal clip.
        low_hz, high_hz (`float`, *optional*): the band in Hz.
        start_s, end_s (`float`, *optional*): the time in seconds.
        db (`float`, *optional*): the difference in dB.
        spacing_hz (`float`, *optional*): distance of sidebands in Hz.
    """

    kind: str
    text: str
    strength: float = 0.0
    low_hz: float | None = None
    high_hz: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    db: float | None = None
    spacing_hz: float | None = None


@dataclass
class Comparison:
    """
    A clip beside the normal clips of its machine.

    Args:
        features, summary (`dict[str, np.ndarray]`): of [`~hf_asd.audio.acoustic_features.extract_features`] and
            [`~hf_asd.audio.acoustic_features.summarize_features`].
        strength (`dict[str, np.ndarray]`): of [`NormalProfile.compare`].
        above (`dict[str, np.ndarray]`): by kind the difference to the mean of the normal clips in dB.
        residual (`np.ndarray` of shape `(51,)`): of [`NormalProfile.residual`].
    """

    features: dict[str, np.ndarray]
    summary: dict[str, np.ndarray]
    strength: dict[str, np.ndarray]
    above: dict[str, np.ndarray]
    residual: np.ndarray

    @classmethod
    def of(
        cls, features: dict[str, np.ndarray], summary: dict[str, np.ndarray], profile: NormalProfile
    ) -> "Comparison":
        """Compares a clip with a profile."""
        above = {kind: summary[kind] - profile.mean[kind] for kind in ("tone", "burst", "knock", "rhythm")}
        above |= {"dropout": summary["dropout"], "loudness": summary["loudness"] - profile.mean["level_rise"]}
        residual = profile.residual(summary["level"][None])[0]
        return cls(features, summary, profile.compare(summary), above, residual)

    def reason(self, kind: str) -> Reason:
        """The strongest finding of a kind in words."""
        values = self.strength[kind]
        return Reason(**{"kind": kind, **WORDS[kind](self, values)}, strength=round(float(values.max()), 2))


def _tone(clip: Comparison, values: np.ndarray) -> dict:
    tones = clip.features["tone"]
    near = np.arange(max(int(values.argmax()) - 3, 0), min(int(values.argmax()) + 4, len(values)))
    cell = int(near[tones[near].argmax()])
    hertz = tone_hertz(cell)
    db = float(clip.above["tone"][cell])
    # A line that normal clips have too is not new, only louder.
    is_new = tones[cell] - db < 6
    text = f"{'new tone' if is_new else 'louder tone'} near {_hertz(hertz)}, {db:.0f} dB above normal"
    return {"text": text, **band_entries(hertz / 2 ** (1 / 48), hertz * 2 ** (1 / 48)), "db": _round(db)}


def _louder(clip: Comparison, values: np.ndarray, word: str = "louder", sign: int = 1) -> dict:
    width, middle = divmod(int(values.argmax()), len(clip.residual))
    first, last = _around_peak(middle, sign * clip.residual, WIDTHS[width] // 2)
    low, high, db = LEVEL_EDGES[first], LEVEL_EDGES[last + 1], float(clip.residual[first : last + 1].mean())
    text = f"{word} {frequency_range(low, high)}, {abs(db):.0f} dB {'above' if sign > 0 else 'below'} normal"
    return {"text": text, **band_entries(low, high), "db": _round(db)}


def _quieter(clip: Comparison, values: np.ndarray) -> dict:
    return _louder(clip, values, "quieter", -1)


def _burst(clip: Comparison, values: np.ndarray) -> dict:
    steady = clip.features["steady"]
    first, last = _around_peak(int(values.argmax()), steady.max(1) - np.median(steady, axis=1))
    low, high = EVENT_EDGES[first], EVENT_EDGES[last + 1]
    course = steady[first : last + 1].mean(0)
    rest = np.quantile(course, 0.2)
    db = float(course.max() - rest)
    start, end = _run(course > rest + db / 2, int(course.argmax()))
    start_s, end_s = start * FRAME_SECONDS, (end + 2) * FRAME_SECONDS
    when = f"between {start_s:.1f} and {end_s:.1f} s"
    text = f"louder {frequency_range(low, high)} {when}, {db:.0f} dB above the rest of the clip"
    place = band_entries(low, high) | span_entries(start_s, end_s)
    return {"kind": "louder", "text": text, **place, "db": _round(db)}


def _knock(clip: Comparison, values: np.ndarray) -> dict:
    sharp = clip.features["event"] - clip.features["steady"]
    frame = int(sharp[values.argmax()].argmax())
    first, last = _around_peak(int(values.argmax()), sharp[:, frame])
    low, high = EVENT_EDGES[first], EVENT_EDGES[last + 1]
    course = sharp[first : last + 1].mean(0)
    loud = course > 0.7 * course[frame]
    count = int(np.sum(np.diff(loud.astype(int), prepend=0) == 1))
    seconds, db = (frame + 1) * FRAME_SECONDS, float(sharp[values.argmax(), frame])
    what = "a knock" if count == 1 else f"{count} knocks, the loudest"
    text = f"{what} at {seconds:.1f} s, {frequency_range(low, high)}, {db:.0f} dB above the moments around"
    return {"text": text, **band_entries(low, high), **span_entries(seconds, seconds), "db": _round(db)}


def _rhythm(clip: Comparison, values: np.ndarray) -> dict:
    shape = clip.features["rhythm"].shape
    octave, cell = map(int, np.unravel_index(int(values.argmax()), shape))
    first, last = _run(values.reshape(shape)[:, cell] > 0.5 * values.max(), octave)
    low, high = OCTAVE_EDGES[first], OCTAVE_EDGES[last + 1]
    heights = clip.features["rhythm"][octave]
    cell = max(cell - 1, 0) + int(heights[max(cell - 1, 0) : cell + 2].argmax())
    db = float(clip.above["rhythm"].reshape(shape)[octave, cell])
    rates = np.sqrt(RATE_EDGES[:-1] * RATE_EDGES[1:])
    # A sound that repeats 25 times a second also repeats 50 times: the slowest rate that stands out is named.
    is_peak = np.concatenate([[False], (heights[1:-1] > heights[:-2]) & (heights[1:-1] > heights[2:]), [False]])
    for part in (4, 3, 2):
        slower = is_peak & (np.abs(np.log2(rates * part / rates[cell])) < 1 / 12) & (heights > 0.7 * heights[cell])
        if slower.any():
            cell = int(np.flatnonzero(slower)[0])
            break
    text = f"sidebands {_number(rates[cell])} Hz apart {frequency_range(low, high)}, {db:.0f} dB above normal"
    return {"text": text, **band_entries(low, high), "spacing_hz": _round(rates[cell]), "db": _round(db)}


def _dropout(clip: Comparison, values: np.ndarray) -> dict:
    frame, db = int(clip.features["loudness"].argmin()), float(clip.above["dropout"][0])
    seconds = (frame + 1) * FRAME_SECONDS
    text = f"a dropout at {seconds:.1f} s, {db:.0f} dB below the rest of the clip"
    return {"text": text, **span_entries(seconds, seconds), "db": _round(-db)}


def _level(clip: Comparison, values: np.ndarray) -> dict:
    db = float(clip.above["loudness"][0])
    return {"text": f"level {abs(db):.0f} dB {'above' if db > 0 else 'below'} normal", "db": _round(db)}


# Kind of finding in a profile -> its words.
WORDS: dict[str, Callable[[Comparison, np.ndarray], dict]] = {
    "louder": _louder,
    "quieter": _quieter,
    "tone": _tone,
    "burst": _burst,
    "knock": _knock,
    "rhythm": _rhythm,
    "dropout": _dropout,
    "level_rise": _level,
    "level_drop": _level,
}


def _around_peak(middle: int, decibels: np.ndarray, reach: int = 1) -> tuple[int, int]:
    """First and last band of a finding: the bands around its peak that reach at least half of it."""
    start = max(middle - reach, 0)
    peak = start + int(decibels[start : middle + reach + 1].argmax())
    return _run(decibels >= decibels[peak] / 2, peak)


def _run(chosen: np.ndarray, inside: int) -> tuple[int, int]:
    """First and last index of the unbroken run of true values around an index."""
    first = last = inside
    while first > 0 and chosen[first - 1]:
        first -= 1
    while last < len(chosen) - 1 and chosen[last + 1]:
        last += 1
    return first, last


def band_entries(low: float, high: float) -> dict:
    """The band of a [`Reason`]."""
    return {"low_hz": _round(low), "high_hz": _round(high)}


def span_entries(start_s: float, end_s: float) -> dict:
    """The time of a [`Reason`]."""
    return {"start_s": round(start_s, 2), "end_s": round(end_s, 2)}


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _number(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return f"{float(f'{value:.2g}'):g}"


def _hertz(hertz: float) -> str:
    return f"{_number(hertz)} Hz" if hertz < 995 else f"{_number(hertz / 1000)} kHz"


def frequency_range(low: float, high: float) -> str:
    """A band in words."""
    if high < 995:
        return f"from {_number(low)} to {_number(high)} Hz"
    return f"from {_number(low / 1000)} to {_number(high / 1000)} kHz"
