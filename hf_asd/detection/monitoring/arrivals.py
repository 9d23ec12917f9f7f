"""Which recordings of a watched folder are new and whole: each is given once."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...audio.errors import BadAudioError
from ...audio.recording import open_recording
from .listing import GONE, Listing, Stamp, list_recordings
from .state import Known, StateFile
from .windows import Fault, without_name


logger = logging.getLogger(__name__)

SETTLED_SECONDS = 2.0  # a recording that is as long as its header says is taken when it was at rest for this long
RETRY = Stamp(size=-2)  # how nothing looks, so that a known recording is looked at again
REMEMBERED = 100_000  # recordings that are no longer there but known when they come back
BLOCK_FRAMES, BLOCK_BYTES = 1 << 16, 1 << 20


@dataclass
class Waiting:
    """A recording that is new or has changed: how it looks, since when, and what was found when it was opened."""

    stamp: Stamp
    since: float
    content: str | None = None
    fault: str | None = None  # of the content
    is_sure: bool = False  # its length is what the header promises
    unread_since: float | None = None


class Arrivals:
    """
    Gives each recording of a folder once, when it is whole.

    A recording is known again by its name and content, so that neither clocks nor the numbers of a file system count:
    a file that was replaced is new, what is in a folder that was mounted again is not. A known recording that was
    moved within the folder is not new either. Memory: about 1 KB for each recording that is there, and for the last
    100 000 that were.

    Args:
        folder (`str`): the watched folder.
        subfolders (`bool`): watch its subfolders as well.
        settle_seconds (`float`): a recording whose header does not say how long it is counts as whole when it was at
            rest for this long, one that is shorter than its header says as cut off; 0: everything is taken as it is.
        state ([`StateFile`], *optional*): recordings that were given before, and those that are given now.

    Raises:
        OSError, ValueError: the state cannot be used.
    """

    def __init__(self, folder: str, subfolders: bool, settle_seconds: float, state: StateFile | None = None):
        self.folder, self.subfolders, self.settle_seconds = folder, subfolders, settle_seconds
        self.state = state
        self.known: dict[str, Known] = {} if state is None else state.load()
        self.waiting: dict[str, Waiting] = {}
        self.listing, self.listing_seconds = Listing(), 0.0
        self.fault: str | None = None  # of the folder itself
        self.was_mounted = False

    def look(self, now: float) -> Iterator[str | Fault]:
        """
        Looks at the folder once.

        Args:
            now (`float`): seconds of a clock that never goes back.

        Yields:
            `str` or [`Fault`]: the path of a recording that is new and whole, or what cannot be read. Each once.
        """
        before, fault_before = self.listing.faults, self.fault
        is_readable = self._list()
        if self.fault is not None and fault_before is None:
            yield Fault(self.folder, f"{self.fault}; waiting until it is back.")
        elif self.fault is None and fault_before is not None:
            logger.info("%s: is back; the work goes on.", self.folder)
            self._retry_faults()
        if not is_readable:
            return
        yield from (Fault(path, text) for path, text in self.listing.faults.items() if path not in before)
        for path, stamp in (self.listing.files | self._removed()).items():
            yield from self._look_at(path, stamp, now)
        if self.fault is None:
            self._forget_old()

    def put_back(self, path: str) -> bool:
        """
        Takes a recording again that could not be read to its end, if that was the fault of the storage.

        Args:
            path (`str`): of [`look`].

        Returns:
            `bool`: whether it is taken again; `False` where its content is at fault.
        """
        if _holds(path, self.known[path].content):
            return False
        del self.known[path]
        return True

    def _list(self) -> bool:
        """Looks at the folder: what is in it, and what is wrong with it. Returns whether it can be read."""
        began = time.monotonic()
        try:
            self.listing = list_recordings(self.folder, self.subfolders)
        except OSError as error:
            self.fault = f"the folder cannot be read: {error.strerror}"
            return False
        self.listing_seconds = time.monotonic() - began
        is_mounted = os.path.ismount(os.path.realpath(self.folder))
        self.was_mounted = self.was_mounted or is_mounted
        self.fault = None if is_mounted or not self.was_mounted else "the folder is no longer mounted"
        return True

    def _removed(self) -> dict[str, Stamp]:
        """Recordings that are gone before they were given, unless the whole folder is away or they were renamed."""
        if self.fault is not None:
            return {}
        places = {stamp.place for stamp in self.listing.files.values()}
        gone = {path: one.stamp for path, one in self.waiting.items() if path not in self.listing.files}
        for path, stamp in list(gone.items()):
            was_given = path in self.known and self.known[path].content is not None
            if was_given or stamp.place in places:
                del self.waiting[path], gone[path]
        return {path: replace(GONE, place=stamp.place) for path, stamp in gone.items()}

    def _look_at(self, path: str, stamp: Stamp, now: float) -> Iterator[str | Fault]:
        known, waiting = self.known.get(path), self.waiting.get(path)
        if known is not None and known.stamp == stamp:
            self.waiting.pop(path, None)
            return
        if waiting is None or waiting.stamp != stamp:
            waiting = self.waiting[path] = Waiting(stamp, now)
        rest = now - waiting.since
        if rest < min(SETTLED_SECONDS, self.settle_seconds):
            return
        if waiting.content is None:
            unread = _examine(path, waiting, known)
            if unread is not None:
                yield from self._unread(path, unread, now)
                return
        if known is not None and known.content == waiting.content:  # touched, or on another file system
            self._take(path)
        elif waiting.is_sure or rest >= self.settle_seconds:
            was_moved = self._was_moved(waiting)
            self._take(path)
            if not was_moved:
                yield path if waiting.fault is None else Fault(path, waiting.fault)
                yield from self._keep(path)

    def _unread(self, path: str, unread: str, now: float) -> Iterator[Fault]:
        """A recording that cannot be read now: the folder may have gone away, so that it is only said if it lasts."""
        waiting, known = self.waiting[path], self.known.get(path)
        if waiting.unread_since is None:
            waiting.unread_since = now
        if now - waiting.unread_since < self.settle_seconds:
            return
        self._take(path, unread)
        if known is None or known.unread != unread:
            yield Fault(path, unread)

    def _take(self, path: str, unread: str | None = None) -> None:
        """From waiting to known; what was known of the content remains where it cannot be read now."""
        waiting = self.waiting.pop(path)
        content = waiting.content
        if content is None and path in self.known:
            content = self.known[path].content
        if path in self.listing.files:
            self.known[path] = Known(waiting.stamp, content, unread)

    def _keep(self, path: str) -> Iterator[Fault]:
        """Enters a recording into the state when all of it was decided."""
        known = self.known.get(path)
        if self.state is None or known is None or known.content is None:
            return
        try:
            self.state.add(path, known)
        except OSError as error:
            text = f"the state cannot be written: {error.strerror}; after a restart {path} would be decided again."
            yield Fault(str(self.state.path), text)

    def _was_moved(self, waiting: Waiting) -> bool:
        """Whether a recording was given before under another name, which is no longer there."""
        return any(
            known.content == waiting.content
            and known.stamp.modified == waiting.stamp.modified
            and path not in self.listing.files
            for path, known in self.known.items()
        )

    def _retry_faults(self) -> None:
        """What could not be read before the folder was away may be readable now."""
        for known in self.known.values():
            if known.unread is not None:
                known.stamp = RETRY
        for waiting in self.waiting.values():
            waiting.unread_since = None

    def _forget_old(self) -> None:
        too_many = len(self.known) - len(self.listing.files) - REMEMBERED
        if too_many > 0:
            gone = [path for path in self.known if path not in self.listing.files]
            for path in gone[:too_many]:
                del self.known[path]


def _examine(path: str, waiting: Waiting, known: Known | None) -> str | None:
    """
    Reads a recording to its end: what it holds, whether it is whole, and whether its header says so.

    Returns:
        `str` or `None`: why it cannot be read now; nothing is entered then.
    """
    if waiting.stamp.problem is not None:
        return waiting.stamp.problem
    try:
        content, ends_in_zeros = content_of(path)
    except OSError as error:
        return without_name(error, path)
    fault, is_sure = None, False
    if known is None or known.content != content:
        try:
            with open_recording(path) as recording:
                for _ in recording.blocks(BLOCK_FRAMES):
                    pass
            # Some programs reserve the whole length first, as zeros.
            is_sure = recording.promised_frames is not None and recording.note is None and not ends_in_zeros
        except (BadAudioError, OSError) as error:
            fault = without_name(error, path)
            if not _holds(path, content):
                return fault
    waiting.content, waiting.fault, waiting.is_sure = content, fault, is_sure
    return None


def _holds(path: str, content: str | None) -> bool:
    """Whether a file can be read and holds this, so that a fault lies in it and not in the storage."""
    try:
        return content_of(path)[0] == content
    except OSError:
        return False


def content_of(path: str) -> tuple[str, bool]:
    """
    What tells the content of a file from any other, and whether its last block is zeros.

    Raises:
        OSError: the file cannot be read.
    """
    digest, block = hashlib.blake2b(digest_size=16), b""
    with open(path, "rb") as file:
        while more := file.read(BLOCK_BYTES):
            block = more
            digest.update(block)
    return digest.hexdigest(), len(block) > 0 and not any(block[-4096:])
