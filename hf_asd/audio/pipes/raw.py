"""Samples in a pipe without a header."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import BadAudioError
from .source import PipeBytes, SoundStream


RawFormat = Literal["s16le", "s24le", "s32le", "f32le"]


@dataclass(frozen=True)
class SampleFormat:
    """
    How samples are stored.

    Args:
        kind (`str`): `s`, `u` (integers with and without a sign) or `f` (floats).
        width (`int`): bytes of a sample.
        order (`str`, *optional*, defaults to `"<"`): `<` little endian, `>` big endian.
    """

    kind: str
    width: int
    order: str = "<"

    def __str__(self) -> str:
        return f"{self.kind}{8 * self.width}" + ("" if self.width == 1 else {"<": "le", ">": "be"}[self.order])

    @classmethod
    def named(cls, name: RawFormat) -> "SampleFormat":
        """The format of a name such as `s16le`."""
        return cls(name[0], int(name[1:3]) // 8)

    def decode(self, content: bytes, channels: int) -> np.ndarray:
        """
        Args:
            content (`bytes`): of whole samples, channels interleaved.
            channels (`int`): their number.

        Returns:
            `np.ndarray` of shape `(samples, channels)`, float32, full scale at 1.
        """
        if self.width == 3:  # as the upper three bytes of four
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, slice(1, 4) if self.order == "<" else slice(0, 3)] = np.frombuffer(content, np.uint8).reshape(
                -1, 3
            )
            samples = wide.view(f"{self.order}i4")[:, 0] / 2**31
        elif self.kind == "f":
            samples = np.frombuffer(content, f"{self.order}f{self.width}")
        elif self.kind == "u":
            samples = np.frombuffer(content, np.uint8) / 128 - 1
        else:
            samples = np.frombuffer(content, f"{self.order}i{self.width}") / 2 ** (8 * self.width - 1)
        return samples.astype(np.float32).reshape(-1, channels)


class RawStream(SoundStream):
    """
    Samples up to the end of the pipe.

    Args:
        source ([`PipeBytes`]): at the first sample.
        sampling_rate (`int`, in Hz), channels (`int`), sample_format ([`SampleFormat`]): of the samples.
    """

    def __init__(self, source: PipeBytes, sampling_rate: int, channels: int, sample_format: SampleFormat):
        super().__init__("raw samples", sampling_rate, channels, str(sample_format))
        self.source, self.decode = source, sample_format.decode
        self.frame = sample_format.width * channels

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        while content := self.source.read(frames * self.frame):
            rest = len(content) % self.frame
            if len(content) > rest:
                yield self.decode(content[: len(content) - rest], self.channels)
            if rest:
                raise BadAudioError(
                    f"the pipe ended within a sample: {rest} of {self.frame} bytes; are the channels right?"
                )
