"""Recordings on disk: read, check, choose a channel, resample."""

import io
import re
from pathlib import Path

import numpy as np
import soundfile
import soxr
from datasets import DatasetDict
from tqdm.auto import tqdm


SAMPLING_RATE = 16_000
MINIMUM_SECONDS = 0.5
# Below this peak (-90 dB of full scale, about one step of 16 bit) a recording is taken for silence.
SILENCE_PEAK = 10 ** (-90 / 20)
# libsndfile shortens a truncated WAV without an error; only its log tells. Recorders that stream to a pipe promise the
# largest size there is because they cannot know better: those files are whole.
TRUNCATED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = 0x7FFFFF00


class BadAudioError(ValueError):
    """A recording that cannot be used; the message names the file, what is wrong and what to do."""


def read_audio(audio: dict | str | Path, sampling_rate: int = SAMPLING_RATE, channel: int | str = 0) -> np.ndarray:
    """
    Reads one recording as mono float samples.

    Args:
        audio (`dict` or `str` or `Path`): a row's undecoded `audio` (`{"path": str, "bytes": bytes | None}`)
            or a file's path.
        sampling_rate (`int`, *optional*, defaults to 16000): rate of the result in Hz; other rates are resampled
            (soxr, high quality).
        channel (`int` or `"mean"`, *optional*, defaults to 0): which channel of several is used, counted from 0, or
            their mean.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, full scale at 1.

    Raises:
        BadAudioError: the file is missing, no audio, empty, truncated, silent, not finite or shorter than 0.5 s, or
            lacks the channel.
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
    if len(samples) == 0:
        raise BadAudioError(f"{name}: is empty, it holds no samples.")
    cut = TRUNCATED.search(log)
    if cut and int(cut[2]) < int(cut[1]) < UNKNOWN_SIZE:
        raise BadAudioError(
            f"{name}: is truncated, {cut[2]} of {cut[1]} bytes are there. Copy it again from the recorder."
        )
    if channel == "mean":
        mono = samples.mean(axis=1)
    elif isinstance(channel, int) and 0 <= channel < samples.shape[1]:
        mono = samples[:, channel]
    else:
        raise BadAudioError(
            f"{name}: has {samples.shape[1]} channel(s), asked for channel {channel!r}. "
            f"Accepted: 0 to {samples.shape[1] - 1} or 'mean'."
        )
    if not np.isfinite(mono).all():
        raise BadAudioError(f"{name}: holds {int((~np.isfinite(mono)).sum())} samples that are NaN or infinite.")
    if len(mono) < MINIMUM_SECONDS * rate:
        raise BadAudioError(
            f"{name}: is too short, {len(mono) / rate:.3f} s; at least {MINIMUM_SECONDS} s are needed."
        )
    if np.abs(mono).max() < SILENCE_PEAK:
        raise BadAudioError(
            f"{name}: is silent, its peak lies below -90 dB of full scale. Was the microphone connected?"
        )
    if rate != sampling_rate:
        mono = soxr.resample(mono, rate, sampling_rate)
    return np.ascontiguousarray(mono)


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
    dataset: DatasetDict, on_bad_audio: str = "error", channel: int | str = 0
) -> tuple[DatasetDict, list[str]]:
    """
    Reads every recording once, and refuses or drops those that cannot be used.

    Args:
        dataset (`datasets.DatasetDict`): splits of the schema; only `audio` is read.
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether bad recordings stop the work
            or are dropped.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`read_audio`].

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
                read_audio(columns["audio"], channel=channel)
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
