"""Recordings on disk: read, check, choose a channel, resample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from .channels import Channel, select_channel
from .errors import BadAudioError as BadAudioError
from .recording import open_recording
from .stored_sound import SILENCE_PEAK, StoredSound, is_silent, silence_text, stored_sound


SAMPLING_RATE = 16_000
MINIMUM_SECONDS = 0.5
CREST = 0.05  # share of the extreme value: samples this close to it are compared with those at it
OnBadAudio = Literal["error", "skip"]  # unusable recordings stop the work, or are left out and listed
BLOCK_FRAMES = 1 << 20


@dataclass(frozen=True)
class DecodedClip:
    """
    One recording, decoded once: what everything else about it is computed from.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): one channel, float32, 16 kHz, full scale at 1.
        clipped_share (`float`): share of samples that were clipped before resampling ([`clipped_share`]): of the
            channel, or the largest of all channels where several are used.
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
    audio: dict | str | Path,
    sampling_rate: int = SAMPLING_RATE,
    channel: Channel = 0,
    allow_silence: bool = False,
) -> np.ndarray:
    """
    Reads one recording as mono float samples.

    Args:
        audio (`dict` or `str` or `Path`): a row's undecoded `audio` (`{"path": str, "bytes": bytes | None}`)
            or a file's path.
        sampling_rate (`int`, *optional*, defaults to 16000): rate of the result in Hz; other rates are resampled
            (soxr, high quality).
        channel (`int` or `str`, *optional*, defaults to 0): which channel of several is used, counted from 0,
            `"mean"` of all, or a combination of two ([`~hf_asd.audio.channels.select_channel`]).
        allow_silence (`bool`, *optional*, defaults to `False`): return silence instead of refusing it.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, full scale at 1.

    Raises:
        BadAudioError: the file is missing, not audio, empty, truncated, silent, not finite or shorter than 0.5 s, or
            lacks the channel.
    """
    return read_clip(audio, sampling_rate, channel, allow_silence).samples


def read_clip(
    audio: dict | str | Path | bytes,
    sampling_rate: int = SAMPLING_RATE,
    channel: Channel = 0,
    allow_silence: bool = True,
) -> DecodedClip:
    """
    As [`read_audio`], with what the stored recording shows beyond its samples; the file is opened once.

    Args:
        audio, sampling_rate, channel, allow_silence: as for [`read_audio`], or a file's content; silence is returned
            by default.

    Returns:
        [`DecodedClip`].

    Raises:
        BadAudioError: as for [`read_audio`].
    """
    with open_recording(audio) as recording:
        blocks = list(recording.blocks(BLOCK_FRAMES))
    samples = np.concatenate(blocks or [np.empty((0, recording.channels), np.float32)])
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
    check_samples(name, mono, rate)
    stored = stored_sound(samples, mono, rate, channel)
    if not allow_silence and is_silent(mono):
        raise BadAudioError(f"{name}: is {silence_text(stored)}")
    used = [channel] if isinstance(channel, int) else range(samples.shape[1])
    resampled = mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)
    return DecodedClip(
        samples=np.ascontiguousarray(resampled),
        clipped_share=max(clipped_share(samples[:, number]) for number in used),
        seconds=len(samples) / rate,
        sampling_rate=rate,
        channels=samples.shape[1],
        notes=notes,
        stored=stored,
    )


def clip_from_array(samples: np.ndarray, sampling_rate: int | None) -> DecodedClip:
    """
    Samples that are in memory already, as [`read_clip`] gives those of a file.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): mono, floats with full scale at 1.
        sampling_rate (`int`): in Hz.

    Raises:
        ValueError: the rate is missing, or the array has another shape or type.
    """
    if sampling_rate is None:
        raise ValueError("sampling_rate is missing; samples in an array come with their rate in Hz.")
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(
            f"the array has the shape {samples.shape} and dtype {samples.dtype}; accepted are mono samples of shape "
            "(samples,) as floats with full scale at 1 (16-bit samples divided by 32768)."
        )
    resampled = soxr.resample(samples.astype(np.float32), sampling_rate, SAMPLING_RATE)
    stored = stored_sound(samples[:, None], samples, sampling_rate)
    return DecodedClip(
        resampled, clipped_share(samples), len(samples) / sampling_rate, sampling_rate, 1, stored=stored
    )


def check_samples(name: str, samples: np.ndarray, sampling_rate: int) -> None:
    """
    Args:
        name (`str`): of the recording, for the message.
        samples (`np.ndarray` of shape `(samples,)`): of one channel, floats.
        sampling_rate (`int`): in Hz.

    Raises:
        BadAudioError: there are no samples, fewer than 0.5 s of them, or some are not finite.
    """
    if len(samples) == 0:
        raise BadAudioError(f"{name}: is empty, it holds no samples.")
    finite = np.isfinite(samples)
    if not finite.all():
        raise BadAudioError(f"{name}: holds {int((~finite).sum())} samples that are NaN or infinite.")
    if len(samples) < MINIMUM_SECONDS * sampling_rate:
        seconds = len(samples) / sampling_rate
        raise BadAudioError(f"{name}: is too short, {seconds:.3f} s; at least {MINIMUM_SECONDS} s are needed.")


def clipped_share(samples: np.ndarray) -> float:
    """
    The share of samples that lie at the recording's own highest and lowest value because they were cut off there.

    Clipped samples pile up at one value, which may lie below full scale. A pile has more than twice the samples of any
    other value near it, and more than twice those of a sine at its crest, where no oscillation stays longer.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): as recorded; resampling hides clipping.

    Returns:
        `float`: between 0 and 1; 0 for silence, which is flat without being clipped.
    """
    extreme = np.abs(samples).max()
    if extreme < SILENCE_PEAK:
        return 0.0
    clipped = 0
    for side in (samples, -samples):
        top = side.max()
        # Two steps of 16 bits, or of fewer where a recording is coarser: values that differ by rounding only.
        step = 2 * max(2.0**-15, float(top - side.max(where=side < top, initial=top - 1)))
        near = max(CREST * float(extreme), 8 * step)
        depths = ((top - side[side > top - near]) / step).astype(int)
        at_top, *others = np.bincount(depths)
        # The part of a sine's crest that lies within a step of it goes with the root of that step.
        if at_top > 2 * max(*others, len(depths) * np.sqrt(step / near), 0):
            clipped += at_top
    return float(min(clipped / len(samples), 1.0))


def duration(audio: dict | str | Path) -> float:
    """
    A recording's real length in seconds: from its header where that fits the file, else by decoding it.

    Args:
        audio (`dict` or `str` or `Path`): as for [`read_audio`].

    Raises:
        BadAudioError: the file cannot be read, is cut off or is too short; the message is that of [`read_audio`].
    """
    with open_recording(audio) as recording:
        seconds = recording.seconds
    # Reading gives the error message.
    return seconds if seconds >= MINIMUM_SECONDS else len(read_audio(audio)) / SAMPLING_RATE
