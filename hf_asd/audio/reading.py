"""Recordings on disk: read, check, choose a channel, resample."""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr

from .channels import Channel, select_channel


SAMPLING_RATE = 16_000
MINIMUM_SECONDS = 0.5
# Below this peak (-90 dB of full scale, about one step of 16 bit) a recording counts as silence.
SILENCE_PEAK = 10 ** (-90 / 20)
CREST = 0.05  # share of the extreme value: samples this close to it are compared with those at it
# libsndfile shortens a truncated WAV without an error; only its log has both sizes. Recorders that write to a pipe
# promise the largest possible size because they cannot know the real one: those files are complete.
TRUNCATED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = 0x7FFFFF00
OnBadAudio = Literal["error", "skip"]  # unusable recordings stop the work, or are left out and listed
ACCEPTED_FORMATS = "WAV, FLAC and the other formats of libsndfile"


class BadAudioError(ValueError):
    """A recording that cannot be used; the message names the file, the fault and what to do."""


@dataclass(frozen=True)
class DecodedClip:
    """
    One recording, decoded once: what everything else about it is computed from.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): one channel, float32, 16 kHz, full scale at 1.
        clipped_share (`float`): share of samples that were clipped before resampling ([`clipped_share`]): of the
            channel, or the largest of all channels where several are used.
        seconds (`float`), sampling_rate (`int`, in Hz), channels (`int`): of the recording as it was stored.
    """

    samples: np.ndarray
    clipped_share: float
    seconds: float
    sampling_rate: int
    channels: int


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
    audio: dict | str | Path,
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
    name, content = _name_and_content(audio)
    samples, rate = _decode(name, content)
    try:
        mono = select_channel(samples, channel)
    except ValueError as error:
        raise BadAudioError(f"{name}: {error}") from error
    check_samples(name, mono, rate)
    if not allow_silence and np.abs(mono).max() < SILENCE_PEAK:
        raise BadAudioError(
            f"{name}: is silent, its peak lies below -90 dB of full scale. Was the microphone connected?"
        )
    used = [channel] if isinstance(channel, int) else range(samples.shape[1])
    resampled = mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)
    return DecodedClip(
        samples=np.ascontiguousarray(resampled),
        clipped_share=max(clipped_share(samples[:, number]) for number in used),
        seconds=len(samples) / rate,
        sampling_rate=rate,
        channels=samples.shape[1],
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
    return DecodedClip(resampled, clipped_share(samples), len(samples) / sampling_rate, sampling_rate, 1)


def _name_and_content(audio: dict | str | Path) -> tuple[str, bytes | None]:
    if isinstance(audio, dict):
        return audio["path"] or "recording in memory", audio.get("bytes")
    return str(audio), None


def _source(name: str, content: bytes | None) -> Any:
    return io.BytesIO(content) if content else name


def _decode(name: str, content: bytes | None) -> tuple[np.ndarray, int]:
    """All samples of all channels, of shape `(samples, channels)`, and the sampling rate in Hz."""
    try:
        with soundfile.SoundFile(_source(name, content)) as file:
            rate, log = file.samplerate, file.extra_info
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        size = len(content) if content else Path(name).stat().st_size if Path(name).is_file() else None
        found = {None: "there is no such file", 0: "the file has 0 bytes"}.get(size, f"the decoder says: {error}")
        raise BadAudioError(f"{name}: cannot be read as audio, {found}. Accepted are {ACCEPTED_FORMATS}.") from error
    cut = TRUNCATED.search(log)
    if cut and int(cut[2]) < int(cut[1]) < UNKNOWN_SIZE:
        raise BadAudioError(
            f"{name}: is truncated, {cut[2]} of {cut[1]} bytes are there. Copy it again from the recorder."
        )
    return samples, rate


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
    A recording's length in seconds, from its header alone.

    Args:
        audio (`dict` or `str` or `Path`): as for [`read_audio`].

    Raises:
        BadAudioError: the file cannot be read or is too short; the message is that of [`read_audio`].
    """
    name, content = _name_and_content(audio)
    try:
        seconds = soundfile.info(_source(name, content)).duration
    except (soundfile.LibsndfileError, OSError):
        seconds = 0.0
    # Reading gives the error message.
    return seconds if seconds >= MINIMUM_SECONDS else len(read_audio(audio)) / SAMPLING_RATE
