"""Windows of one recording that may still grow."""

import logging
import time
from collections.abc import Iterator

from ...audio.errors import BadAudioError
from ...audio.reading import MINIMUM_SECONDS
from ...audio.recording import open_recording
from ..config import MonitorConfig
from .listing import Stamp, take_stamp
from .windows import POLL_SECONDS, Fault, Window, is_enough, too_short, without_name


logger = logging.getLogger(__name__)

HEAD_BYTES = 1 << 16  # a recording that grows keeps these behind the header, another one of the same name does not
HEADER_BYTES = 1 << 12  # sizes in a header change while a recording grows


def file_windows(path: str, seconds: float, config: MonitorConfig) -> Iterator[Window | Fault]:
    """
    The windows of one recording as they come.

    Args:
        path (`str`): the file.
        seconds (`float`): length of a window.
        config ([`MonitorConfig`]): waiting. When nothing was added for the time to wait, the rest is a
            window too, if it is long enough and the recording is not cut off.
    """
    growing = GrowingFile(path, seconds)
    idle_since = time.monotonic()
    reported, fault_since = None, idle_since
    while True:
        for item in growing.look():
            idle_since = time.monotonic()
            yield item
        now = time.monotonic()
        if growing.has_changed:
            idle_since = now
        if growing.fault is None:
            reported, fault_since = None, now
        elif now - fault_since >= config.settle_seconds and reported is None and config.wait_seconds:
            reported = growing.fault
            yield Fault(path, f"{reported} Waiting for it.", growing.start_s)
        if now - idle_since >= config.wait_seconds:
            yield from growing.rest(reported)
            return
        time.sleep(POLL_SECONDS)


class GrowingFile:
    """
    A recording that is read from where the last look ended.

    Args:
        path (`str`): the file.
        seconds (`float`): length of a window.
    """

    def __init__(self, path: str, seconds: float):
        self.path, self.seconds = path, seconds
        self.stamp, self.position, self.rate = Stamp(), 0, 1
        self.head = b""
        self.left, self.promised = None, None
        self.has_changed, self.fault = False, None

    @property
    def start_s(self) -> float:
        """Where the next window begins, in seconds."""
        return self.position / self.rate

    def look(self) -> Iterator[Window | Fault]:
        """The windows that are complete since the last look; `fault` says why the file cannot be read."""
        stamp = take_stamp(self.path)
        self.has_changed = stamp != self.stamp
        if not self.has_changed:
            return
        self.stamp, self.fault, self.left = stamp, stamp.problem, None
        if self.fault is not None:
            return
        try:
            if self.position and self._is_another():
                text = "is another recording than before, or was cut; it is read from its start."
                yield Fault(self.path, text, self.start_s)
                self.position = 0
            yield from self._read()
        except (BadAudioError, OSError) as error:  # it may be complete at the next look
            self.fault = without_name(error, self.path)

    def rest(self, reported: str | None) -> Iterator[Window | Fault]:
        """What remains when nothing is added any more."""
        present = self.position + (0 if self.left is None else len(self.left))
        if self.fault is not None:
            if self.fault != reported:
                yield Fault(self.path, self.fault, self.start_s)
        elif self.promised is not None and present < self.promised:
            found, promised = present / self.rate, self.promised / self.rate
            yield Fault(self.path, f"is cut off: {found:.3f} of {promised:.3f} s are there.", self.start_s)
        elif present < MINIMUM_SECONDS * self.rate:
            yield too_short(self.path, present / self.rate)
        elif self.left is not None and is_enough(len(self.left) / self.rate, self.position, self.seconds):
            yield Window(self.path, self.start_s, self.left, self.rate)
        if self.promised is not None and present > self.promised:
            found, promised = present / self.rate, self.promised / self.rate
            logger.warning("%s: its header says %.3f s; all %.3f s were read.", self.path, promised, found)

    def _read(self) -> Iterator[Window]:
        self.head = _head(self.path, HEAD_BYTES)
        with open_recording(self.path, growing=True) as recording:
            self.rate, self.promised = recording.sampling_rate, recording.promised_frames
            size = round(self.seconds * self.rate)
            for samples in recording.blocks(size, start=self.position):
                if len(samples) < size:
                    self.left = samples
                else:
                    yield Window(self.path, self.start_s, samples, self.rate)
                    self.position += size

    def _is_another(self) -> bool:
        return _head(self.path, len(self.head)) != self.head


def _head(path: str, size: int) -> bytes:
    """The first bytes behind the header."""
    with open(path, "rb") as file:
        file.seek(HEADER_BYTES)
        return file.read(size)
