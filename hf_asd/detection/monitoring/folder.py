"""Windows of the recordings that are put into a folder."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...data.folder_summary import count
from ..config import MonitorConfig
from .arrivals import Arrivals
from .listing import list_recordings
from .state import StateFile
from .windows import POLL_SECONDS, Fault, Window, recording_windows


logger = logging.getLogger(__name__)


def folder_windows(
    folder: str, seconds: float, config: MonitorConfig, state: StateFile | None = None
) -> Iterator[Window | Fault]:
    """
    The windows of each recording of a folder, those that arrive at once in the order of their names.

    Args:
        folder (`str`): its path.
        seconds (`float`): length of a window.
        config ([`MonitorConfig`]): waiting. Without waiting, recordings are taken as they are.
        state ([`StateFile`], *optional*): recordings that were decided before, and those that are decided now.

    Raises:
        OSError, ValueError: the state cannot be used.
    """
    arrivals = Arrivals(folder, config.subfolders, config.settle_seconds if config.wait_seconds else 0.0, state)
    _say_what_is_watched(folder, config.subfolders)
    idle_since = time.monotonic()
    while True:
        for found in arrivals.look(time.monotonic()):
            if isinstance(found, Fault):
                yield found
            else:
                yield from _read(found, arrivals, seconds)
            idle_since = time.monotonic()
        now = time.monotonic()
        if arrivals.waiting and arrivals.fault is None:
            idle_since = now
        if now - idle_since >= config.wait_seconds:
            return
        time.sleep(max(POLL_SECONDS, arrivals.listing_seconds))  # a slow server is asked half of the time at most


def _read(path: str, arrivals: Arrivals, seconds: float) -> Iterator[Window | Fault]:
    is_new = True
    for item in recording_windows(path, seconds):
        if isinstance(item, Fault) and arrivals.put_back(path) and is_new:
            return  # the folder went away, and nothing was decided yet
        is_new = False
        yield item


def _say_what_is_watched(folder: str, subfolders: bool) -> None:
    listing = list_recordings(folder, True)
    here = sum(Path(path).parent == Path(folder) for path in listing.files)
    below = len(listing.files) - here
    words = f"{folder}: {count(here, 'recording')}"
    if listing.num_folders:
        watched = "watched as well" if subfolders else "not watched (--subfolders true)"
        words += f", and {below} in {count(listing.num_folders, 'subfolder')}: {watched}"
    if listing.others:
        kinds = Counter(Path(name).suffix.lower() or "no ending" for name in listing.others).most_common(5)
        others = count(len(listing.others), "file")
        words += f"; not recordings by their names: {others} ({', '.join(kind for kind, _ in kinds)})"
    logger.info("%s.", words)
