"""When not to decide: recordings from which nothing can be concluded about the machine."""

from dataclasses import dataclass

import numpy as np

from ...audio.acoustic_features import SPECTRUM_HZ
from ...audio.reading import DecodedClip
from ...audio.stored_sound import Range, silence_text
from .input_ranges import InputRanges
from .normal_profile import NormalProfile


CLIPPED_SHARE = 0.001  # of the samples; normal clips may have more, then twice theirs
MISSING_DB = 15.0  # below every normal clip in all bands above a frequency: nothing was recorded there
EMPTY_DB = -112.0  # of full scale in 62.5 Hz: only the rounding of 16 bits; filtered away before it was stored
HIGHEST_BAND = 124  # 7750 Hz: above, resampling from another rate takes 15 to 60 dB
NEW_SOUND_DB = 15.0  # above the loudest normal clip in one band, beside what all bands are: no filter adds that
RESAMPLED_BANDS = 2  # above 7875 Hz resampling leaves next to nothing
BELOW_CUT = slice(-12, -4)  # 750 to 250 Hz below a cut, where a filter is not felt yet
OFF_DB = 1.0  # below every normal clip, on the mean over bands
SHORTEST_SHARE = 2 / 3  # of the shortest normal clip: statistics of much less sound scatter more than theirs
OFF_EXCESS_DB = 0.5  # above the loudest normal clip, in any band


@dataclass(frozen=True)
class InputMeasures:
    """
    What the checks of a recording compare.

    Args:
        clipped (`float`): share of clipped samples.
        gap_seconds, gap_start (`float`): how long sound is cut out, and from when on.
        seconds (`float`): length of the recording.
        level, spectrum (`np.ndarray` of shape `(51,)` and `(128,)`): of
            [`~hf_asd.audio.acoustic_features.extract_levels`].
    """

    clipped: float
    gap_seconds: float
    gap_start: float
    seconds: float
    level: np.ndarray
    spectrum: np.ndarray

    @classmethod
    def of(cls, clip: DecodedClip, levels: dict[str, np.ndarray]) -> "InputMeasures":
        """Of a clip and a dictionary with its `level` and `spectrum`."""
        start = 0.0 if clip.stored is None else clip.stored.gap_start
        return cls(clip.clipped_share, clip.gap_seconds, start, clip.seconds, levels["level"], levels["spectrum"])


def check_input(clip: DecodedClip, summary: dict[str, np.ndarray], profile: NormalProfile | None) -> str | None:
    """
    Whether a recording is unfit for a decision: silent (no sound above -90 dB of full scale; a constant is none), or
    unlike the normal clips in a way that says something about the recording and nothing about the machine
    ([`check_measures`]).

    Args:
        clip ([`~hf_asd.audio.reading.DecodedClip`]): the recording.
        summary (`dict[str, np.ndarray]`): of [`~hf_asd.audio.acoustic_features.summarize_features`].
        profile ([`NormalProfile`], *optional*): of the machine's normal clips; without it only silence, gaps and
            clipping are checked.

    Returns:
        `str` or `None`: why no decision should be made, with what to check; `None` for a usable recording.
    """
    if Range.of(clip.samples).is_silent:
        return silence_text(clip.stored)
    return check_measures(InputMeasures.of(clip, summary), profile.ranges if profile else None)


def check_measures(clip: InputMeasures, ranges: InputRanges | None) -> str | None:
    """
    Whether a recording that is not silent is unfit for a decision.

    - Too short: less than two thirds of the shortest normal clips (the few shortest aside). Statistics of a short time
      scatter more, so that most recordings of a fifth of that length would be an alarm.
    - Gaps: sound is cut out for 10 ms or more (and for more than twice as long as in normal clips).
    - Clipped: more than 0.1 % of the samples (and more than twice what normal clips have) on flat tops.
    - Another sampling rate or a lossy codec: above some frequency the recording holds nothing where normal clips do,
      at least 15 dB less in each band of 62.5 Hz, while it is as they are below; or it holds something where normal
      clips were empty. Where a band below is 15 dB louder than in any normal clip, the recording can be judged by
      that: lossy codecs of some recorders empty high bands only where a fault is loud elsewhere.
    - Machine off: on the mean over sixths of an octave at least 1 dB quieter than *every* normal clip (and twice as
      far below them as a normal clip is), and nowhere louder than the loudest. A fault adds sound somewhere
      (R. B. Randall, "Vibration-based Condition Monitoring", Wiley 2011, chapter 2: faults show as new or stronger
      components); switching off only removes sound. Where a machine is less than 3 dB above the sound around it, its
      absence cannot be detected (ISO 3746:2010 does not even measure such a machine).

    Args:
        clip ([`InputMeasures`]): of the recording.
        ranges ([`~hf_asd.detection.explanation.input_ranges.InputRanges`], *optional*): of the machine's normal clips.

    Returns:
        `str` or `None`: as of [`check_input`].
    """
    if (fault := gap_or_clipped(clip, ranges)) or ranges is None:
        return fault
    if clip.seconds < SHORTEST_SHARE * ranges.seconds:
        return (
            f"too short: {clip.seconds:.3g} s long, the normal clips have {ranges.seconds:.3g} s or more; record as "
            "much, or fit the detector with recordings as short as this one"
        )
    above = clip.level - ranges.highest_level
    has_new_sound = above.max() > np.median(above) + NEW_SOUND_DB
    cut = None if has_new_sound else upper_bands_missing(clip.spectrum, ranges)
    return cut or upper_bands_added(clip.spectrum, ranges) or machine_off(clip.level, ranges)


def gap_or_clipped(clip: InputMeasures, ranges: InputRanges | None) -> str | None:
    """Which part of the sound was lost while it was recorded, if some was."""
    if clip.gap_seconds > (2 * ranges.gap if ranges else 0):
        return (
            f"gap: {clip.gap_seconds:.2g} s of sound are cut out, from {clip.gap_start:.1f} s on; did the recorder "
            "lose samples, or did a noise gate mute them?"
        )
    if clip.clipped > max(CLIPPED_SHARE, 2 * ranges.clipped if ranges else 0):
        return f"clipped: {100 * clip.clipped:.2g} % of the samples are cut off at the top; lower the recording level"
    return None


def upper_bands_missing(spectrum: np.ndarray, ranges: InputRanges) -> str | None:
    """Above which frequency a recording holds nothing where normal clips do, if so."""
    below = (ranges.lowest_spectrum - spectrum)[:HIGHEST_BAND]
    first = len(below) - _bands_from_top(below > MISSING_DB)
    if first <= -BELOW_CUT.start or first == len(below):
        return None
    if max(np.median(below[:first]), np.median(below[:first][BELOW_CUT])) > MISSING_DB / 2:
        return None  # quieter as a whole, or less and less towards the top
    return (
        f"nothing above {_kilohertz(first)}, where the normal clips have sound; was it recorded with a lower sampling "
        "rate, compressed (MP3), or filtered?"
    )


def upper_bands_added(spectrum: np.ndarray, ranges: InputRanges) -> str | None:
    """Above which frequency a recording holds sound where normal clips are empty, if so."""
    above, highest = (spectrum - ranges.highest_spectrum)[:HIGHEST_BAND], ranges.highest_spectrum[:HIGHEST_BAND]
    added = _bands_from_top((above > MISSING_DB) & (highest < EMPTY_DB))
    if not added:
        return None
    return (
        f"sound above {_kilohertz(HIGHEST_BAND - added)}, where the normal clips hold nothing; they were recorded "
        "with a lower sampling rate or compressed (MP3), so fit the detector again with recordings like this one"
    )


def machine_off(level: np.ndarray, ranges: InputRanges) -> str | None:
    """Why a recording is of the machine at rest, or made at another gain, if so."""
    deficit = float(np.maximum(ranges.lowest_level - level, 0).mean())
    if deficit <= max(OFF_DB, 2 * ranges.deficit) or (level - ranges.highest_level).max() >= OFF_EXCESS_DB:
        return None
    return (
        f"machine off: quieter than every normal clip, by {deficit:.1f} dB on the mean over all bands, and louder in "
        "none; is the machine running, and are the microphone's place and gain and the file format as before?"
    )


def doubt_about(summary: dict[str, np.ndarray], profile: NormalProfile) -> str | None:
    """
    Whether an alarm would say nothing about the machine, because the recording was made or stored at another sampling
    rate than the normal clips: resampling to 16 kHz leaves next to nothing of the highest eighth of a kilohertz, where
    recordings of 16 kHz have sound. That alone can raise the alarm where normal clips hardly differ. Below the
    threshold such a recording is normal, and where it shows something else that no normal clip does, it is judged.

    Args:
        summary, profile: as for [`check_input`].

    Returns:
        `str` or `None`: why there is a doubt.
    """
    top, ranges = slice(-RESAMPLED_BANDS, None), profile.ranges
    missing = (ranges.lowest_spectrum - summary["spectrum"])[top].min()
    added = (summary["spectrum"] - ranges.highest_spectrum)[top].min()
    if max(missing, added) < MISSING_DB or any(values.max() > 1 for values in profile.compare(summary).values()):
        return None
    return (
        "other sampling rate: only at the top of the band does it differ from the normal clips, as after resampling; "
        "fit the detector again with recordings of this rate"
    )


def _bands_from_top(chosen: np.ndarray) -> int:
    """The number of chosen bands without a gap, counted from the highest; 0 where there are fewer than two."""
    count = int(np.argmin(np.append(chosen[::-1], False)))
    return count if count >= 2 else 0


def _kilohertz(band: int) -> str:
    return f"{band * SPECTRUM_HZ / 1000:.2g} kHz"
