"""FLAC in a pipe."""

from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import soundfile

from ..errors import BadAudioError
from .source import PipeBytes, SoundStream


class FlacStream(SoundStream):
    """
    The samples of a FLAC.

    Args:
        source ([`PipeBytes`]): at the first byte of the header.

    Raises:
        BadAudioError: the header is damaged or cut off.
    """

    def __init__(self, source: PipeBytes):
        self.content = _PipeAsFile(source)
        try:
            self.file = _File(cast(BinaryIO, self.content))
        except soundfile.LibsndfileError as error:
            self.content.raise_interrupt()
            raise BadAudioError(f"the FLAC header in the pipe is damaged; the decoder says: {error}") from error
        super().__init__("FLAC", self.file.samplerate, self.file.channels)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        while True:
            try:
                samples = self.file.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise BadAudioError(f"the FLAC in the pipe is damaged; the decoder says: {error}") from error
            self.content.raise_interrupt()
            if not len(samples):
                return
            yield samples


class _File(soundfile.SoundFile):
    """soundfile moves in a file after each read where it can; in a pipe it cannot."""

    def seekable(self) -> bool:
        return False


class _PipeAsFile:
    """A pipe as the file that libsndfile wants, which moves only before it decodes: to the end and back."""

    LENGTH, HEAD = 1 << 62, 1 << 16

    def __init__(self, source: PipeBytes):
        self.source, self.head = source, b""
        self.place = self.num_read = 0
        self.is_interrupted = False

    def readinto(self, buffer) -> int:
        if self.place < len(self.head):
            content = self.head[self.place : self.place + len(buffer)]
        else:
            content = self._read(len(buffer))
        buffer[: len(content)] = content
        self.place += len(content)
        return len(content)

    def _read(self, size: int) -> bytes:
        try:
            content = self.source.read_some(size)
        except KeyboardInterrupt:  # it cannot pass through the decoder
            self.is_interrupted = True
            return b""
        if self.num_read < self.HEAD:
            self.head += content
        self.num_read += len(content)
        return content

    def raise_interrupt(self) -> None:
        if self.is_interrupted:
            raise KeyboardInterrupt

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.LENGTH)[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def write(self, content) -> int:  # soundfile asks for it
        raise OSError("a pipe is only read")
