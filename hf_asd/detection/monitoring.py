"""Decisions about growing files, folders and pipes, window by window, in constant memory."""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ..audio.channels import select_channel
from ..audio.formats import READABLE_SUFFIXES
from ..audio.reading import MINIMUM_SECONDS
from .alarm import AlarmPolicy
from .config import MonitorConfig
from .detector import AnomalyDetector


POLL_SECONDS = 0.5
SETTLED_SECONDS = 2.0  # a file of a watched folder is read when it was not written to for this long
PIPE = "-"


def monitor(
    detector: AnomalyDetector,
    source: str | Path,
    config: MonitorConfig | None = None,
    policy: AlarmPolicy | None = None,
    machine: str | None = None,
    pipe: BinaryIO | None = None,
) -> Iterator[dict]:
    """
    Decides about a stream of sound, window by window, in constant memory.

    Input that cannot be read or decided about gives a line that says so, and the next window is taken.

    Args:
        detector ([`AnomalyDetector`]): fitted with clips about as long as a window.
        source (`str` or `Path`): a recording that may still grow; a folder that recordings are put into (each is read
            once, in order of arrival, by name among those that are there at once); or `"-"`: raw PCM from a pipe,
            signed 16 bit, little endian, channels interleaved.
        config ([`MonitorConfig`], *optional*): windows and waiting. The rest at the end of a recording is a window too
            if it is at least half as long, or if it is the whole recording. A pipe ends when it is closed.
        policy ([`AlarmPolicy`], *optional*): when decisions become an alarm.
        machine (`str`, *optional*): which machine it is; needed when the detector knows several.
        pipe (`BinaryIO`, *optional*): read instead of standard input.

    Yields:
        `dict`: `source`, `start_s` and `end_s` (seconds within the recording or since the pipe was opened), the fields
        of [`~hf_asd.detection.decision.Decision`], `alarm` (whether an alarm is active) and `event` (`"raised"`,
        `"cleared"` or `None`); or `source`, `start_s` and `error`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a machine that the detector does not know.
    """
    config = config or MonitorConfig()
    machine = detector.known_machine(machine)
    if str(source) == PIPE:
        windows = _pipe_windows(pipe or sys.stdin.buffer, config)
    elif Path(source).is_dir():
        windows = _folder_windows(Path(source), config)
    elif Path(source).is_file():
        windows = _file_windows(Path(source), config.window_seconds, config.wait_seconds)
    else:
        raise FileNotFoundError(f"{source}: there is no such file or folder; accepted are those, and - for a pipe.")
    return _decide(detector, windows, policy or AlarmPolicy(), machine, config.explain)


def _decide(
    detector: AnomalyDetector, windows: Iterator[dict], policy: AlarmPolicy, machine: str, explain: bool
) -> Iterator[dict]:
    for window in windows:
        line = {"source": window["source"], "start_s": round(window["start_s"], 3)}
        if "error" in window:
            yield line | {"error": window["error"]}
            continue
        samples, rate = window["samples"], window["rate"]
        line["end_s"] = round(window["start_s"] + len(samples) / rate, 3)
        try:
            if not np.isfinite(samples).all():
                raise ValueError(f"holds {int((~np.isfinite(samples)).sum())} samples that are NaN or infinite.")
            decision = detector(select_channel(samples, detector.config.channel), rate, machine, explain)
        except ValueError as error:  # the next window may be usable
            yield line | {"error": str(error)}
            continue
        event = policy.update(decision.is_anomaly)
        yield line | decision.to_dict() | {"alarm": policy.standing, "event": event}


def _pipe_windows(pipe: BinaryIO, config: MonitorConfig) -> Iterator[dict]:
    seconds, rate, channels = config.window_seconds, config.sampling_rate, config.channels
    frame = 2 * channels
    size = round(seconds * rate) * frame
    start = 0.0
    while content := pipe.read(size):
        whole = len(content) - len(content) % frame
        samples = np.frombuffer(content[:whole], dtype="<i2").reshape(-1, channels).astype(np.float32) / 2**15
        if len(content) == size or _is_enough(len(samples) / rate, start, seconds):
            yield {"source": PIPE, "start_s": start, "samples": samples, "rate": rate}
        if whole < len(content):
            text = f"the pipe ended within a sample: {len(content) - whole} of {frame} bytes; are the channels right?"
            yield {"source": PIPE, "start_s": start, "error": text}
        start += len(samples) / rate


def _folder_windows(folder: Path, config: MonitorConfig) -> Iterator[dict]:
    # Remembering the latest arrival instead of every name keeps the memory constant.
    latest, idle_since = -math.inf, time.monotonic()
    while True:
        settled = time.time() - SETTLED_SECONDS if config.wait_seconds else math.inf
        arrivals = {}
        for path in folder.iterdir():
            if path.suffix.lower() in READABLE_SUFFIXES and not path.name.startswith(".") and path.is_file():
                arrived = path.stat().st_ctime
                if latest < arrived < settled:
                    arrivals[path] = arrived
        for path in sorted(arrivals):
            yield from _file_windows(path, config.window_seconds, 0.0)
        if arrivals:
            latest, idle_since = max(arrivals.values()), time.monotonic()
        elif time.monotonic() - idle_since >= config.wait_seconds:
            return
        else:
            time.sleep(POLL_SECONDS)


def _file_windows(path: Path, seconds: float, wait: float) -> Iterator[dict]:
    position, rate, idle_since = 0, 1, time.monotonic()
    while True:
        error, left = None, 0
        try:
            # Opened again: only then the decoder sees what was added.
            with soundfile.SoundFile(path) as file:
                rate, size = file.samplerate, round(seconds * file.samplerate)
                if file.frames < position:
                    text = f"is shorter than before ({file.frames} samples); read from its start again"
                    yield {"source": str(path), "start_s": position / rate, "error": text}
                    position = 0
                file.seek(position)
                while file.frames - position >= size:
                    samples = file.read(size, dtype="float32", always_2d=True)
                    yield {"source": str(path), "start_s": position / rate, "samples": samples, "rate": rate}
                    position, idle_since = position + size, time.monotonic()
                left = file.frames - position
        except (soundfile.LibsndfileError, OSError) as problem:  # it may be complete at the next look
            error = f"cannot be read as audio: {problem}"
        if time.monotonic() - idle_since < wait:
            time.sleep(POLL_SECONDS)
            continue
        if error is None and left and _is_enough(left / rate, position, seconds):
            samples, rate = soundfile.read(path, start=position, dtype="float32", always_2d=True)
            yield {"source": str(path), "start_s": position / rate, "samples": samples, "rate": rate}
        elif error is None and position + left < MINIMUM_SECONDS * rate:
            error = f"is too short, {left / rate:.3f} s; at least {MINIMUM_SECONDS} s are needed"
        if error is not None:
            yield {"source": str(path), "start_s": position / rate, "error": error}
        return


def _is_enough(left_seconds: float, position: float, seconds: float) -> bool:
    """Whether the rest of a recording is a window: half as long as one, or the whole recording."""
    return left_seconds >= (seconds / 2 if position else MINIMUM_SECONDS)
