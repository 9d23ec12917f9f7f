"""What a pipe holds: raw samples, or a format that its first bytes name."""

from typing import BinaryIO

from ..errors import BadAudioError
from .flac import FlacStream
from .raw import RawFormat, RawStream, SampleFormat
from .source import PipeBytes, SoundStream
from .wave import MAGICS, WaveStream


DEFAULT_RATE, DEFAULT_CHANNELS, DEFAULT_FORMAT = 16_000, 1, "s16le"
# Recognized only to be refused: taken for raw samples, these would be noise.
OTHERS = {b"OggS": "OGG", b"FORM": "AIFF", b".snd": "AU", b"caff": "CAF", b"\x1a\x45\xdf\xa3": "Matroska"}
OTHERS |= {b"ID3" + bytes([version]): "MP3" for version in (2, 3, 4)}


def open_stream(
    pipe: BinaryIO,
    sampling_rate: int | None = None,
    channels: int | None = None,
    sample_format: RawFormat | None = None,
) -> SoundStream:
    """
    Reads the beginning of a pipe. WAV (also RF64 and Wave64) and FLAC are recognized; else it holds raw samples.

    Args:
        pipe (`BinaryIO`): such as `sys.stdin.buffer`.
        sampling_rate (`int`, in Hz), channels (`int`), sample_format (`str`) (*optional*): of raw samples, by default
            16000 Hz, one channel, 16 bit little endian. A header says the same itself.

    Raises:
        BadAudioError: the header is damaged, or of a format that is not read from a pipe.
        ValueError: an option contradicts the header.
    """
    source = PipeBytes(pipe)
    start = source.read(12)
    source.give_back(start)
    other = OTHERS.get(start[:4]) or ("MP4" if start[4:8] == b"ftyp" else None)
    if other is not None:
        raise BadAudioError(
            f"the pipe holds {other}; accepted are WAV, FLAC and raw samples. Decode it first: ... | ffmpeg -i - -f "
            "wav - | hf-asd monitor DETECTOR -"
        )
    if start[:4] in MAGICS:
        stream = WaveStream(source)
    elif start[:4] == b"fLaC":
        stream = FlacStream(source)
    else:
        layout = SampleFormat.named(sample_format or DEFAULT_FORMAT)
        return RawStream(source, sampling_rate or DEFAULT_RATE, channels or DEFAULT_CHANNELS, layout)
    given = {"sampling_rate": sampling_rate, "channels": channels, "sample_format": sample_format}
    for name, value in given.items():
        if value is not None and value != getattr(stream, name):
            raise ValueError(f"{name} is {value}, but the pipe holds {stream}. Leave it out.")
    return stream
