"""Recordings on disk: read, check, choose a channel, resample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import soxr

from .channels import Channel, select_channel
from .clipping import clipped_share
from .errors import BadAudioError as BadAudioError
from .recording import MAX_RATE, MIN_RATE, open_recording
from .stored_sound import Range, StoredSound, silence_text, stored_sound


SAMPLING_RATE = 16_000
MINIMUM_SECONDS = 0.5
LARGEST_PEAK = 100.0  # 40 dB above full scale; louder ones were never scaled from integers to floats
OnBadAudio = Literal["error", "skip"]  # unusable recordings stop the work, or are left out and listed
BLOCK_FRAMES = 1 << 20
ACCEPTED_ARRAYS = (
    "accepted are mono samples of shape (samples,) as floats with full scale at 1 (16-bit samples divided by 32768)"
)


@dataclass(frozen=True)
class DecodedClip:
    """
    One recording, decoded once: what everything else about it is computed from.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): one channel, float32, 16 kHz, full scale at 1.
        clipped_share (`float`): share of samples that were clipped before resampling
            ([`~hf_asd.audio.clipping.clipped_share`]): of the channel, or the largest of all channels where several
            are used.
        seconds (`float`), sampling_rate (`int`, in Hz), channels (`int`): of the recording as it was stored.
        notes (`tuple[str, ...]`): what the user should know about the file, such as a header that was wrong.
        stored ([`~hf_asd.audio.stored_sound.StoredSound`], *optional*): what its samples show before resampling.
    """

    samples: np.ndarray
    clipped_share: float
    seconds: float
    sampling_rate: int
    channels: int
    notes: tuple[str, ...] = ()
    stored: StoredSound | None = None

    @property
    def gap_seconds(self) -> float:
        """How long sound is cut out, all gaps together."""
        return 0.0 if self.stored is None else self.stored.gap_seconds


def read_audio(
    audio: dict | str | Path | bytes | BinaryIO,
    sampling_rate: int = SAMPLING_RATE,
    channel: Channel = 0,
    allow_silence: bool = False,
) -> np.ndarray:
    """
    Reads one recording as mono float samples.

    Args:
        audio (`dict`, `str`, `Path`, `bytes` or `BinaryIO`): a row's undecoded `audio` (`{"path": str, "bytes":
            bytes | None}`), a file's path, its content, or an open binary file.
        sampling_rate (`int`, *optional*, defaults to 16000): rate of the result in Hz; other rates are resampled
            (soxr, high quality).
        channel (`int` or `str`, *optional*, defaults to 0): which channel of several is used, counted from 0,
            `"mean"` of all, or a combination of two ([`~hf_asd.audio.channels.select_channel`]).
        allow_silence (`bool`, *optional*, defaults to `False`): return silence instead of refusing it.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, full scale at 1.

    Raises:
        BadAudioError: the file is missing, not audio, empty, cut off, silent, not finite, absurdly loud or shorter
            than 0.5 s, or lacks the channel.
    """
    return read_clip(audio, sampling_rate, channel, allow_silence).samples


def read_clip(
    audio: dict | str | Path | bytes | BinaryIO,
    sampling_rate: int = SAMPLING_RATE,
    channel: Channel = 0,
    allow_silence: bool = True,
) -> DecodedClip:
    """
    As [`read_audio`], with what the stored recording shows beyond its samples; the file is opened once.

    Args:
        audio, sampling_rate, channel, allow_silence: as for [`read_audio`]; silence is returned by default.

    Returns:
        [`DecodedClip`].

    Raises:
        BadAudioError: as for [`read_audio`].
    """
    with open_recording(audio) as recording:
        blocks = list(recording.blocks(BLOCK_FRAMES))
    blocks = blocks or [np.empty((0, recording.channels), np.float32)]
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    notes = (recording.note,) if recording.note else ()
    return clip_from_channels(
        recording.name, samples, recording.sampling_rate, sampling_rate, channel, allow_silence, notes
    )


def clip_from_channels(
    name: str,
    samples: np.ndarray,
    rate: int,
    sampling_rate: int = SAMPLING_RATE,
    channel: Channel = 0,
    allow_silence: bool = True,
    notes: tuple[str, ...] = (),
) -> DecodedClip:
    """
    A recording, or a part of one, from all its channels as they were stored.

    Args:
        name (`str`): of the recording, for messages.
        samples (`np.ndarray` of shape `(samples, channels)`): float32, full scale at 1.
        rate (`int`): their sampling rate in Hz.
        sampling_rate, channel, allow_silence: as for [`read_clip`].
        notes (`tuple[str, ...]`, *optional*): as for [`DecodedClip`].

    Returns:
        [`DecodedClip`].

    Raises:
        BadAudioError: as for [`read_audio`].
    """
    try:
        mono = select_channel(samples, channel)
    except ValueError as error:
        raise BadAudioError(f"{name}: {error}") from error
    own = check_samples(name, mono, rate)
    ranges = [own if number == channel else Range.of(samples[:, number]) for number in range(samples.shape[1])]
    stored = stored_sound(samples, mono, rate, channel, ranges)
    if not allow_silence and own.is_silent:
        raise BadAudioError(f"{name}: is {silence_text(stored)}")
    used = [channel] if isinstance(channel, int) else range(samples.shape[1])
    resampled = mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)
    return DecodedClip(
        samples=np.ascontiguousarray(resampled),
        clipped_share=max(clipped_share(samples[:, number], ranges[number]) for number in used),
        seconds=len(samples) / rate,
        sampling_rate=rate,
        channels=samples.shape[1],
        notes=notes,
        stored=stored,
    )


def read_sound(audio: Any, sampling_rate: int | None = None, channel: Channel = 0) -> DecodedClip:
    """
    A recording in any form in which Python has one.

    Args:
        audio (`str`, `Path`, `bytes`, `BinaryIO`, `dict`, `np.ndarray`, `torch.Tensor` or list): a file or its
            content, as for [`read_clip`], or mono samples, as for [`clip_from_array`].
        sampling_rate (`int`, *optional*): of samples, in Hz.
        channel (`int` or `str`, *optional*, defaults to 0): of a file, as for [`read_audio`].

    Raises:
        BadAudioError: the recording cannot be used.
        TypeError: `audio` is none of these.
        ValueError: samples come without their rate, or have another shape or type.
    """
    if is_stored(audio):
        return read_clip(audio, channel=channel)
    if holds_samples(audio):
        return clip_from_array(audio, sampling_rate)
    raise TypeError(
        f"a recording is given as {type(audio).__name__}; accepted are a file's name, its content as bytes, an open "
        "binary file, and mono samples as a numpy array, a tensor or a list."
    )


def is_stored(audio: Any) -> bool:
    """Whether this is a file or its content."""
    return isinstance(audio, str | Path | bytes | bytearray | memoryview | dict) or hasattr(audio, "read")


def holds_samples(audio: Any) -> bool:
    """Whether these are samples: an array, a tensor or a list."""
    return isinstance(audio, np.ndarray | list | tuple) or hasattr(audio, "detach")


def clip_from_array(samples: Any, sampling_rate: int | None) -> DecodedClip:
    """
    Samples that are in memory already, as [`read_clip`] gives those of a file.

    Args:
        samples (`np.ndarray` of shape `(samples,)`, `torch.Tensor` or list): mono, floats with full scale at 1.
        sampling_rate (`int`): in Hz.

    Raises:
        BadAudioError: there are no samples, fewer than 0.5 s of them, or some are NaN, infinite or absurdly large.
        ValueError: the rate is missing or impossible, or the array has another shape or type.
    """
    mono = array_of(samples)
    if sampling_rate is None:
        raise ValueError("sampling_rate is missing; samples in an array come with their rate in Hz.")
    if not MIN_RATE <= sampling_rate <= MAX_RATE:
        raise ValueError(f"sampling_rate is {sampling_rate}; accepted are {MIN_RATE} to {MAX_RATE} Hz.")
    own = check_samples("the array", mono, sampling_rate)
    resampled = soxr.resample(mono.astype(np.float32), sampling_rate, SAMPLING_RATE)
    stored = stored_sound(mono[:, None], mono, int(sampling_rate), ranges=[own])
    clipped = clipped_share(mono, own)
    return DecodedClip(resampled, clipped, len(mono) / sampling_rate, int(sampling_rate), 1, stored=stored)


def array_of(samples: Any) -> np.ndarray:
    """Mono samples as an array."""
    if hasattr(samples, "detach"):  # a tensor; importing torch to ask for its type takes a second
        samples = samples.detach().cpu().numpy()
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise ValueError(f"the samples are lists of different lengths; {ACCEPTED_ARRAYS}.") from error
    if array.ndim == 1 and array.size == 0:
        return array.astype(np.float32)  # an empty list has no type
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
        choice = ""
        if array.ndim == 2:
            one = "samples[0]" if array.shape[0] < array.shape[1] else "samples[:, 0]"
            choice = f" Take one channel, such as {one}."
        raise ValueError(f"the array has the shape {array.shape} and dtype {array.dtype}; {ACCEPTED_ARRAYS}.{choice}")
    return array


def check_samples(name: str, samples: np.ndarray, sampling_rate: int) -> Range:
    """
    Args:
        name (`str`): of the recording, for the message.
        samples (`np.ndarray` of shape `(samples,)`): of one channel, floats.
        sampling_rate (`int`): in Hz.

    Returns:
        [`~hf_asd.audio.stored_sound.Range`]: where they lie.

    Raises:
        BadAudioError: there are no samples, fewer than 0.5 s of them, or some are not finite or absurdly large.
    """
    if len(samples) == 0:
        raise BadAudioError(f"{name}: is empty, it holds no samples.")
    own = Range.of(samples)
    peak = own.largest
    if not np.isfinite([own.low, own.high]).all():
        count = np.count_nonzero(~np.isfinite(samples))
        raise BadAudioError(f"{name}: holds {count} samples that are NaN or infinite.")
    if peak > LARGEST_PEAK or (peak >= 2 and np.array_equal(samples, np.round(samples))):
        raise BadAudioError(f"{name}: {_describe_level(peak)}")
    if len(samples) < MINIMUM_SECONDS * sampling_rate:
        seconds = len(samples) * 1000 // sampling_rate / 1000  # never rounded up to what would be enough
        raise BadAudioError(f"{name}: is too short, {seconds:.3f} s; at least {MINIMUM_SECONDS} s are needed.")
    return own


def _describe_level(peak: float) -> str:
    bits = next((bits for bits in (16, 24, 32) if peak <= 2 ** (bits - 1)), None)
    remedy = "check what they were multiplied with"
    if bits is not None:
        remedy = f"they seem to be integers of {bits} bits, so divide them by {2 ** (bits - 1)}"
    return f"its samples reach {peak:.4g}, but full scale is 1; {remedy}."


def duration(audio: dict | str | Path | bytes | BinaryIO) -> float:
    """
    A recording's real length in seconds: from its header where that fits the file, else by decoding it.

    Args:
        audio (`dict`, `str`, `Path`, `bytes` or `BinaryIO`): as for [`read_audio`].

    Raises:
        BadAudioError: the file cannot be read, is cut off or is too short; the message is that of [`read_audio`].
    """
    with open_recording(audio) as recording:
        seconds = recording.seconds
    # Reading gives the error message.
    return seconds if seconds >= MINIMUM_SECONDS else len(read_audio(audio)) / SAMPLING_RATE
