"""WAV in a pipe: its header gives the format; its sizes count only where what follows agrees with them."""

import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import BadAudioError
from .raw import SampleFormat
from .source import PipeBytes, SoundStream


logger = logging.getLogger(__name__)

MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")  # the last one begins Sony Wave64
# A program that writes to a pipe cannot know the size; it writes 0, or about the largest possible one.
UNKNOWN_SIZE, UNKNOWN_SIZE_64 = 0x7FFF0000, 1 << 62
LARGEST_CHUNK = 1 << 26  # of those that do not hold the samples
LARGEST_RATE = 1 << 28  # bytes a second; more is no recording
KINDS = {1: "s", 3: "f"}
EXTENSIBLE = 0xFFFE
CODECS = {2: "MS ADPCM", 6: "A-law", 7: "u-law", 17: "IMA ADPCM", 49: "GSM 6.10", 85: "MP3"}
WAVE64_HEAD = 24  # of a chunk of Wave64: a GUID, and a size that counts both
# Where the size is not known, the next WAV is recognized by the start of its header.
NEXT_WAVE = re.compile(rb"RIFF.{4}WAVE", re.DOTALL)
PERHAPS_NEXT_WAVE = re.compile(rb"R(?:I(?:F(?:F.{0,7})?)?)?\Z", re.DOTALL)


@dataclass(frozen=True)
class WaveHeader:
    """
    What a WAV says before its samples.

    Args:
        sampling_rate (`int`, in Hz), channels (`int`), sample_format ([`SampleFormat`]): of the samples.
        size (`int`, *optional*): promised bytes of samples; `None` where the writer could not know them.
        is_wave64 (`bool`): its chunks are those of Sony Wave64.
    """

    sampling_rate: int
    channels: int
    sample_format: SampleFormat
    size: int | None
    is_wave64: bool

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.sample_format.width * self.channels

    @property
    def sound(self) -> str:
        """How the samples are read, in words."""
        return f"{self.sampling_rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}, {self.sample_format}"

    @property
    def seconds(self) -> float:
        """The promised length; 0 where there is none."""
        return (self.size or 0) / (self.frame * self.sampling_rate)


class WaveStream(SoundStream):
    """
    The samples of a WAV, or of several one after the other, without the headers and notes between them.

    Args:
        source ([`PipeBytes`]): at the first byte of the header.

    Raises:
        BadAudioError: the header is damaged, cut off, or of a codec that is not PCM.
    """

    def __init__(self, source: PipeBytes):
        self.source, self.header = source, read_header(source)
        start = source.read(4)
        if start in MAGICS:
            raise BadAudioError(
                "the WAV in the pipe has one header behind the other: the program that sends it cannot write this "
                "format into a pipe. Let it write plain WAV (with SoX: -t wav)."
            )
        source.give_back(start)
        super().__init__("WAV", self.header.sampling_rate, self.header.channels, str(self.header.sample_format))
        self._begin(self.header)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        frame, decode = self.header.frame, self.header.sample_format.decode
        content = b""
        while more := self._read(frames * frame - len(content)):
            content += more
            if len(content) == frames * frame:
                yield decode(content, self.channels)
                content = b""
        whole = len(content) - len(content) % frame
        if whole:
            yield decode(content[:whole], self.channels)
        if self.left:
            missing = self.left / (frame * self.sampling_rate)
            raise BadAudioError(
                f"the WAV in the pipe is cut off: {self.header.seconds - missing:.3f} of {self.header.seconds:.3f} s "
                "came."
            )
        if whole < len(content):
            raise BadAudioError(f"the pipe ended within a sample: {len(content) - whole} of {frame} bytes.")

    def _begin(self, header: WaveHeader) -> None:
        self.header = header
        self.left = None if header.size is None else header.size - header.size % header.frame

    def _read(self, size: int) -> bytes:
        """At most `size` bytes of samples; none at the end of the pipe."""
        if self.left == 0 and not self._go_on():
            return b""
        if self.left is None:
            return self._read_to_header(size)
        content = self.source.read(min(size, self.left))
        self.left -= len(content)
        return content

    def _read_to_header(self, size: int) -> bytes:
        content = self.source.read(size)
        if PERHAPS_NEXT_WAVE.search(content[-11:]):
            content += self.source.read(12)
        found = NEXT_WAVE.search(content)
        end = found.start() if found else size
        self.source.give_back(content[end:])
        if end == 0 and found:
            self.left = 0
            return self._read(size)
        return content[:end]

    def _go_on(self) -> bool:
        """Behind the promised samples: to the next WAV, or to more samples than were promised; `False` at the end."""
        if not skip_chunks(self.source, self.header):
            logger.warning("the WAV in the pipe is longer than its header says; it is read to its end.")
            self.left = None
            return True
        start = self.source.read(4)
        self.source.give_back(start)
        if not start:
            return False
        header = read_header(self.source)
        if header.sound != self.header.sound:
            raise BadAudioError(
                f"another WAV follows in the pipe: {header.sound} instead of {self.header.sound}. Send each kind to a "
                "monitor of its own."
            )
        self._begin(header)
        return self.left != 0 or self._go_on()


def read_header(source: PipeBytes) -> WaveHeader:
    """
    Reads up to the first sample.

    Args:
        source ([`PipeBytes`]): at the first byte of the header.

    Raises:
        BadAudioError: the header is damaged, cut off, or of a codec that is not PCM.
    """
    magic = _exactly(source, 4)
    is_wave64, order = magic == b"riff", ">" if magic == b"RIFX" else "<"
    _exactly(source, 36 if is_wave64 else 8)
    size_64, layout = None, None
    while True:
        name, size = _name_and_size(_exactly(source, WAVE64_HEAD if is_wave64 else 8), order)
        if name == b"data":
            break
        if size > LARGEST_CHUNK:
            raise BadAudioError(f"the WAV header in the pipe is damaged: {size} bytes come before the samples.")
        content = _exactly(source, size + _padding(size, is_wave64))
        if name == b"ds64" and size >= 16:
            size_64 = struct.unpack_from("<Q", content, 8)[0]
        elif name == b"fmt ":
            layout = _layout(content, order)
    if layout is None:
        raise BadAudioError("the WAV header in the pipe is damaged: the samples come before their format.")
    if size_64 is not None:
        size = size_64
    limit = UNKNOWN_SIZE_64 if is_wave64 or size_64 is not None else UNKNOWN_SIZE
    return WaveHeader(*layout, size if 0 < size < limit else None, is_wave64)


def skip_chunks(source: PipeBytes, header: WaveHeader) -> bool:
    """
    Skips what follows the promised samples, such as notes of the recorder, up to another header or the end.

    Args:
        source ([`PipeBytes`]): behind the last promised sample.
        header ([`WaveHeader`]): of the samples.

    Returns:
        `bool`: `False` where no chunk follows but more samples: the promise was wrong. Nothing is skipped then.
    """
    length, size = WAVE64_HEAD if header.is_wave64 else 8, header.size or 0
    before = source.read(size % header.frame + _padding(size, header.is_wave64))
    while head := source.read(length):
        if head[:4] in MAGICS:
            source.give_back(head)
            return True
        name, size = _name_and_size(head, header.sample_format.order) if len(head) == length else (b"", 0)
        if not (name.isascii() and name.replace(b" ", b"").isalnum()) or size > LARGEST_CHUNK:
            source.give_back(before + head)
            return False
        source.skip(size + _padding(size, header.is_wave64))
        before = b""
    return True


def _name_and_size(head: bytes, order: str) -> tuple[bytes, int]:
    if len(head) == WAVE64_HEAD:
        return head[:4], max(struct.unpack_from("<Q", head, 16)[0] - WAVE64_HEAD, 0)
    return head[:4], struct.unpack_from(f"{order}I", head, 4)[0]


def _padding(size: int, is_wave64: bool) -> int:
    return -size % (8 if is_wave64 else 2)


def _layout(content: bytes, order: str) -> tuple[int, int, SampleFormat]:
    """Sampling rate, channels and format of the samples."""
    if len(content) < 16:
        raise BadAudioError(f"the WAV header in the pipe is damaged: its format has {len(content)} of 16 bytes.")
    codec, channels, rate, _, frame, bits = struct.unpack_from(f"{order}HHIIHH", content)
    if codec == EXTENSIBLE and len(content) >= 26:
        codec = struct.unpack_from(f"{order}H", content, 24)[0]
    if codec not in KINDS:
        raise BadAudioError(
            f"the WAV in the pipe holds {CODECS.get(codec, f'codec {codec}')}; accepted are PCM and floats. Decode it "
            "first: ... | ffmpeg -i - -c:a pcm_s16le -f wav - | hf-asd monitor DETECTOR -"
        )
    width = frame // channels if channels else 0
    widths = (4, 8) if KINDS[codec] == "f" else (1, 2, 3, 4)
    if width not in widths or bits > 8 * width or not 0 < rate * frame < LARGEST_RATE:
        raise BadAudioError(
            f"the WAV header in the pipe is damaged: {channels} channels, {rate} Hz, {bits} bits in {frame} bytes."
        )
    return rate, channels, SampleFormat("u" if width == 1 else KINDS[codec], width, order)


def _exactly(source: PipeBytes, size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise BadAudioError("the pipe ended within the header of a WAV.")
    return content
