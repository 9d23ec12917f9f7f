"""Decisions about a source of sound, window by window."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...audio.channels import select_channel
from ...data.plant_folder import machine_of, unknown_machine
from ...data.recording_time import now
from ..alarm import AlarmPolicy
from ..config import MonitorConfig
from ..detector import AnomalyDetector
from ..drift.watch import Drift
from ..events.lines import DetectorName, line_head
from ..events.severity import UNREADABLE
from ..events.tracker import EventTracker
from ..training_summary import usual_seconds
from .drift import DayWatch, day_watches, drift_fields
from .folder import folder_windows
from .growing import file_windows
from .memory import MonitorMemory
from .pipe import PIPE, pipe_windows
from .state import StateFile
from .times import WindowTimes
from .windows import Fault, Window


UNKNOWN_SECONDS = 10.0  # length of a window where that of the normal clips is not known


def monitor(
    detector: AnomalyDetector,
    source: str | Path,
    config: MonitorConfig | None = None,
    policy: AlarmPolicy | None = None,
    machine: str | None = None,
    pipe: BinaryIO | None = None,
    name: str | None = None,
) -> Iterator[dict]:
    """
    Decides about a stream of sound, window by window, without keeping it.

    Input that cannot be read or decided about gives a line that says so, and the work goes on.

    Args:
        detector ([`AnomalyDetector`]): of the machine.
        source (`str` or `Path`): a recording that may still grow; a folder that recordings are put into; or `"-"`, a
            pipe. Each recording of a folder is read once, when it is whole, in order of arrival, by name among those
            that arrive at once ([`~hf_asd.detection.monitoring.arrivals.Arrivals`]). A pipe holds WAV, FLAC or raw
            samples ([`~hf_asd.audio.pipes.opening.open_stream`]).
        config ([`MonitorConfig`], *optional*): windows and waiting. The rest at the end of a recording is a window too
            if it is at least half as long, or if it is the whole recording; a shorter one belongs to the window before
            it, if the recording lies in a folder. A pipe ends when it is closed.
        policy ([`AlarmPolicy`], *optional*): when decisions become an alarm.
        machine (`str`, *optional*): which machine it is; needed when the detector knows several.
        pipe (`BinaryIO`, *optional*): read instead of standard input.
        name (`str`, *optional*): of the detector, for the lines.

    Yields:
        `dict`: the fields of [`~hf_asd.detection.events.lines.line_head`] (when it was, which detector and source),
        `end_s` (seconds within the recording or since the pipe was opened), the fields of
        [`~hf_asd.detection.decision.Decision`] and of [`~hf_asd.detection.events.tracker.EventTracker.update`]; or, of
        sound that cannot be read, the first of these with `error` and `severity`; or, where the days become unlike
        the earlier ones, with `drift`, `drift_since`, `drift_cause` and `severity`. All follow
        [`~hf_asd.detection.events.lines.line_schema`].

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a machine that the detector does not know, or, when the first line is asked for, an option that
            contradicts the header in a pipe.
    """
    config = config or MonitorConfig()
    if not config.machines:
        machine = detector.known_machine(machine)
    elif machine is not None or not Path(source).is_dir():
        raise ValueError("machines is given; it is for a folder with a subfolder for each machine, without --machine.")
    _check_one_process()
    known = [machine] if machine is not None else list(detector.machines)
    seconds = max(_window_seconds(detector, one, config) for one in known)
    decided_by, policy = DetectorName.of(detector, name), policy or AlarmPolicy()
    trackers = {one: EventTracker(one, detector.machines[one], replace(policy), decided_by.version) for one in known}
    days = day_watches(detector, known)
    if str(source) == PIPE:
        windows = pipe_windows(pipe or sys.stdin.buffer, seconds, config)
    elif Path(source).is_dir():
        state = None
        if config.state is not None:
            state = StateFile(config.state, str(source), MonitorMemory(trackers, days, decided_by.version))
        windows = folder_windows(str(source), seconds, config, state)
    elif Path(source).is_file():
        windows = file_windows(str(source), seconds, config)
    elif Path(source).exists():
        raise ValueError(f"{source}: is not a file or folder. Send a device or a pipe with: cat {source} | ... -")
    else:
        raise FileNotFoundError(f"{source}: there is no such file or folder; accepted are those, and - for a pipe.")
    return _decide(detector, windows, trackers, days, str(source), decided_by, config)


def _check_one_process() -> None:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(
            "monitor runs as one process; start one for each folder or pipe. score shares its work among processes."
        )


def _window_seconds(detector: AnomalyDetector, machine: str, config: MonitorConfig) -> float:
    if config.window_seconds != "auto":
        return config.window_seconds
    return usual_seconds(detector.training_summary, machine) or UNKNOWN_SECONDS


def _decide(
    detector: AnomalyDetector,
    windows: Iterator[Window | Fault],
    trackers: dict[str, EventTracker],
    days: dict[str, DayWatch],
    folder: str,
    name: DetectorName,
    config: MonitorConfig,
) -> Iterator[dict]:
    times, only = WindowTimes(config.start), None if config.machines else next(iter(trackers))
    for window in windows:
        source, start_s = window.source, window.start_s
        machine = only if only is not None or source == folder else machine_of(source, folder)
        if isinstance(window, Fault):
            head = line_head(name, source, start_s, *times.of(source, start_s, None), machine)
            yield head | {"error": window.error, "severity": UNREADABLE}
            continue
        samples, rate = window.samples, window.sampling_rate
        seconds = len(samples) / rate
        time, time_from = times.of(source, start_s, seconds)
        line = line_head(name, source, start_s, time, time_from, machine) | {"end_s": round(start_s + seconds, 3)}
        if machine is None or machine not in trackers:
            yield line | {"error": unknown_machine(machine, trackers), "severity": UNREADABLE}
            continue
        try:
            if not np.isfinite(samples).all():
                raise ValueError(f"holds {int((~np.isfinite(samples)).sum())} samples that are NaN or infinite.")
            mono = select_channel(samples, detector.config.channel)
            decided = detector(mono, rate, machine, config.explain, window_seconds=None)
        except ValueError as error:  # the next window may be usable
            yield line | {"error": str(error), "severity": UNREADABLE}
            continue
        decision = decided.to_dict()
        yield line | decision | trackers[machine].update(decision, time, seconds)
        if machine in days and (drift := days[machine].add(decided, mono, rate, time)) is not None:
            yield line_head(name, source, start_s, time, time_from, machine, _about(drift)) | drift_fields(drift)
    for machine, day in days.items():
        if (drift := day.close()) is not None:
            head = line_head(name, folder, 0.0, now(), "clock", machine, _about(drift))
            yield head | drift_fields(drift)


def _about(drift: Drift) -> str:
    """Another day of drift has another id; said again about the same days it has the same."""
    return f"drift since {drift.since}"
