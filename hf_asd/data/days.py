"""On which day a recording was made: by its name or, where that can be trusted, by the time of its file."""

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

from .names import date_in


BY_NAME, BY_TIME = "by the dates in file names", "by the times of the files"
LEAST_SECONDS = 1.0  # from one recording to the next; copying and unpacking is faster
MOST_AT_ONCE = 0.05  # share of recordings that may follow faster: two recorders at a time


def add_sessions(rows: Sequence[dict]) -> dict[str, str]:
    """
    Gives the recordings of machines without any session the day on which they were made.

    All recordings of a folder say it by their names, or none. The times of files count for a machine whose names say
    nothing. A copied or downloaded folder has the times of copying: the files then follow one another within a second,
    or are all of one day, and times say nothing. (Days of copying instead of days of recording would only make larger
    sessions, never smaller ones.)

    Args:
        rows (`Sequence[dict]`): `machine`, `session` (changed) and `path` of each recording.

    Returns:
        `dict[str, str]`: by machine what its sessions follow from; machines without sessions, or whose sessions were
        known before, are missing.
    """
    machines, found = defaultdict(list), {}
    for row in rows:
        machines[row["machine"]].append(row)
    for machine, own in machines.items():
        if any(row["session"] is not None for row in own):
            continue
        days, why = _days_of_names([row["path"] for row in own]), BY_NAME
        if days is None:
            days, why = _days_of_files([row["path"] for row in own]), BY_TIME
        if days is not None:
            found[machine] = why
            for row, day in zip(own, days, strict=True):
                row["session"] = None if day is None else day.isoformat()
    return found


def _days_of_names(paths: Sequence[Path]) -> list[date | None] | None:
    """The days in the names; `None` where no folder has them."""
    days = [date_in(path.stem) for path in paths]
    nameless = {path.parent for path, day in zip(paths, days, strict=True) if day is None}
    days = [None if path.parent in nameless else day for path, day in zip(paths, days, strict=True)]
    return days if any(days) else None


def _days_of_files(paths: Sequence[Path]) -> list[date | None] | None:
    """The days on which files were last written; `None` where these are not those of the recordings."""
    times = [os.stat(path).st_mtime for path in paths]
    days: list[date | None] = [date.fromtimestamp(time) for time in times]
    at_once = sum(later - earlier < LEAST_SECONDS for earlier, later in pairwise(sorted(times)))
    return days if len(set(days)) > 1 and at_once <= MOST_AT_ONCE * len(times) else None
