"""Reasons in words: what a clip shows that no normal clip of the machine does, whichever encoder decided about it."""

import numpy as np

from ...audio.acoustic_features import (
    EVENT_EDGES,
    FRAME_SECONDS,
    LEVEL_EDGES,
    OCTAVE_EDGES,
    RATE_EDGES,
    extract_features,
    summarize_features,
    tone_hertz,
)
from .input_checks import check_input
from .normal_profile import WIDTHS, NormalProfile


MOST = 4  # findings told about a clip
TELLING = ("louder", "quieter", "tone", "burst", "knock", "rhythm")  # kinds by which a machine tells of a fault
CANNOT_TELL = "cannot tell: {}"
NO_PROFILE = CANNOT_TELL.format(
    "this detector has heard no recordings to compare with (it was fitted from embeddings alone or from fewer than 4 "
    "clips)"
)
NOTHING_FOUND = CANNOT_TELL.format("levels, tones, knocks and rhythms are all as normal clips have them")


def check_and_explain(
    samples: np.ndarray, clipped: float, profile: NormalProfile | None, is_anomaly: bool, explain: bool
) -> tuple[str | None, list[dict]]:
    """
    What there is to say about a decision.

    Args:
        samples, clipped: of [`~hf_asd.audio.reading.read_with_clipping`].
        profile ([`NormalProfile`], *optional*): of the machine's normal clips.
        is_anomaly (`bool`): what the detector decided.
        explain (`bool`): whether reasons for the decision are wanted.

    Returns:
        `tuple[str | None, list[dict]]`: why to abstain ([`check_input`]), and the reasons ([`explain`]); of
        an unfit recording the only one is that it is unfit, and about a normal clip there are none.
    """
    told = extract_features(samples)
    abstain_reason = check_input(samples, clipped, summarize_features(told), profile)
    if abstain_reason is not None:
        return abstain_reason, [{"kind": "unfit", "text": abstain_reason, "strength": 0.0}]
    return None, give(told, profile, is_anomaly) if explain else []


def explain(told: dict[str, np.ndarray], profile: NormalProfile | None, is_anomaly: bool | None = None) -> list[dict]:
    """
    What is unusual about a clip, the most unusual first; the level of the whole clip last, and only what of it does
    not come from bands that stand out.

    Args:
        told (`dict[str, np.ndarray]`): of [`~hf_asd.audio.acoustic_features.extract_features`].
        profile ([`NormalProfile`], *optional*): of the machine's normal clips.
        is_anomaly (`bool`, *optional*): what the detector decided. About an alarm that shows nothing beyond every
            normal clip, the one thing is told that the fewest normal clips (5 % or less) do as much, after a
            "perhaps"; and where there is none, that these words cannot tell. Where there was no alarm there is nothing
            to give reasons for. By default the clip is described whatever was decided.

    Returns:
        `list[dict]`, at most four, each with `kind`, `text`, `strength` (above 1 is beyond every normal clip) and,
        where they apply, `low_hz` and `high_hz`, `start_s` and `end_s`, `db`, `spacing_hz`. Kinds are `tone`,
        `louder`, `quieter`, `knock`, `rhythm`, `dropout`, `level_rise`, `level_drop` and `cannot_tell`. Empty where
        there is nothing to tell.
    """
    if is_anomaly is False:
        return []
    if profile is None:
        return [{"kind": "cannot_tell", "text": NO_PROFILE, "strength": 0.0}]
    summary = summarize_features(told)
    strength = profile.compare(summary)
    above = {kind: summary[kind] - profile.mean[kind] for kind in ("tone", "burst", "knock", "rhythm")}
    above |= {"dropout": summary["dropout"], "loudness": summary["loudness"] - profile.mean["level_rise"]}
    residual = profile.residual(summary["level"][None])[0]

    def tell(kind: str) -> dict:
        finding = {"kind": kind, **WORDS[kind](strength[kind], above, residual, told)}
        return finding | {"strength": round(float(strength[kind].max()), 2)}

    kinds = [kind for kind, values in strength.items() if values.max() > 1]
    if "level_rise" in kinds:
        above["loudness"] -= _explained(summary["level"], residual)
        strength["level_rise"] *= above["loudness"] / (summary["loudness"] - profile.mean["level_rise"])
        if strength["level_rise"] <= 1:
            # A level that rose in a few bands is told as those bands.
            kinds.remove("level_rise")
            kinds = kinds or [max(("tone", "louder"), key=lambda kind: strength[kind].max())]
    findings = _without_repetition([tell(kind) for kind in kinds])[:MOST]
    if findings or not is_anomaly:
        return findings
    rarity = {kind: strength[kind].max() / max(profile.rare[kind], 0.1) for kind in TELLING}
    rarest = max(rarity, key=rarity.get)
    if rarity[rarest] < 1:
        return [{"kind": "cannot_tell", "text": NOTHING_FOUND, "strength": 0.0}]
    finding = tell(rarest)
    return [finding | {"text": f"perhaps {finding['text']} (few normal clips do this as much)"}]


give = explain


def _explained(level: np.ndarray, residual: np.ndarray) -> float:
    """How many dB of a clip's level it owes to bands that stand out of the others."""
    heard = LEVEL_EDGES[:-1] >= EVENT_EDGES[0]
    with_them, without = (
        10 * np.log10(np.sum(10 ** (decibels[heard] / 10))) for decibels in (level, level - np.maximum(residual, 0))
    )
    return float(with_them - without)


def _tone(values, above, residual, told):
    near = np.arange(max(int(values.argmax()) - 3, 0), min(int(values.argmax()) + 4, len(values)))
    cell = int(near[told["tone"][near].argmax()])
    hertz = tone_hertz(cell)
    db = float(above["tone"][cell])
    # A line that normal clips have too is only louder.
    is_new = told["tone"][cell] - db < 6
    text = f"{'new tone' if is_new else 'louder tone'} near {_hertz(hertz)}, {db:.0f} dB above normal"
    return {"text": text, **_band(hertz / 2 ** (1 / 48), hertz * 2 ** (1 / 48)), "db": _round(db)}


def _louder(values, above, residual, told, word="louder", sign=1):
    width, middle = divmod(int(values.argmax()), len(residual))
    first, last = _around_peak(middle, sign * residual, WIDTHS[width] // 2)
    low, high, db = LEVEL_EDGES[first], LEVEL_EDGES[last + 1], float(residual[first : last + 1].mean())
    text = f"{word} {_range(low, high)}, {abs(db):.0f} dB {'above' if sign > 0 else 'below'} normal"
    return {"text": text, **_band(low, high), "db": _round(db)}


def _quieter(values, above, residual, told):
    return _louder(values, above, residual, told, "quieter", -1)


def _burst(values, above, residual, told):
    first, last = _around_peak(int(values.argmax()), told["steady"].max(1) - np.median(told["steady"], axis=1))
    low, high = EVENT_EDGES[first], EVENT_EDGES[last + 1]
    course = told["steady"][first : last + 1].mean(0)
    rest = np.quantile(course, 0.2)
    db = float(course.max() - rest)
    start, end = _run(course > rest + db / 2, int(course.argmax()))
    start_s, end_s = start * FRAME_SECONDS, (end + 2) * FRAME_SECONDS
    text = (
        f"louder {_range(low, high)} between {start_s:.1f} and {end_s:.1f} s, {db:.0f} dB above the rest of the clip"
    )
    return {"kind": "louder", "text": text, **_band(low, high), **_span(start_s, end_s), "db": _round(db)}


def _knock(values, above, residual, told):
    sharp = told["event"] - told["steady"]
    frame = int(sharp[values.argmax()].argmax())
    first, last = _around_peak(int(values.argmax()), sharp[:, frame])
    low, high = EVENT_EDGES[first], EVENT_EDGES[last + 1]
    course = sharp[first : last + 1].mean(0)
    loud = course > 0.7 * course[frame]
    count = int(np.sum(np.diff(loud.astype(int), prepend=0) == 1))
    seconds, db = (frame + 1) * FRAME_SECONDS, float(sharp[values.argmax(), frame])
    what = "a knock" if count == 1 else f"{count} knocks, the loudest"
    text = f"{what} at {seconds:.1f} s, {_range(low, high)}, {db:.0f} dB above the moments around"
    return {"text": text, **_band(low, high), **_span(seconds, seconds), "db": _round(db)}


def _rhythm(values, above, residual, told):
    shape = told["rhythm"].shape
    octave, cell = np.unravel_index(int(values.argmax()), shape)
    first, last = _run(values.reshape(shape)[:, cell] > 0.5 * values.max(), int(octave))
    low, high = OCTAVE_EDGES[first], OCTAVE_EDGES[last + 1]
    heights = told["rhythm"][octave]
    cell = max(cell - 1, 0) + int(heights[max(cell - 1, 0) : cell + 2].argmax())
    db = float(above["rhythm"].reshape(shape)[octave, cell])
    rates = np.sqrt(RATE_EDGES[:-1] * RATE_EDGES[1:])
    # What repeats 25 times a second also does so 50 times: the slowest rate that stands out is told.
    is_peak = np.concatenate([[False], (heights[1:-1] > heights[:-2]) & (heights[1:-1] > heights[2:]), [False]])
    for part in (4, 3, 2):
        slower = is_peak & (np.abs(np.log2(rates * part / rates[cell])) < 1 / 12) & (heights > 0.7 * heights[cell])
        if slower.any():
            cell = int(np.flatnonzero(slower)[0])
            break
    text = f"sidebands {_number(rates[cell])} Hz apart {_range(low, high)}, {db:.0f} dB above normal"
    return {"text": text, **_band(low, high), "spacing_hz": _round(rates[cell]), "db": _round(db)}


def _dropout(values, above, residual, told):
    frame, db = int(told["loudness"].argmin()), float(above["dropout"][0])
    seconds = (frame + 1) * FRAME_SECONDS
    text = f"a dropout at {seconds:.1f} s, {db:.0f} dB below the rest of the clip"
    return {"text": text, **_span(seconds, seconds), "db": _round(-db)}


def _level(values, above, residual, told):
    db = float(above["loudness"][0])
    return {"text": f"level {abs(db):.0f} dB {'above' if db > 0 else 'below'} normal", "db": _round(db)}


WORDS = {
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


def _without_repetition(findings: list[dict]) -> list[dict]:
    """
    Of findings about one band, other than rhythms, the strongest is told; a tone rather than its narrow band. What
    says where to look comes first, the level of the whole clip last.
    """
    kept = []
    for finding in sorted(findings, key=lambda finding: (finding["kind"].startswith("level"), -finding["strength"])):
        same = [other for other in kept if _overlap(finding, other)]
        if not same:
            kept.append(finding)
        elif (
            finding["kind"] == "tone" and same[0]["kind"] == "louder" and same[0]["high_hz"] < 1.6 * same[0]["low_hz"]
        ):
            kept[kept.index(same[0])] = finding | {"strength": same[0]["strength"]}
    return kept


def _overlap(one: dict, other: dict) -> bool:
    if "rhythm" in (one["kind"], other["kind"]) or "low_hz" not in one or "low_hz" not in other:
        return False
    return one["low_hz"] < other["high_hz"] and other["low_hz"] < one["high_hz"]


def _around_peak(middle: int, decibels: np.ndarray, reach: int = 1) -> tuple[int, int]:
    """First and last band of the finding: around the peak near its middle, as far as half the peak is reached."""
    near = slice(max(middle - reach, 0), middle + reach + 1)
    peak = near.start + int(decibels[near].argmax())
    return _run(decibels >= decibels[peak] / 2, peak)


def _run(chosen: np.ndarray, inside: int) -> tuple[int, int]:
    """First and last index of the unbroken run of true values around an index."""
    first = last = inside
    while first > 0 and chosen[first - 1]:
        first -= 1
    while last < len(chosen) - 1 and chosen[last + 1]:
        last += 1
    return first, last


def _band(low: float, high: float) -> dict:
    return {"low_hz": _round(low), "high_hz": _round(high)}


def _span(start_s: float, end_s: float) -> dict:
    return {"start_s": round(start_s, 2), "end_s": round(end_s, 2)}


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _number(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return f"{float(f'{value:.2g}'):g}"


def _hertz(hertz: float) -> str:
    return f"{_number(hertz)} Hz" if hertz < 995 else f"{_number(hertz / 1000)} kHz"


def _range(low: float, high: float) -> str:
    if high < 995:
        return f"from {_number(low)} to {_number(high)} Hz"
    return f"from {_number(low / 1000)} to {_number(high / 1000)} kHz"
