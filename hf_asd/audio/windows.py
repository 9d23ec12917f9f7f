"""A recording of hours as windows, decoded one after the other in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .channels import Channel
from .clock import Span, span_text
from .errors import BadAudioError
from .reading import (
    DecodedClip,
    array_of,
    clip_from_array,
    clip_from_channels,
    holds_samples,
    is_stored,
    read_clip,
    read_sound,
)
from .recording import MIN_RATE, Recording, open_recording


@dataclass(frozen=True)
class WindowRule:
    """
    Which recordings are cut into windows.

    Args:
        seconds (`float`): length of a window.
        from_seconds (`float`): recordings of at least this length are cut, shorter ones stay whole; at least twice the
            length of a window.
    """

    seconds: float
    from_seconds: float

    def __post_init__(self):
        if not 0 < 2 * self.seconds <= self.from_seconds:
            raise ValueError(f"windows of {self.seconds} s need recordings of at least twice that length.")


@dataclass(frozen=True)
class Window:
    """
    A window of a recording, or a whole recording.

    Args:
        clip ([`~hf_asd.audio.reading.DecodedClip`], *optional*): its sound; `None` where it cannot be used.
        number (`int`): counted from 0 within the recording.
        span (`tuple[float, float]`, *optional*): its start and end in seconds; `None` for a whole recording.
        error (`str`, *optional*): why it cannot be used, without the name of the recording.
    """

    clip: DecodedClip | None
    number: int = 0
    span: Span | None = None
    error: str | None = None


def read_windows(
    audio: Any, rule: WindowRule | None, channel: Channel = 0, allow_silence: bool = True
) -> Iterator[Window]:
    """
    Decodes a recording window by window.

    Windows follow one another; the last one ends where the recording ends and overlaps the one before it, so that
    nothing remains unheard. Each is resampled on its own, as if it were a recording of its own.

    Args:
        audio: as for [`~hf_asd.audio.recording.open_recording`].
        rule ([`WindowRule`], *optional*): which recordings are cut; `None` leaves all of them whole.
        channel (`int` or `str`, *optional*, defaults to 0), allow_silence (`bool`, *optional*, defaults to `True`):
            as for [`~hf_asd.audio.reading.read_clip`].

    Yields:
        [`Window`]: a window that cannot be used comes with its `error`, and the next one is taken.

    Raises:
        BadAudioError: the recording is missing, damaged or cut off (perhaps after some windows), or it is whole and
            unusable.
    """
    options: Any = {"channel": channel, "allow_silence": allow_silence}
    if rule is None:
        yield Window(read_clip(audio, **options))
        return
    with open_recording(audio) as recording:
        rate = recording.sampling_rate
        for number, (samples, first) in enumerate(_parts(recording, rule)):
            notes = (recording.note,) if recording.note else ()
            if first is None:
                yield Window(clip_from_channels(recording.name, samples, rate, notes=notes, **options))
                return
            span = (first / rate, (first + len(samples)) / rate)
            try:
                clip = clip_from_channels(recording.name, samples, rate, notes=notes, **options)
            except BadAudioError as error:
                yield Window(None, number, span, str(error).removeprefix(f"{recording.name}: "))
                continue
            yield Window(clip, number, span)


def windows_of(
    audio: Any, sampling_rate: int | None, rule: WindowRule | None, channel: Channel = 0
) -> Iterator[Window]:
    """
    As [`read_windows`], of a recording in any form in which Python has one.

    Args:
        audio, sampling_rate, channel: as for [`~hf_asd.audio.reading.read_sound`].
        rule ([`WindowRule`], *optional*): which recordings are cut.

    Raises:
        BadAudioError, TypeError, ValueError: as for [`~hf_asd.audio.reading.read_sound`].
    """
    if rule is not None and is_stored(audio):
        yield from read_windows(audio, rule, channel)
        return
    if rule is not None and sampling_rate is not None and sampling_rate >= MIN_RATE and holds_samples(audio):
        samples, size = array_of(audio), round(rule.seconds * sampling_rate)
        if len(samples) >= rule.from_seconds * sampling_rate:
            for number, first in enumerate([*range(0, len(samples) - size, size), len(samples) - size]):
                clip = clip_from_array(samples[first : first + size], sampling_rate)
                yield Window(clip, number, (first / sampling_rate, (first + size) / sampling_rate))
            return
    yield Window(read_sound(audio, sampling_rate, channel))


def read_span(audio: Any, span: Span, channel: Channel = 0) -> DecodedClip:
    """
    One window of a recording, decoded again.

    Args:
        audio: as for [`~hf_asd.audio.recording.open_recording`].
        span (`tuple[float, float]`): of [`Window`].
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_clip`].

    Raises:
        BadAudioError: the recording cannot be read.
    """
    with open_recording(audio) as recording:
        rate = recording.sampling_rate
        first, end = (round(second * rate) for second in span)
        samples = next(iter(recording.blocks(end - first, first)), np.empty((0, recording.channels), np.float32))
        return clip_from_channels(f"{recording.name}, {span_text(span)}", samples, rate, channel=channel)


def _parts(recording: Recording, rule: WindowRule) -> Iterator[tuple[np.ndarray, int | None]]:
    """Samples of each window and its first sample; of a short recording all samples, and `None`."""
    size, least = round(rule.seconds * recording.sampling_rate), rule.from_seconds * recording.sampling_rate
    blocks = recording.blocks(size)
    held, total = [], 0
    for block in blocks:
        held.append(block)
        total += len(block)
        if total >= least:
            break
    else:
        yield np.concatenate(held or [np.empty((0, recording.channels), np.float32)]), None
        return
    first, last = 0, held[0]
    waiting: list[tuple[np.ndarray, int]] = []
    for block in _chained(held, blocks):
        yield from waiting
        if len(block) < size:
            missing = size - len(block)
            block, first = np.concatenate([last[-missing:], block]), first - missing
        waiting = [(block, first)]
        first, last = first + size, block
    yield from waiting  # behind the end, where the header turned out to be wrong or not


def _chained(held: list[np.ndarray], others: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """What was decoded to learn the length, which is not kept, and the rest."""
    while held:
        yield held.pop(0)
    yield from others
