"""When a recording was made: from its name, else from the time of its file."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from datasets import Dataset

TimeSource = Literal["start", "name", "modified", "clock"]
# A date with a time of day, as recorders and scripts write it into names; Z or an offset where it is not local time.
IN_NAME = re.compile(
    r"(?<!\d)(?P<y>20\d\d)(?P<a>[-_.]?)(?P<m>\d\d)(?P=a)(?P<d>\d\d)"
    r"[T _.-]*"
    r"(?P<H>\d\d)(?P<b>[-_.:h]?)(?P<M>\d\d)(?:[-_.:m]?(?P<S>\d\d)(?:[.,](?P<f>\d{1,6}))?)?(?!\d)"
    r"(?P<z>Z|[+-]\d\d:?\d\d)?"
)


def parse_time(text: str) -> datetime:
    """
    A moment in ISO 8601, such as `2026-11-26T14:30:00+01:00`; without an offset it is local time.

    Raises:
        ValueError: it is something else.
    """
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"start is {text!r}; accepted is a date with a time (ISO 8601), such as 2026-11-26T14:30:00 (local time), "
            "2026-11-26T13:30:00Z or 2026-11-26T14:30:00+01:00."
        ) from error


def time_in_name(name: str) -> datetime | None:
    """
    The date and time in the name of a recording, in UTC; `None` where there is none. Names hold local time.

    >>> time_in_name("pump_20261126T143005Z.wav").isoformat()
    '2026-11-26T14:30:05+00:00'
    """
    for found in IN_NAME.finditer(name):
        year, month, day, hour, minute, second = (int(found[key] or 0) for key in ("y", "m", "d", "H", "M", "S"))
        micros = int((found["f"] or "0").ljust(6, "0"))
        try:
            moment = datetime(year, month, day, hour, minute, second, micros)
            zone = found["z"]
            if zone is not None:
                return datetime.fromisoformat(moment.isoformat() + zone.replace("Z", "+00:00")).astimezone(UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):  # such as month 13: digits that mean something else
            continue
    return None


def recording_start(path: str | Path, seconds: float) -> tuple[datetime, TimeSource] | None:
    """
    When a recording began.

    Args:
        path (`str` or `Path`): its file.
        seconds (`float`): its length: where the name says no time, it ended when the file was last changed.

    Returns:
        `tuple[datetime, str]`: in UTC, and `"name"` or `"modified"`; `None` where there is no such file.
    """
    named = time_in_name(Path(path).name)
    if named is not None:
        return named, "name"
    try:
        modified = os.stat(path).st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(modified, UTC) - timedelta(seconds=seconds), "modified"


def durations(dataset: "Dataset") -> dict[str, float]:
    """By file how long the recordings of a dataset are, in seconds; those that cannot be read are missing."""
    from ..audio.errors import BadAudioError
    from ..audio.reading import duration
    from .schema import undecoded_audio

    seconds = {}
    for audio in undecoded_audio(dataset):
        if not audio["path"]:
            continue
        try:
            seconds[audio["path"]] = duration(audio)
        except BadAudioError:  # it was left out
            continue
    return seconds


def now() -> datetime:
    """The clock of this computer, in UTC."""
    return datetime.now(UTC)


def time_text(moment: datetime) -> str:
    """In ISO 8601, UTC, with milliseconds: `2026-11-26T13:30:05.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
