"""Reasons: what made the score of a clip high, and what it shows that no normal clip of the machine does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...audio.acoustic_features import EVENT_EDGES, LEVEL_EDGES, extract_features, summarize_features
from ...audio.reading import DecodedClip
from .band_deviations import BandDeviations, BandFinding
from .band_words import band_reason
from .input_checks import check_input, doubt_about
from .normal_profile import NormalProfile
from .words import Comparison, Reason


MAXIMUM_REASONS = 4
FAULT_KINDS = ("louder", "quieter", "tone", "burst", "knock", "rhythm")  # kinds of finding that a fault shows as
NO_PROFILE = Reason(
    "cannot_tell",
    "cannot tell: this detector has no recordings to compare with (it was fitted from embeddings alone or from fewer "
    "than 4 clips)",
)
NOTHING_FOUND = Reason("cannot_tell", "cannot tell: levels, tones, knocks and rhythms are all as in normal clips")


@dataclass(frozen=True)
class InputFindings:
    """
    Args:
        abstain_reason (`str`, *optional*): why the recording is unfit for a decision; `None` for a usable one.
        reasons (`list[Reason]`, *optional*): what is unusual about it, if the decision is that it is an anomaly;
            `None` where that was not asked for.
        doubt (`str`, *optional*): why the decision that it is an anomaly would be worth nothing; that it is normal
            still holds.
    """

    abstain_reason: str | None
    reasons: list[Reason] | None
    doubt: str | None = None


def check_and_explain(
    clip: DecodedClip,
    profile: NormalProfile | None,
    deviations: BandDeviations | None = None,
    *,
    check: bool = True,
    explained: bool = False,
) -> InputFindings:
    """
    Everything about a decision that comes from the recording itself.

    Args:
        clip ([`~hf_asd.audio.reading.DecodedClip`]): the recording.
        profile ([`NormalProfile`], *optional*): of the machine's normal clips.
        deviations ([`BandDeviations`], *optional*): of the machine's memory bank, if it holds band statistics.
        check (`bool`, *optional*, defaults to `True`): whether unfit recordings are looked for ([`check_input`]).
        explained (`bool`, *optional*, defaults to `False`): whether reasons are wanted ([`explain`]).

    Returns:
        [`InputFindings`]: the only reason about an unfit recording is that it is unfit.
    """
    features = extract_features(clip.samples)
    summary = summarize_features(features)
    abstain_reason = check_input(clip, summary, profile) if check else None
    doubt = doubt_about(summary, profile) if check and profile else None
    if not explained:
        return InputFindings(abstain_reason, None, doubt)
    if abstain_reason is not None:
        return InputFindings(abstain_reason, [Reason("unfit", abstain_reason)])
    bands = deviations.compare(clip.samples) if deviations is not None and profile is not None else []
    return InputFindings(None, explain(features, profile, is_anomaly=True, summary=summary, bands=bands), doubt)


def explain(
    features: dict[str, np.ndarray],
    profile: NormalProfile | None,
    is_anomaly: bool = False,
    summary: dict[str, np.ndarray] | None = None,
    bands: Sequence[BandFinding] = (),
) -> list[Reason]:
    """
    What is unusual about a clip, the most unusual first, the level of the whole clip last. Of that level only the part
    counts that does not come from bands that stand out.

    After an anomaly the bands and events that made its score high are reasons if nine of ten normal clips do not reach
    as much; where none does, the one that deviates most is named.

    Args:
        features (`dict[str, np.ndarray]`): of [`~hf_asd.audio.acoustic_features.extract_features`].
        profile ([`NormalProfile`], *optional*): of the machine's normal clips.
        is_anomaly (`bool`, *optional*, defaults to `False`): whether the detector decided so. About an anomaly that
            shows nothing beyond every normal clip, and whose score has no parts, the one finding is given that the
            fewest normal clips (5 % or less) show as much, after a "perhaps"; where there is none, the reason is
            `"cannot_tell"`.
        summary (`dict[str, np.ndarray]`, *optional*): of [`~hf_asd.audio.acoustic_features.summarize_features`], where
            it is known already.
        bands (`Sequence[BandFinding]`, *optional*): of [`BandDeviations.compare`], where the score is made of band
            statistics.

    Returns:
        `list[Reason]`, at most four; empty where nothing is unusual.
    """
    if profile is None:
        return [NO_PROFILE]
    clip = Comparison.of(features, summarize_features(features) if summary is None else summary, profile)
    found = [clip.reason(kind) for kind in _unusual_kinds(clip, profile)]
    deciding = [band_reason(clip, one, profile) for one in bands if (one.is_rare if is_anomaly else one.strength > 1)]
    found = _without_repetition(_merged(found, deciding))[:MAXIMUM_REASONS]
    if found or not is_anomaly:
        return found
    if bands:
        largest = band_reason(clip, max(bands, key=lambda one: one.deviations), profile)
        return [replace(largest, text=f"small differences in many bands, the largest: {largest.text}")]
    rarity = {kind: float(clip.strength[kind].max() / max(profile.rare[kind], 0.1)) for kind in FAULT_KINDS}
    rarest = max(rarity, key=lambda kind: rarity[kind])
    if rarity[rarest] < 1:
        return [NOTHING_FOUND]
    reason = clip.reason(rarest)
    return [replace(reason, text=f"perhaps {reason.text} (few normal clips do this as much)")]


def _merged(found: list[Reason], deciding: list[Reason]) -> list[Reason]:
    """What decided, in the words of a finding about the same band where there is one: it knows moment or edges."""
    merged = list(found)
    for reason in deciding:
        same = next((other for other in found if other in merged and _overlap(other, reason)), None)
        if same is None or (reason.kind == "tone" and same.kind == "louder" and same.start_s is None):
            merged.append(reason)
        else:
            merged[merged.index(same)] = replace(same, strength=max(same.strength, reason.strength))
    return merged


def _unusual_kinds(clip: Comparison, profile: NormalProfile) -> list[str]:
    """Kinds in which the clip is beyond every normal clip. Corrects the rise in level by what single bands explain."""
    kinds = [kind for kind, values in clip.strength.items() if values.max() > 1]
    if "level_rise" not in kinds:
        return kinds
    clip.above["loudness"] -= _from_single_bands(clip.summary["level"], clip.residual)
    rise = clip.summary["loudness"] - profile.mean["level_rise"]
    clip.strength["level_rise"] *= clip.above["loudness"] / rise
    if clip.strength["level_rise"] > 1:
        return kinds
    # The level rose in a few bands only: these are the reasons.
    kinds.remove("level_rise")
    return kinds or [max(("tone", "louder"), key=lambda kind: clip.strength[kind].max())]


def _from_single_bands(level: np.ndarray, residual: np.ndarray) -> float:
    """The part in dB of a clip's level that comes from bands that stand out."""
    used = LEVEL_EDGES[:-1] >= EVENT_EDGES[0]
    with_them, without = (
        10 * np.log10(np.sum(10 ** (decibels[used] / 10))) for decibels in (level, level - np.maximum(residual, 0))
    )
    return float(with_them - without)


def _without_repetition(reasons: list[Reason]) -> list[Reason]:
    """
    The strongest of the reasons about one band (rhythms aside), a tone rather than its narrow band. Reasons with a
    place come first, the level of the whole clip last.
    """
    kept: list[Reason] = []
    for reason in sorted(reasons, key=lambda reason: (reason.kind.startswith("level"), -reason.strength)):
        same = next((other for other in kept if _overlap(reason, other)), None)
        if same is None:
            kept.append(reason)
        elif reason.kind == "tone" and same.kind == "louder" and (same.high_hz or 0) < 1.6 * (same.low_hz or 0):
            kept[kept.index(same)] = replace(reason, strength=same.strength)
    return kept


def _overlap(one: Reason, other: Reason) -> bool:
    if "rhythm" in (one.kind, other.kind):
        return False
    if one.low_hz is None or one.high_hz is None or other.low_hz is None or other.high_hz is None:
        return False
    return one.low_hz < other.high_hz and other.low_hz < one.high_hz
