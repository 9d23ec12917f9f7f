"""Events among recordings that were scored: which of them belong together, in the order of time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...data.recording_time import TimeSource, now, recording_start
from ..alarm import AlarmPolicy
from ..decision_rows import FILE
from .lines import DetectorName, line_head
from .tracker import EventTracker


if TYPE_CHECKING:
    from ..detector import AnomalyDetector

EVENT_FIELDS = ("alarm", "event", "event_id", "since", "severity")
HEAD_FIELDS = ("id", "time", "time_from", "detector", "detector_version")
LINE_FIELDS = (*HEAD_FIELDS, *EVENT_FIELDS)  # that are added to the fields of a decision


def add_events(
    rows: Sequence[dict],
    detector: "AnomalyDetector",
    name: str | None,
    seconds: Mapping[str, float],
    start: datetime | None = None,
) -> list[dict]:
    """
    Adds to decisions what a plant's system needs: when, which event, how severe.

    Each anomalous recording raises an alarm, and the next normal one of the machine clears it: anomalous recordings
    that follow one another in time are one event.

    Args:
        rows (`Sequence[dict]`): `file` and the fields of [`~hf_asd.detection.decision.Decision`].
        detector ([`~hf_asd.AnomalyDetector`]): the one that decided.
        name (`str`, *optional*): its name, for the lines.
        seconds (`Mapping[str, float]`): by file the length of the recording.
        start (`datetime`, *optional*): when the only recording began.

    Returns:
        `list[dict]`: in the order of `rows`, each with the fields [`LINE_FIELDS`] behind its own.
    """
    decided_by = DetectorName.of(detector, name)
    times = [_time(row[FILE], seconds.get(row[FILE], 0.0), start) for row in rows]
    trackers: dict[str, EventTracker] = {}
    lines: list[dict] = [{} for _ in rows]
    for place in sorted(range(len(rows)), key=lambda place: (times[place][0], place)):
        row, (time, time_from) = rows[place], times[place]
        machine = row["machine"]
        if machine not in trackers:
            bank = detector.machines[machine]
            trackers[machine] = EventTracker(machine, bank, AlarmPolicy(1, 1), decided_by.version)
        head = line_head(decided_by, row[FILE], 0.0, time, time_from, machine)
        event = trackers[machine].update(row, time, seconds.get(row[FILE], 0.0))
        lines[place] = row | {field: head[field] for field in HEAD_FIELDS} | event
    return lines


def _time(file: str, seconds: float, start: datetime | None) -> tuple[datetime, TimeSource]:
    if start is not None:
        return start, "start"
    found = recording_start(file, seconds)
    return (now() - timedelta(seconds=seconds), "clock") if found is None else found
