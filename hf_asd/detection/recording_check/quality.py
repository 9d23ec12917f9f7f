"""What a recording says about the microphone, the cable and the recorder, without any other to compare it with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from ...audio.acoustic_features import SPECTRUM_HZ, extract_levels
from ...audio.reading import SAMPLING_RATE, DecodedClip
from ...audio.stored_sound import SILENCE_PEAK, Range
from ..explanation.input_checks import EMPTY_DB, HIGHEST_BAND, MISSING_DB
from .voices import has_voice


MAINS_HZ = (50.0, 60.0)
HARMONICS = 6
HUM_SECONDS = 4.096  # of a window: lines a quarter of a hertz apart
LEAST_HUM_SECONDS = 2.0
MAINS_TOLERANCE = 0.15  # Hz: power grids stay within 0.2 Hz of 50 or 60 Hz nearly always, a motor with slip does not
NEIGHBORS_HZ = (2.0, 12.0)  # from the line: what it is compared with
LINE_DB = 12.0  # above its neighbors
LEAST_LINES = 3
MOMENT = 1024  # samples: 64 ms
FLOOR_SHARE = 0.1  # of the moments
SILENCE_DB = -120.0
VOICE_SHARE = 0.1  # of the windows of a long recording
BELOW_CUT = 8  # bands of 62.5 Hz below a cut that hold sound


@dataclass(frozen=True)
class Hum:
    """
    Lines at multiples of the mains frequency.

    Args:
        mains_hz (`float`): 50 or 60.
        lines_hz (`tuple[float, ...]`): the multiples that stand out.
        db (`float`): the lines together, in dB of full scale.
        share_db (`float`): the same in dB of the whole recording.
    """

    mains_hz: float
    lines_hz: tuple[float, ...]
    db: float
    share_db: float


@dataclass(frozen=True)
class SoundQuality:
    """
    Args:
        seconds (`float`), sampling_rate (`int`, in Hz), channels (`int`): of the recording as it is stored.
        silent_channels (`tuple[int, ...]`): channels without sound.
        is_silent (`bool`): whether the channel that is listened to has no sound.
        level_db, peak_db (`float`): root mean square and highest sample, in dB of full scale; a constant under the
            sound does not count.
        floor_db (`float`): level of the quietest tenth of the moments of 64 ms, in dB of full scale.
        offset (`float`): the constant under the sound, full scale at 1.
        clipped (`float`): share of clipped samples.
        gap_seconds, gap_start (`float`): how long sound is cut out, and from when on.
        highest_hz (`float`, *optional*): above it nothing was recorded; `None` where it reaches up to 8 kHz.
        above_db (`float`, *optional*): what lies above 8 kHz and is not listened to, in dB of the whole; `None` where
            the sampling rate holds nothing there.
        hum ([`Hum`], *optional*): of the mains.
        has_voice (`bool`, *optional*, defaults to `False`): whether it holds speech about as loud as the machine, as
            far as it was looked for.
    """

    seconds: float
    sampling_rate: int
    channels: int
    silent_channels: tuple[int, ...]
    is_silent: bool
    level_db: float
    peak_db: float
    floor_db: float
    offset: float
    clipped: float
    gap_seconds: float
    gap_start: float
    highest_hz: float | None
    above_db: float | None
    hum: Hum | None
    has_voice: bool = False

    @classmethod
    def of(cls, clip: DecodedClip, with_voice: bool = False) -> "SoundQuality":
        """Of a clip, from what it was decoded to; `with_voice` looks for speech as well, which takes longest."""
        offset = float(clip.samples.mean(dtype=np.float64))
        sound = clip.samples - np.float32(offset)
        silent, stored = Range.of(clip.samples).is_silent, clip.stored
        with_sound = range(clip.channels) if stored is None else stored.channels_with_sound
        return cls(
            seconds=clip.seconds,
            sampling_rate=clip.sampling_rate,
            channels=clip.channels,
            silent_channels=tuple(sorted(set(range(clip.channels)) - set(with_sound))),
            is_silent=silent,
            level_db=_decibels(float(np.mean(np.square(sound, dtype=np.float64))), 10),
            peak_db=_decibels(float(np.abs(sound).max()), 20),
            floor_db=_floor(sound),
            offset=round(offset, 5),
            clipped=round(clip.clipped_share, 6),
            gap_seconds=clip.gap_seconds,
            gap_start=0.0 if stored is None else stored.gap_start,
            highest_hz=None if silent else _highest(extract_levels(sound)["spectrum"]),
            above_db=None if stored is None or silent else _above(stored.tail, clip.sampling_rate),
            hum=None if silent else find_hum(sound),
            has_voice=with_voice and not silent and has_voice(sound),
        )


def of_recording(parts: Sequence[SoundQuality], starts: Sequence[float]) -> SoundQuality:
    """
    A recording from its windows.

    Args:
        parts (`Sequence[SoundQuality]`): of the windows, at least one.
        starts (`Sequence[float]`): where they begin, in seconds.
    """
    if len(parts) == 1:
        return parts[0]
    longest = int(np.argmax([part.gap_seconds for part in parts]))
    limits = [part.highest_hz for part in parts if not part.is_silent]
    above = [part.above_db for part in parts if part.above_db is not None]
    hums = [part.hum for part in parts if part.hum is not None]
    powers = np.array([10 ** (part.level_db / 10) for part in parts])
    return replace(
        parts[0],
        seconds=starts[-1] + parts[-1].seconds,
        silent_channels=tuple(sorted(set.intersection(*(set(part.silent_channels) for part in parts)))),
        is_silent=all(part.is_silent for part in parts),
        level_db=_decibels(float(powers.mean()), 10),
        peak_db=max(part.peak_db for part in parts),
        floor_db=float(np.quantile([part.floor_db for part in parts], FLOOR_SHARE)),
        offset=float(np.mean([part.offset for part in parts])),
        clipped=float(np.mean([part.clipped for part in parts])),
        gap_seconds=sum(part.gap_seconds for part in parts),
        gap_start=starts[longest] + parts[longest].gap_start,
        highest_hz=None if None in limits or not limits else max(limit for limit in limits if limit is not None),
        above_db=max(above, default=None),
        hum=hums[0] if len(hums) > len(parts) / 2 else None,
        has_voice=sum(part.has_voice for part in parts) > VOICE_SHARE * len(parts),
    )


def find_hum(sound: np.ndarray) -> Hum | None:
    """
    Hum of the mains: at least three of the first six multiples of 50 or 60 Hz stand out, an odd one among them.

    A transformer or a motor hums at even multiples (its forces follow the square of the current); odd ones come from
    a cable or a ground loop, or from a current that is not a sine.

    Args:
        sound (`np.ndarray` of shape `(samples,)`): 16 kHz, without a constant.

    Returns:
        [`Hum`], or `None` where there is none or the recording is shorter than 2 s.
    """
    window = min(round(HUM_SECONDS * SAMPLING_RATE), len(sound))
    if window < LEAST_HUM_SECONDS * SAMPLING_RATE:
        return None
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[:: window // 2]
    used = int(2 * MAINS_HZ[-1] * HARMONICS * window / SAMPLING_RATE)
    spectra = np.asarray(scipy.fft.rfft(frames * taper, axis=1))[:, :used]
    power = np.mean(np.square(np.abs(spectra)), axis=0) * (2 / (window * float(np.square(taper).sum())))
    hertz = np.arange(used) * SAMPLING_RATE / window
    for mains in MAINS_HZ:
        lines = [(n, db) for n in range(1, HARMONICS + 1) if (db := _line(power, hertz, n, mains)) is not None]
        if len(lines) >= LEAST_LINES and any(number % 2 for number, _ in lines):
            total = sum(energy for _, energy in lines)
            share = total / max(float(np.mean(np.square(sound, dtype=np.float64))), 1e-20)
            places = tuple(number * mains for number, _ in lines)
            return Hum(mains, places, _decibels(total, 10), _decibels(min(share, 1.0), 10))
    return None


def _line(power: np.ndarray, hertz: np.ndarray, number: int, mains: float) -> float | None:
    """Power of a line at a multiple of the mains, if one stands out exactly there."""
    distance = np.abs(hertz - number * mains)
    inside = np.flatnonzero(distance <= MAINS_TOLERANCE * number + hertz[1])
    peak = int(inside[power[inside].argmax()])
    around = power[(distance > NEIGHBORS_HZ[0]) & (distance <= NEIGHBORS_HZ[1])]
    is_top = power[peak] >= power[peak - 1 : peak + 2].max()
    if not is_top or power[peak] < 10 ** (LINE_DB / 10) * np.median(around):
        return None
    return float(power[peak - 2 : peak + 3].sum())


def _floor(sound: np.ndarray) -> float:
    moments = sound[: len(sound) // MOMENT * MOMENT].reshape(-1, MOMENT).astype(np.float64)
    return _decibels(float(np.quantile(np.square(moments).mean(1), FLOOR_SHARE)), 10)


def _highest(spectrum: np.ndarray) -> float | None:
    """Above which frequency a recording holds nothing but rounding, while there is sound right below; else `None`."""
    empty = spectrum[:HIGHEST_BAND] < EMPTY_DB
    first = HIGHEST_BAND - int(np.argmin(np.append(empty[::-1], False)))
    if first >= HIGHEST_BAND - 1 or first < BELOW_CUT:
        return None
    below, above = spectrum[first - BELOW_CUT : first], spectrum[first:HIGHEST_BAND]
    return first * SPECTRUM_HZ if np.median(below) > np.median(above) + MISSING_DB else None


def _above(tail: np.ndarray, rate: int) -> float | None:
    """Power above 8 kHz over that of the whole, of the end of a recording."""
    if rate <= SAMPLING_RATE or float(tail.max() - tail.min()) / 2 < SILENCE_PEAK:
        return None
    taper = np.hanning(len(tail) + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft((tail - tail.mean()) * taper)))
    is_above = np.fft.rfftfreq(len(tail), 1 / rate) > SAMPLING_RATE / 2
    return _decibels(float(power[is_above].sum() / power.sum()), 10)


def _decibels(value: float, factor: int) -> float:
    return round(max(factor * float(np.log10(max(value, 1e-20))), SILENCE_DB), 1)
