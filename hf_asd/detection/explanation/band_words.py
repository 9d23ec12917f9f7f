"""What made a detector's score high, in words: the line or band behind it, by how much, and whether it is steady."""

from dataclasses import replace

import numpy as np

from ...audio.acoustic_features import EVENT_EDGES, LEVEL_EDGES, TONE_EDGES, tone_hertz
from .band_deviations import BandFinding
from .normal_profile import NormalProfile
from .words import WORDS, Comparison, Reason, band_entries, frequency_range, span_entries


LEAST_RISE_DB, LEAST_DEVIATIONS = 3.0, 4.0  # above the normal clips: a line or swell that explains a band
LEAST_DB, LEAST_CHANGE = 1.0, 0.05
STEADIER, MORE_FLUTTER = 0.9, 1.1
# By kind of finding the frequencies in Hz that its values stand for.
PLACES = {
    "tone": np.array([tone_hertz(cell) for cell in range(len(TONE_EDGES) - 1)]),
    "louder": np.sqrt(LEVEL_EDGES[:-1] * LEVEL_EDGES[1:]),
    "knock": np.sqrt(EVENT_EDGES[:-1] * EVENT_EDGES[1:]),
    "burst": np.sqrt(EVENT_EDGES[:-1] * EVENT_EDGES[1:]),
}


def band_reason(clip: Comparison, finding: BandFinding, profile: NormalProfile) -> Reason:
    """
    Args:
        clip ([`Comparison`]): the clip beside the normal ones.
        finding ([`BandFinding`]): what its score consists of.
        profile ([`NormalProfile`]): of the machine's normal clips; made `clip`.

    Returns:
        [`Reason`]: of kind `"tone"`, `"louder"`, `"quieter"`, `"flutter"`, `"knock"` or `"dropout"`.
    """
    if finding.kind == "dropout":
        return _dropout(finding)
    if finding.kind == "event":
        return _event(clip, finding)
    reason = _line_or_swell(clip, finding, profile) or _level(clip, finding)
    factor = 1.0 if finding.flutter is None or reason.kind == "flutter" else finding.flutter
    steadiness = ", steady" if factor < STEADIER else ", fluttering" if factor > MORE_FLUTTER else ""
    text = f"{reason.text}{steadiness} ({finding.deviations:.2g} standard deviations)"
    return replace(reason, text=text, strength=round(finding.strength, 2))


def _line_or_swell(clip: Comparison, finding: BandFinding, profile: NormalProfile) -> Reason | None:
    """
    The line or the swell in these bands that rose most above the normal clips, whichever is the more unusual, if one
    is: what raises the level of a band most is its cause.
    """
    found = []
    for kind in ("tone", "burst"):
        deviations = clip.strength[kind] * profile.limit[kind]
        inside = _inside(PLACES[kind], finding) & (deviations >= LEAST_DEVIATIONS)
        above = np.where(inside, clip.above[kind], -np.inf)
        if above.max() >= LEAST_RISE_DB:
            found.append((float(deviations[above.argmax()]), kind, above))
    if not found:
        return None
    _, kind, above = max(found, key=lambda one: one[0])
    return Reason(**{"kind": kind, **WORDS[kind](clip, above)})


def _level(clip: Comparison, finding: BandFinding) -> Reason:
    """The part of these bands that differs most."""
    inside = _inside(PLACES["louder"], finding)
    kind, sign = ("louder", 1) if finding.db > 0 else ("quieter", -1)
    values = np.where(inside, sign * clip.residual, -np.inf)
    if values.max() >= LEAST_DB:
        return Reason(kind=kind, **WORDS[kind](clip, values))
    entries = band_entries(finding.low_hz, finding.high_hz)
    where = frequency_range(finding.low_hz, finding.high_hz)
    is_small = abs(finding.db) < LEAST_DB
    if is_small and finding.flutter is not None and abs(finding.flutter - 1) >= LEAST_CHANGE:
        change = 100 * abs(finding.flutter - 1)
        text = f"{change:.0f} % {'more' if finding.flutter > 1 else 'less'} change from moment to moment {where}"
        return Reason("flutter", text, **entries)
    if is_small:
        return Reason("flutter", f"unlike what the rest of the recording lets expect {where}", **entries)
    text = f"{kind} {where}, {abs(finding.db):.1f} dB {'above' if sign > 0 else 'below'} normal"
    return Reason(kind, text, **entries, db=round(finding.db, 1))


def _event(clip: Comparison, finding: BandFinding) -> Reason:
    """The knock or the swell in these bands, whichever is the louder above the normal clips."""
    above = {kind: np.where(_inside(PLACES[kind], finding), clip.above[kind], -np.inf) for kind in ("knock", "burst")}
    kind = max(above, key=lambda kind: float(above[kind].max()))
    if above[kind].max() >= LEAST_RISE_DB:
        reason = Reason(**{"kind": kind, **WORDS[kind](clip, above[kind])})
        text = f"{reason.text} ({finding.deviations:.2g} standard deviations)"
        return replace(reason, text=text, strength=round(finding.strength, 2))
    seconds, where = finding.seconds or 0.0, frequency_range(finding.low_hz, finding.high_hz)
    text = (
        f"a loud moment at {seconds:.1f} s, {where}, {finding.db:.0f} dB above those of normal recordings "
        f"({finding.deviations:.2g} standard deviations)"
    )
    place = band_entries(finding.low_hz, finding.high_hz) | span_entries(seconds, seconds)
    return Reason("knock", text, round(finding.strength, 2), **place, db=round(finding.db, 1))


def _dropout(finding: BandFinding) -> Reason:
    seconds, db = finding.seconds or 0.0, finding.db
    text = f"a dropout at {seconds:.1f} s, {db:.0f} dB deeper than normal"
    return Reason("dropout", text, round(finding.strength, 2), **span_entries(seconds, seconds), db=-round(db, 1))


def _inside(hertz: np.ndarray, finding: BandFinding) -> np.ndarray:
    inside = (hertz >= finding.low_hz) & (hertz <= finding.high_hz)
    # A band may be narrower than the features are.
    nearest = np.abs(np.log(hertz / np.sqrt(finding.low_hz * finding.high_hz))).argmin()
    return inside | (np.arange(len(hertz)) == nearest)
