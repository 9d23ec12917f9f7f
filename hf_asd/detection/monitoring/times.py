"""When the sound of a window was recorded."""

from datetime import datetime, timedelta

from ...audio.errors import BadAudioError
from ...audio.recording import open_recording
from ...data.recording_time import TimeSource, now, parse_time, recording_start, time_in_name
from .pipe import PIPE


class WindowTimes:
    """
    The times of windows that follow one another, source by source.

    Args:
        start (`str`, *optional*): when the source began, in ISO 8601.
    """

    def __init__(self, start: str | None):
        self.start = None if start is None else parse_time(start)
        self._source: str | None = None
        self._began: tuple[datetime, TimeSource] | None = None

    def of(self, source: str, start_s: float, seconds: float | None) -> tuple[datetime, TimeSource]:
        """
        Args:
            source (`str`): the recording, or `"-"` for a pipe.
            start_s (`float`): where the window begins in it, in seconds.
            seconds (`float`, *optional*): how long the window is; `None` where it could not be read.

        Returns:
            `tuple[datetime, str]`: when it began, in UTC, and what that follows from.
        """
        if self.start is not None:
            return self.start + timedelta(seconds=start_s), "start"
        if source == PIPE:
            return now() - timedelta(seconds=seconds or 0.0), "clock"
        if source != self._source or self._began is None:
            self._source, self._began = source, _began(source, is_readable=seconds is not None)
        if self._began is None:
            return now(), "clock"
        return self._began[0] + timedelta(seconds=start_s), self._began[1]


def _began(source: str, is_readable: bool) -> tuple[datetime, TimeSource] | None:
    """When a recording began; `None` where nothing says it."""
    if not is_readable or time_in_name(source.rpartition("/")[2]) is not None:
        named = recording_start(source, 0.0)
        return named if named is not None and named[1] == "name" else None
    try:
        with open_recording(source, growing=True) as recording:
            seconds = recording.seconds
    except (BadAudioError, OSError):  # gone meanwhile
        return None
    return recording_start(source, seconds)
