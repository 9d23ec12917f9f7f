"""Recordings on disk: read, check, choose a channel, resample."""

import io
import re
from pathlib import Path

import numpy as np
import soundfile
import soxr
from datasets import DatasetDict
from tqdm.auto import tqdm

from .channels import select_channel


SAMPLING_RATE = 16_000
MINIMUM_SECONDS = 0.5
# Below this peak (-90 dB of full scale, about one step of 16 bit) a recording is taken for silence.
SILENCE_PEAK = 10 ** (-90 / 20)
CREST = 0.05  # of the extreme: samples so near to it are compared with those at it
# libsndfile shortens a truncated WAV without an error; only its log tells. Recorders that stream to a pipe promise the
# largest size there is because they cannot know better: those files are whole.
TRUNCATED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = 0x7FFFFF00


class BadAudioError(ValueError):
    """A recording that cannot be used; the message names the file, what is wrong and what to do."""


def read_audio(
    audio: dict | str | Path, sampling_rate: int = SAMPLING_RATE, channel: int | str = 0, allow_silence: bool = False
) -> np.ndarray:
    """
    Reads one recording as mono float samples.

    Args:
        audio (`dict` or `str` or `Path`): a row's undecoded `audio` (`{"path": str, "bytes": bytes | None}`)
            or a file's path.
        sampling_rate (`int`, *optional*, defaults to 16000): rate of the result in Hz; other rates are resampled
            (soxr, high quality).
        channel (`int` or `str`, *optional*, defaults to 0): which channel of several is used, counted from 0,
            `"mean"` of all, or what [`~hf_asd.audio.channels.select_channel`] makes of a near and a far microphone.
        allow_silence (`bool`, *optional*, defaults to `False`): silence is returned instead of refused, for those
            that decide about it themselves.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, full scale at 1.

    Raises:
        BadAudioError: the file is missing, no audio, empty, truncated, silent, not finite or shorter than 0.5 s, or
            lacks the channel.
    """
    return read_with_clipping(audio, sampling_rate, channel, allow_silence)[0]


def read_with_clipping(
    audio: dict | str | Path, sampling_rate: int = SAMPLING_RATE, channel: int | str = 0, allow_silence: bool = True
) -> tuple[np.ndarray, float]:
    """
    As [`read_audio`], with the share of samples that were clipped before the recording was resampled.

    Args:
        audio, sampling_rate, channel, allow_silence: as for [`read_audio`]; silence is returned by default.

    Returns:
        `tuple[np.ndarray, float]`: samples of shape `(samples,)`, float32, and the share of [`clipped_share`]: of the
        channel, or the largest of all channels where several are used.

    Raises:
        BadAudioError: as for [`read_audio`].
    """
    if isinstance(audio, dict):
        name, source = audio["path"] or "recording in memory", audio.get("bytes")
    else:
        name, source = str(audio), None
    try:
        with soundfile.SoundFile(io.BytesIO(source) if source else name) as file:
            rate, log = file.samplerate, file.extra_info
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        size = len(source) if source else Path(name).stat().st_size if Path(name).is_file() else None
        found = {None: "there is no such file", 0: "the file has 0 bytes"}.get(size, f"the decoder says: {error}")
        raise BadAudioError(
            f"{name}: cannot be read as audio, {found}. Accepted are WAV, FLAC and what else libsndfile reads."
        ) from error
    cut = TRUNCATED.search(log)
    if cut and int(cut[2]) < int(cut[1]) < UNKNOWN_SIZE:
        raise BadAudioError(
            f"{name}: is truncated, {cut[2]} of {cut[1]} bytes are there. Copy it again from the recorder."
        )
    try:
        mono = select_channel(samples, channel)
    except ValueError as error:
        raise BadAudioError(f"{name}: {error}") from error
    check_samples(name, mono, rate)
    if not allow_silence and np.abs(mono).max() < SILENCE_PEAK:
        raise BadAudioError(
            f"{name}: is silent, its peak lies below -90 dB of full scale. Was the microphone connected?"
        )
    if rate != sampling_rate:
        mono = soxr.resample(mono, rate, sampling_rate)
    used = [channel] if isinstance(channel, int) else range(samples.shape[1])
    return np.ascontiguousarray(mono), max(clipped_share(samples[:, number]) for number in used)


def check_samples(name: str, samples: np.ndarray, sampling_rate: int) -> None:
    """
    Args:
        name (`str`): of the recording, for the message.
        samples (`np.ndarray` of shape `(samples,)`): of one channel, floats.
        sampling_rate (`int`): in Hz.

    Raises:
        BadAudioError: there are no samples, samples that are no numbers, or less than 0.5 s of them.
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
    How much of a recording lies at its own highest and lowest value because it was cut off there.

    What is cut off piles up at one value, wherever below full scale and however short the moments above it. A pile has
    more than twice the samples of any other value near it, and more than twice those of a sine at its crest: nothing
    that swings lingers longer.

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
        # Two steps of 16 bits, or of fewer where a recording is coarser: values that only rounding sets apart.
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
        BadAudioError: as [`read_audio`] says it of a file that cannot be read or is too short.
    """
    name, source = (audio["path"], audio.get("bytes")) if isinstance(audio, dict) else (str(audio), None)
    try:
        seconds = soundfile.info(io.BytesIO(source) if source else name).duration
    except (soundfile.LibsndfileError, OSError):
        seconds = 0.0
    # Reading says what is wrong.
    return seconds if seconds >= MINIMUM_SECONDS else len(read_audio(audio)) / SAMPLING_RATE


def drop_bad_audio(
    dataset: DatasetDict, on_bad_audio: str = "error", channel: int | str = 0, allow_silence: bool = False
) -> tuple[DatasetDict, list[str]]:
    """
    Reads every recording once, and refuses or drops those that cannot be used.

    Args:
        dataset (`datasets.DatasetDict`): splits of the schema; only `audio` is read.
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether bad recordings stop the work
            or are dropped.
        channel (`int` or `str`, *optional*, defaults to 0), allow_silence (`bool`, *optional*, defaults to `False`):
            as for [`read_audio`].

    Returns:
        `tuple[datasets.DatasetDict, list[str]]`: the usable rows, and one message for every dropped one.

    Raises:
        BadAudioError: with `"error"`, one message that names every bad file.
        ValueError: `on_bad_audio` is neither of the two.
    """
    if on_bad_audio not in ("error", "skip"):
        raise ValueError(f"on_bad_audio is {on_bad_audio!r}; accepted are 'error' and 'skip'.")
    usable, messages = {}, []
    for split, rows in dataset.items():
        good = []
        audios = tqdm(rows.select_columns("audio"), desc=f"checking {split} recordings", unit="clip", delay=2)
        for row, columns in enumerate(audios):
            try:
                read_audio(columns["audio"], channel=channel, allow_silence=allow_silence)
                good.append(row)
            except BadAudioError as error:
                messages.append(str(error))
        usable[split] = rows if len(good) == len(rows) else rows.select(good)
    if messages and on_bad_audio == "error":
        listed = "\n  ".join(messages)
        raise BadAudioError(
            f"{len(messages)} of {sum(map(len, dataset.values()))} recordings cannot be used:\n  {listed}\n"
            "Repair or remove them, or drop them with --on-bad-audio skip (on_bad_audio='skip')."
        )
    return DatasetDict(usable), messages
