"""The bytes of a pipe, and the samples that are made of them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np


WAIT_SECONDS = 0.05  # between two looks at a pipe that does not block


class PipeBytes:
    """
    The bytes of a pipe.

    Args:
        pipe (`BinaryIO`): read without seeking; it may pause, and give less than was asked for.
    """

    def __init__(self, pipe: BinaryIO):
        self.pipe, self._given_back = pipe, b""

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than `size` only at the end."""
        content = bytearray()
        while len(content) < size and (more := self.read_some(size - len(content))):
            content += more
        return bytes(content)

    def read_some(self, size: int) -> bytes:
        """What is there, at least one byte and at most `size`; nothing at the end."""
        if self._given_back:
            content, self._given_back = self._given_back[:size], self._given_back[size:]
            return content
        read = getattr(self.pipe, "read1", self.pipe.read)
        while (content := read(size)) is None:  # a pipe that does not block, and nothing is there yet
            time.sleep(WAIT_SECONDS)
        return content

    def give_back(self, content: bytes) -> None:
        """These bytes are read again next."""
        self._given_back = content + self._given_back

    def skip(self, size: int) -> None:
        """Leaves out the next bytes."""
        while size > 0 and (content := self.read_some(min(size, 1 << 16))):
            size -= len(content)


class SoundStream(ABC):
    """
    Samples from a pipe.

    Args:
        name (`str`): what was found in the pipe, such as WAV.
        sampling_rate (`int`, in Hz), channels (`int`): of the samples.
        sample_format (`str`, *optional*): how they are stored, where that can be said.
    """

    def __init__(self, name: str, sampling_rate: int, channels: int, sample_format: str | None = None):
        self.name, self.sampling_rate, self.channels, self.sample_format = name, sampling_rate, channels, sample_format

    def __str__(self) -> str:
        stored = "" if self.sample_format is None else f", {self.sample_format}"
        return f"{self.name}, {self.sampling_rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}{stored}"

    @abstractmethod
    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """
        The samples as they come.

        Args:
            frames (`int`): of each block; only the last one is shorter.

        Yields:
            `np.ndarray` of shape `(frames, channels)`, float32, full scale at 1.

        Raises:
            BadAudioError: behind the last block that can be read: the rest is damaged, or missing.
        """
