"""What the samples of a recording show as they were stored: silent channels, gaps, how it begins and ends."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .channels import Channel, describe_channel


# Below this peak (-90 dB of full scale, about one step of 16 bit) a recording counts as silence.
SILENCE_PEAK = 10 ** (-90 / 20)
GAP_SECONDS = 0.01  # real recordings, quiet ones too, hold one value for less than 1 ms
PADDING_SECONDS = 0.25  # at the start and the end: recorders and codecs begin with up to 0.2 s of zeros
EDGE_SECONDS = 0.002  # of sound beside a gap
ABRUPT = 0.25  # of the standard deviation: what still moves this far beside a gap was cut off, not faded out
HEAD, TAIL = 64, 8192  # samples that are kept of start and end
SOUND_ELSEWHERE = re.compile(r"silent in .+, while channels? (\d+).* ha(?:s|ve) sound")


@dataclass(frozen=True)
class StoredSound:
    """
    Args:
        channel (`int` or `str`): the channel that is used, or what is made of several.
        channel_peaks (`tuple[float, ...]`): of each channel, half the distance from its lowest to its highest value.
        gap_seconds (`float`): how long the used channel holds one value where sound was cut out, all such gaps
            together; 0 where there is none.
        gap_start (`float`): where the longest of them begins, in seconds.
        head, tail (`np.ndarray`): the first 64 and the last 8192 samples of the used channel, float32.
    """

    channel: Channel
    channel_peaks: tuple[float, ...]
    gap_seconds: float
    gap_start: float
    head: np.ndarray
    tail: np.ndarray

    @property
    def channels_with_sound(self) -> list[int]:
        """Numbers of the channels that are not silent."""
        return [number for number, peak in enumerate(self.channel_peaks) if peak >= SILENCE_PEAK]


@dataclass(frozen=True)
class Range:
    """
    Where samples lie; looked for once, of each channel.

    Args:
        low (`float`), high (`float`): the lowest and the highest one; not finite where a sample is not.
    """

    low: float
    high: float

    @classmethod
    def of(cls, samples: np.ndarray) -> "Range":
        """Of at least one sample."""
        return cls(float(samples.min()), float(samples.max()))

    @property
    def half(self) -> float:
        """Half the distance from the lowest to the highest: the peak, whatever constant lies under the sound."""
        return (self.high - self.low) / 2

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(self.high, -self.low)

    @property
    def is_silent(self) -> bool:
        """Whether there is no sound above -90 dB of full scale; a constant, however large, is no sound."""
        return self.half < SILENCE_PEAK


def silence_text(stored: StoredSound | None) -> str:
    """Why a recording is silent: no channel has sound, or others than the one that is used."""
    others = [] if stored is None else stored.channels_with_sound
    if stored is None or not others:
        return "silent: no sound above -90 dB of full scale; is the microphone connected?"
    has = f"channel {others[0]} has" if len(others) == 1 else f"channels {' and '.join(map(str, others))} have"
    return f"silent in {describe_channel(stored.channel)}, while {has} sound"


def channel_hint(texts: Iterable[str | None]) -> str | None:
    """Which channel to take, once for all recordings that are silent in theirs; reads texts of [`silence_text`]."""
    found = Counter(match[1] for text in texts if text and (match := SOUND_ELSEWHERE.search(text)))
    if not found:
        return None
    (channel, count), total = found.most_common(1)[0], found.total()
    which = "it" if total == 1 else f"{count} of these {total} recordings"
    return f"Channel {channel} has sound in {which}: fit with --channel {channel} (channel={channel})."


def stored_sound(
    samples: np.ndarray, mono: np.ndarray, sampling_rate: int, channel: Channel = 0, ranges: list[Range] | None = None
) -> StoredSound:
    """
    Looks at samples before they are resampled.

    Args:
        samples (`np.ndarray` of shape `(samples, channels)`): all channels, float32, full scale at 1.
        mono (`np.ndarray` of shape `(samples,)`): the channel that is used, or what is made of several.
        sampling_rate (`int`): in Hz.
        channel (`int` or `str`, *optional*, defaults to 0): what `mono` is.
        ranges (`list[Range]`, *optional*): of each channel, where they are known.
    """
    ranges = ranges or [Range.of(samples[:, number]) for number in range(samples.shape[1])]
    gaps = _gaps(mono, sampling_rate)
    longest = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))
    return StoredSound(
        channel=channel,
        channel_peaks=tuple(one.half for one in ranges),
        gap_seconds=sum(end - start for start, end in gaps) / sampling_rate,
        gap_start=longest[0] / sampling_rate,
        head=mono[:HEAD].copy(),
        tail=mono[-TAIL:].copy(),
    )


def _gaps(samples: np.ndarray, sampling_rate: int) -> list[tuple[int, int]]:
    """Start and end of each run of one value that cuts off sound: abrupt on both sides, no fade leads to it."""
    # Every run as long as a gap holds five of these samples, four times the same as the one before; few sounds do.
    some = samples[:: max(1, int(GAP_SECONDS * sampling_rate) // 5)]
    same = some[1:] == some[:-1]
    if len(same) >= 4 and not (same[3:] & same[2:-1] & same[1:-2] & same[:-3]).any():
        return []
    changes = np.flatnonzero(np.diff(samples)) + 1
    starts, ends = np.concatenate([[0], changes]), np.concatenate([changes, [len(samples)]])
    long = np.flatnonzero(ends - starts >= GAP_SECONDS * sampling_rate)
    if not len(long):
        return []
    edge, abrupt = max(1, round(EDGE_SECONDS * sampling_rate)), ABRUPT * samples.std()
    found = []
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        if start == 0 or end == len(samples):
            is_gap = end - start >= PADDING_SECONDS * sampling_rate
        elif abs(samples[start]) >= np.abs(samples).max():
            is_gap = False  # clipped for that long
        else:
            sides = samples[max(0, start - edge) : start], samples[end : end + edge]
            is_gap = all(np.abs(side - samples[start]).max() >= abrupt for side in sides)
        if is_gap:
            found.append((start, end))
    return found
