"""When not to decide: recordings from which nothing can be concluded about the machine."""

import numpy as np

from ...audio.acoustic_features import LEVEL_EDGES
from ...audio.reading import DecodedClip
from ...audio.stored_sound import is_silent, silence_text
from .normal_profile import NormalProfile


CLIPPED_SHARE = 0.001  # of the samples; normal clips may have more, then twice theirs
MISSING_DB = 15.0  # below every normal clip in all bands above a frequency: nothing was recorded there
EMPTY_DB = -115.0  # of full scale: a band that was filtered away before the recording was stored
OFF_DB = 1.0  # below every normal clip, on the mean over bands
OFF_EXCESS_DB = 0.5  # above the loudest normal clip, in any band


def check_input(clip: DecodedClip, summary: dict[str, np.ndarray], profile: NormalProfile | None) -> str | None:
    """
    Whether a recording is unfit for a decision.

    - Silent: no sound above -90 dB of full scale; a constant is none.
    - Clipped: more than 0.1 % of the samples (and more than twice what normal clips have) on flat tops.
    - Another sampling rate: above some frequency the recording holds nothing where every normal clip does, at least
      15 dB less in each sixth of an octave; or it holds something where normal clips were empty.
    - Machine off: on the mean over sixths of an octave at least 1 dB quieter than *every* normal clip (and twice as
      far below them as a normal clip ever is), and nowhere louder than the loudest. A fault adds sound somewhere
      (R. B. Randall, "Vibration-based Condition Monitoring", Wiley 2011, chapter 2: faults show as new or stronger
      components); switching off only removes sound. Where a machine is less than 3 dB above the sound around it, its
      absence cannot be detected (ISO 3746:2010 does not even measure such a machine).

    Args:
        clip ([`~hf_asd.audio.reading.DecodedClip`]): the recording.
        summary (`dict[str, np.ndarray]`): of [`~hf_asd.audio.acoustic_features.summarize_features`].
        profile ([`NormalProfile`], *optional*): of the machine's normal clips; without it only silence and clipping
            are checked.

    Returns:
        `str` or `None`: why no decision should be made, with what to check; `None` for a usable recording.
    """
    if is_silent(clip.samples):
        return silence_text(clip.stored)
    if clip.clipped_share > max(CLIPPED_SHARE, 2 * profile.clipped if profile else 0):
        share = 100 * clip.clipped_share
        return f"clipped: {share:.2g} % of the samples are cut off at the top; lower the recording level"
    if profile is None:
        return None
    below, above = profile.lowest_level - summary["level"], summary["level"] - profile.highest_level
    missing = _bands_from_top(below > MISSING_DB)
    if missing and np.median(below[: len(below) - missing]) < MISSING_DB / 2:
        return (
            f"nothing above {LEVEL_EDGES[-1 - missing] / 1000:.2g} kHz, where every normal clip has sound; was it "
            "recorded with a lower sampling rate, or filtered?"
        )
    surplus = _bands_from_top((above > MISSING_DB) & (profile.highest_level < EMPTY_DB))
    if surplus:
        return (
            f"sound above {LEVEL_EDGES[-1 - surplus] / 1000:.2g} kHz, where normal clips hold nothing; they were "
            "recorded with a lower sampling rate, so fit the detector again with recordings like this one"
        )
    deficit = float(np.maximum(below, 0).mean())
    if deficit > max(OFF_DB, 2 * profile.deficit) and above.max() < OFF_EXCESS_DB:
        return (
            f"machine off: quieter than every normal clip, by {deficit:.1f} dB on the mean over all bands, and louder "
            "in none; is the machine running, and the microphone's place and gain as before?"
        )
    return None


def _bands_from_top(chosen: np.ndarray) -> int:
    """The number of chosen bands without a gap, counted from the highest; 0 where there are fewer than two."""
    count = int(np.argmin(np.append(chosen[::-1], False)))
    return count if count >= 2 else 0
