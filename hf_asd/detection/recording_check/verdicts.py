"""What is said about the quality of recordings: one by one, and of a folder of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...audio.reading import SAMPLING_RATE
from ..explanation.input_checks import CLIPPED_SHARE, SHORTEST_SHARE
from .quality import Hum, SoundQuality


Verdict = Literal["good", "usable", "record again"]
Kind = Literal[
    "silent", "clipped", "gap", "level", "offset", "band", "hum", "channels", "length", "above", "rates", "voices"
]
SOME_CLIPPED = CLIPPED_SHARE / 10
QUIET_DB, TOO_QUIET_DB = -60.0, -75.0  # root mean square; the noise of a good 16-bit recorder is near -90 dB
WANTED_PEAK_DB = -12.0
LEAST_KHZ = 4.2  # of the telephone: half of what is listened to is missing
LARGE_OFFSET, OFFSET_OF_SOUND = 0.02, 1.0  # of full scale; and of the level of the sound
HUM_SHARE_DB = -20.0  # weaker hum is a hundredth of the sound
SHORT_SECONDS = 5.0  # shorter recordings give rough statistics
MUCH_ABOVE_DB = -10.0  # a tenth of the power
FEWEST_VOICES, VOICES_SHARE = 3, 0.1  # recordings with speech; fewer may be a mistake
KINDS_OF_FIT: tuple[Kind, ...] = ("level", "offset", "band", "hum", "above")  # `fit` says the others by itself


@dataclass(frozen=True)
class Remark:
    """
    Args:
        kind (`str`): what it is about.
        verdict (`str`): what it makes of the recording.
        text (`str`): what was found, and what to change.
    """

    kind: Kind
    verdict: Verdict
    text: str


def remarks_about(quality: SoundQuality) -> list[Remark]:
    """What is to be said about one recording, the worst first; nothing about a good one."""
    if quality.is_silent:
        return [_silent(quality)]
    found = [
        _clipped(quality),
        _gap(quality),
        _band(quality),
        _level(quality),
        _offset(quality),
        _hum(quality.hum) if quality.hum is not None else None,
        _short(quality),
        _channels(quality),
    ]
    return sorted((one for one in found if one is not None), key=lambda one: one.verdict != "record again")


def verdict_of(remarks: Sequence[Remark]) -> Verdict:
    """The worst of the remarks."""
    verdicts = {remark.verdict for remark in remarks}
    return "record again" if "record again" in verdicts else "usable" if verdicts else "good"


def _silent(quality: SoundQuality) -> Remark:
    others = sorted(set(range(quality.channels)) - set(quality.silent_channels))
    if others:
        text = (
            f"silent in the channel that is listened to; channel {others[0]} has sound: fit with --channel {others[0]}"
        )
    else:
        text = "silent: no sound above -90 dB of full scale; is the microphone connected, is it muted?"
    return Remark("silent", "record again", text)


def _clipped(quality: SoundQuality) -> Remark | None:
    if quality.clipped <= SOME_CLIPPED:
        return None
    text = f"clipped: {100 * quality.clipped:.2g} % of the samples are cut off at the top; lower the recording level"
    if quality.clipped > CLIPPED_SHARE:
        return Remark("clipped", "record again", f"{text} by 10 dB or more")
    return Remark("clipped", "usable", f"{text} by 6 dB")


def _gap(quality: SoundQuality) -> Remark | None:
    if not quality.gap_seconds:
        return None
    return Remark(
        "gap",
        "record again",
        f"dropout: {quality.gap_seconds:.2g} s of sound are cut out, from {quality.gap_start:.1f} s on; the recorder "
        "loses samples (another cable, USB port or card, larger buffer), or a noise gate mutes them (switch it off)",
    )


def _band(quality: SoundQuality) -> Remark | None:
    if quality.highest_hz is None:
        return None
    cut = quality.highest_hz / 1000
    cause = (
        f"it is stored at {quality.sampling_rate} Hz"
        if quality.sampling_rate < SAMPLING_RATE
        else "it was recorded with a lower sampling rate, compressed (MP3, voice memo), or filtered"
    )
    text = f"nothing above {cut:.2g} kHz: {cause}; record as WAV with 16 kHz or more, voice filters off"
    return Remark("band", "record again" if cut < LEAST_KHZ else "usable", text)


def _level(quality: SoundQuality) -> Remark | None:
    if quality.level_db >= QUIET_DB or quality.peak_db > WANTED_PEAK_DB:
        return None
    raise_by = WANTED_PEAK_DB - quality.peak_db
    text = (
        f"quiet: {quality.level_db:.0f} dB of full scale; raise the recording level by {raise_by:.0f} dB, or go closer"
    )
    return Remark("level", "record again" if quality.level_db < TOO_QUIET_DB else "usable", text)


def _offset(quality: SoundQuality) -> Remark | None:
    rms = 10 ** (quality.level_db / 20)
    if abs(quality.offset) < LARGE_OFFSET or abs(quality.offset) < OFFSET_OF_SOUND * rms:
        return None
    text = (
        f"constant of {100 * quality.offset:.2g} % of full scale under the sound: the sound card or a sensor without "
        "a coupling capacitor; it takes headroom, the detector does not hear it"
    )
    return Remark("offset", "usable", text)


def _hum(hum: Hum) -> Remark | None:
    if hum.share_db < HUM_SHARE_DB:
        return None
    lines = ", ".join(f"{line:g}" for line in hum.lines_hz)
    text = (
        f"hum of the mains at {lines} Hz, {100 * 10 ** (hum.share_db / 10):.0f} % of the sound's power; if it remains "
        "when the machine is off, it comes from the cable or a ground loop: battery power, a balanced or shorter cable"
    )
    return Remark("hum", "usable", text)


def _short(quality: SoundQuality) -> Remark | None:
    if quality.seconds >= SHORT_SECONDS:
        return None
    return Remark("length", "usable", f"short: {quality.seconds:.2g} s; 10 s tell more")


def _channels(quality: SoundQuality) -> Remark | None:
    if not quality.silent_channels:
        return None
    which = " and ".join(map(str, quality.silent_channels))
    return Remark("channels", "usable", f"no sound in channel {which} of {quality.channels}, which is not listened to")


def folder_remarks(qualities: Sequence[SoundQuality]) -> list[Remark]:
    """What is to be said about recordings together: where they differ, and what none of them lets hear."""
    if not qualities:
        return []
    found = [_rates(qualities), _lengths(qualities), _levels(qualities), _voices(qualities), _above(qualities)]
    return [one for one in found if one is not None]


def _rates(qualities: Sequence[SoundQuality]) -> Remark | None:
    rates = Counter(quality.sampling_rate for quality in qualities)
    if len(rates) == 1:
        return None
    listed = ", ".join(f"{count} at {rate} Hz" for rate, count in rates.most_common())
    lowest = min(rates)
    verdict: Verdict = "record again" if lowest < SAMPLING_RATE else "usable"
    return Remark("rates", verdict, f"sampling rates differ ({listed}): record all with the same recorder and rate")


def _lengths(qualities: Sequence[SoundQuality]) -> Remark | None:
    seconds = sorted(quality.seconds for quality in qualities)
    usual = float(np.median(seconds))
    if seconds[0] >= SHORTEST_SHARE * usual and seconds[-1] <= usual / SHORTEST_SHARE:
        return None
    text = (
        f"lengths differ, {seconds[0]:.3g} to {seconds[-1]:.3g} s: record all as long, about 10 s; a recording much "
        "shorter than the normal ones gets no decision"
    )
    return Remark("length", "usable", text)


def _levels(qualities: Sequence[SoundQuality]) -> Remark | None:
    levels = [quality.level_db for quality in qualities if not quality.is_silent]
    if len(levels) < 2 or max(levels) - min(levels) < 12:
        return None
    text = (
        f"levels differ by {max(levels) - min(levels):.0f} dB: one place and one recording level for all, automatic "
        "gain off; or are these different states of the machine?"
    )
    return Remark("level", "usable", text)


def _voices(qualities: Sequence[SoundQuality]) -> Remark | None:
    found = sum(quality.has_voice for quality in qualities)
    if found < FEWEST_VOICES or found <= VOICES_SHARE * len(qualities):
        return None
    text = (
        f"speech or other voices in {found} of {len(qualities)} recordings: they would count as normal sound; record "
        "when nobody talks near the microphone"
    )
    return Remark("voices", "usable", text)


def _above(qualities: Sequence[SoundQuality]) -> Remark | None:
    above = [quality.above_db for quality in qualities if quality.above_db is not None]
    if not above:
        return None
    share = 100 * 10 ** (float(np.median(above)) / 10)
    text = f"not listened to: what lies above 8 kHz, {share:.2g} % of the power here"
    verdict: Verdict = "usable" if float(np.median(above)) > MUCH_ABOVE_DB else "good"
    return Remark("above", verdict, f"{text} (hiss of small leaks, early wear of fast bearings)")


def lines_of_fit(qualities: Sequence[SoundQuality]) -> list[str]:
    """What matters before a detector is believed, in at most a line a kind; what `fit` finds by itself aside."""
    lines, count = [], len(qualities)
    found = [remark for quality in qualities for remark in remarks_about(quality)]
    for kind in KINDS_OF_FIT:
        own = [remark for remark in found if remark.kind == kind]
        if own and len(own) > count / 10:
            how_many = "the recording" if count == 1 else f"{len(own)} of {count} recordings"
            lines.append(f"{how_many}: {own[0].text}.")
    about_all = [remark for remark in folder_remarks(qualities) if remark.kind == "above"]
    return lines + [f"{remark.text}." for remark in about_all if remark.verdict != "good"]
