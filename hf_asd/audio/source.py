"""The bytes of a recording: a file on disk or a content in memory, checked before anything decodes them."""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import BadAudioError


MEMORY_NAME = "recording in memory"
BUFFER_BYTES = 1 << 16


@dataclass
class Source:
    """
    An open file.

    Args:
        name (`str`): for messages.
        file (`BinaryIO`): its bytes; can seek.
        size (`int`): of the file in bytes when it was opened.
        path (`str` or `None`): on disk; `None` for a content in memory.
        growing (`bool`): still being written, so that a missing end is no fault.
    """

    name: str
    file: BinaryIO
    size: int
    path: str | None
    growing: bool = False

    def read(self, start: int, count: int) -> bytes:
        """Bytes from `start` on; fewer than `count` at the end."""
        self.file.seek(start)
        return self.file.read(count)

    def error(self, text: str) -> BadAudioError:
        """An error that names this file."""
        return BadAudioError(f"{self.name}: {text}")

    def cut_off(self, text: str) -> BadAudioError:
        """The error about a recording of which a part is missing."""
        return self.error(f"is cut off, {text}. Copy it again from the recorder.")


def open_source(audio: Any, growing: bool = False) -> Source:
    """
    Opens the bytes of a recording.

    Args:
        audio (`dict`, `str`, `Path`, `bytes` or `BinaryIO`): a row's undecoded `audio` (`{"path": str, "bytes":
            bytes | None}`), a file's path, its content, or an open binary file, which is read from its start.
        growing (`bool`, *optional*, defaults to `False`): the file is still being written.

    Raises:
        BadAudioError: there is no such file, it is a folder or a pipe, it may not be read, or it has no bytes.
        TypeError: `audio` is none of these.
    """
    if isinstance(audio, dict):
        content, path = audio.get("bytes"), audio.get("path")
        if content is None and path is None:
            raise BadAudioError(f"{MEMORY_NAME}: has neither a path nor bytes.")
        audio, name = (path, path) if content is None else (content, path or MEMORY_NAME)
    else:
        name = getattr(audio, "name", MEMORY_NAME)
    if isinstance(audio, str | Path):
        return _open_file(os.fspath(audio), growing)
    if isinstance(audio, bytes | bytearray | memoryview):
        file = io.BytesIO(audio)
    elif hasattr(audio, "read") and hasattr(audio, "seek"):
        audio.seek(0)
        content = audio.read()
        if not isinstance(content, bytes):
            raise TypeError(f"{name}: was opened as text; open it as binary, open(..., 'rb').")
        file = io.BytesIO(content)
    else:
        raise TypeError(
            f"a recording is given as {type(audio).__name__}; accepted are a file's name, its content as bytes, or an "
            "open binary file."
        )
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise BadAudioError(f"{name}: cannot be read as audio, the file has 0 bytes.")
    return Source(str(name), file, size, None, growing)


def _open_file(path: str, growing: bool) -> Source:
    # Surrogates stand for bytes of a file name that are not UTF-8; no terminal prints them.
    name = path.encode("utf-8", "backslashreplace").decode("utf-8")
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):  # a pipe would be waited for without end
            raise BadAudioError(f"{name}: cannot be read as audio, {_describe_kind(kind)}.")
        file = open(path, "rb", buffering=BUFFER_BYTES)
        size = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        found = "there is no such file"
        if os.path.islink(path):
            found = f"the link leads to {os.readlink(path)}, which is not there"
        raise BadAudioError(f"{name}: cannot be read as audio, {found}.") from error
    except PermissionError as error:
        raise BadAudioError(
            f"{name}: cannot be read as audio, this user may not read it. Allow it, for example with chmod a+r."
        ) from error
    except (OSError, ValueError) as error:  # such as a name with a null character, or a share that went away
        raise BadAudioError(f"{name}: cannot be read as audio, {error}.") from error
    if size == 0 and not growing:
        file.close()
        raise BadAudioError(f"{name}: cannot be read as audio, the file has 0 bytes.")
    return Source(name, file, size, path, growing)


def _describe_kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "it is a folder"
    if stat.S_ISFIFO(mode):
        return "it is a named pipe, not a file. `hf-asd monitor DETECTOR - < PIPE` listens to a pipe"
    return "it is a device or socket, not a file"


class Window:
    """
    A part of a file, with a header put before it, as a file that a decoder reads.

    A decoder that believes the lengths in a header is given a header that has the right ones.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, prefix: bytes = b""):
        self._file, self._start, self._prefix = file, start, prefix
        self._size = len(prefix) + max(end - start, 0)
        self._position = 0
        self.problem: OSError | None = None  # a decoder written in C cannot pass an exception on

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        count = max(min(len(target), self._size - self._position), 0)
        own = min(count, max(len(self._prefix) - self._position, 0))
        target[:own] = self._prefix[self._position : self._position + own]
        if own < count:
            try:
                self._file.seek(self._start + self._position + own - len(self._prefix))
                count = own + self._file.readinto(target[own:count])  # type: ignore[attr-defined]
            except OSError as error:
                self.problem, count = error, own
        self._position += count
        return count
