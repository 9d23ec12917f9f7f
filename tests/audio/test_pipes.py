"""Sound in a pipe: what libsndfile reads from a file is the oracle."""

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from sounds import hum

from hf_asd.audio.errors import BadAudioError
from hf_asd.audio.pipes.opening import open_stream


RATE = 48_000
SAMPLES = np.stack([hum(np.random.default_rng(0), rate=RATE, seconds=1.1), np.linspace(-0.9, 0.9, 52_800)], axis=1)


class Pipe(io.RawIOBase):
    """Gives less than is asked for, and nothing in between, as a pipe that does not block."""

    def __init__(self, content: bytes, piece: int = 1013):
        self.content, self.piece, self.reads = io.BytesIO(content), piece, 0

    def read(self, size: int = -1) -> bytes | None:
        self.reads += 1
        return None if self.reads % 50 == 0 else self.content.read(min(size, self.piece))


def encode(kind: str = "WAV", subtype: str = "PCM_16", samples: np.ndarray = SAMPLES, **options) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format=kind, subtype=subtype, **options)
    return content.getvalue()


def decode(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]


def read(content: bytes, frames: int = 20_000, **options) -> tuple[np.ndarray, str | None]:
    """All samples of a pipe, and the fault behind them."""
    stream, blocks, fault = open_stream(Pipe(content), **options), [], None
    try:
        blocks.extend(stream.blocks(frames))
    except BadAudioError as error:
        fault = str(error)
    assert all(len(block) == frames for block in blocks[:-1])
    return np.concatenate(blocks), fault


def with_size(content: bytes, size: int) -> bytes:
    return content[:40] + struct.pack("<I", size) + content[44:]


@pytest.mark.parametrize(
    "kind, subtype, name",
    [
        ("WAV", "PCM_U8", "WAV, 48000 Hz, 2 channels, u8"),
        ("WAV", "PCM_16", "WAV, 48000 Hz, 2 channels, s16le"),
        ("WAV", "PCM_24", "WAV, 48000 Hz, 2 channels, s24le"),
        ("WAV", "PCM_32", "WAV, 48000 Hz, 2 channels, s32le"),
        ("WAV", "FLOAT", "WAV, 48000 Hz, 2 channels, f32le"),
        ("WAV", "DOUBLE", "WAV, 48000 Hz, 2 channels, f64le"),
        ("WAVEX", "PCM_24", "WAV, 48000 Hz, 2 channels, s24le"),
        ("RF64", "PCM_16", "WAV, 48000 Hz, 2 channels, s16le"),
        ("W64", "PCM_32", "WAV, 48000 Hz, 2 channels, s32le"),
        ("FLAC", "PCM_24", "FLAC, 48000 Hz, 2 channels"),
    ],
)
def test_formats_with_a_header(kind, subtype, name):
    content = encode(kind, subtype)
    assert str(open_stream(Pipe(content))) == name
    samples, fault = read(content)
    assert np.array_equal(samples, decode(content)) and fault is None


def test_big_endian_samples():
    content = encode(endian="BIG")
    assert content[:4] == b"RIFX"
    assert np.array_equal(read(content)[0], decode(content))
    content = encode(subtype="PCM_24", endian="BIG")
    assert np.array_equal(read(content)[0], decode(content))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_sizes_that_a_writer_to_a_pipe_could_not_know(size):
    samples, fault = read(with_size(encode(), size))
    assert np.array_equal(samples, decode(encode())) and fault is None


def test_a_flac_whose_header_does_not_say_how_long_it_is():
    content = bytearray(encode("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert np.array_equal(read(bytes(content))[0], decode(encode("FLAC")))


def test_a_size_that_wrapped_is_not_the_end(caplog):
    samples, fault = read(with_size(encode(), 40_000))
    assert np.array_equal(samples, decode(encode())) and fault is None
    assert "longer than its header says" in caplog.text


def test_notes_of_the_recorder_are_not_sound():
    note = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    content = encode()
    with_notes = content[:36] + note + content[36:] + note + b"bext" + struct.pack("<I", 600) + bytes(range(200)) * 3
    samples, fault = read(with_notes)
    assert np.array_equal(samples, decode(content)) and fault is None


@pytest.mark.parametrize("size", [None, 0xFFFFFFFF])
@pytest.mark.parametrize("frames", [20_000, 52_800, 997])
def test_one_wav_behind_the_other(size, frames):
    content = encode() if size is None else with_size(encode(), size)
    samples, fault = read(2 * content, frames)
    assert np.array_equal(samples, np.concatenate([decode(encode())] * 2)) and fault is None
    with pytest.raises(BadAudioError, match="another WAV follows in the pipe: 48000 Hz, 2 channels, s24le"):
        list(open_stream(Pipe(content + encode(subtype="PCM_24"))).blocks(frames))


def test_a_wav_that_is_cut_off_gives_what_came_and_a_fault():
    samples, fault = read(encode()[:100_001])
    assert np.array_equal(samples, decode(encode())[:24_989])
    assert fault == "the WAV in the pipe is cut off: 0.521 of 1.100 s came."


def test_a_damaged_flac_gives_a_fault():
    content = encode("FLAC", samples=np.random.default_rng(1).uniform(-0.5, 0.5, (200_000, 2)))
    samples, fault = read(content[:300_000] + b"damaged" * 1000 + content[307_000:])
    assert len(samples) and fault.startswith("the FLAC in the pipe is damaged; the decoder says")
    with pytest.raises(BadAudioError, match="the FLAC header in the pipe is damaged"):
        open_stream(Pipe(content[:30]))


@pytest.mark.parametrize("name, dtype", [("s16le", "<i2"), ("s32le", "<i4"), ("f32le", "<f4")])
def test_raw_samples(name, dtype):
    scale = 1 if name == "f32le" else 2 ** (8 * np.dtype(dtype).itemsize - 1)
    content = (SAMPLES * scale).astype(dtype).tobytes()
    samples, fault = read(content + b"\0", channels=2, sample_format=name)
    assert np.abs(samples - SAMPLES).max() < 2**-14
    assert fault.startswith("the pipe ended within a sample: 1 of ")
    stream = open_stream(Pipe(content))
    assert (stream.sampling_rate, stream.channels, stream.sample_format) == (16_000, 1, "s16le")


def test_raw_samples_of_24_bits():
    values = np.array([0, 1, -1, 2**23 - 1, -(2**23)], "<i4")
    content = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    samples, _ = read(content, sample_format="s24le")
    assert np.array_equal(samples[:, 0], (values / 2**23).astype(np.float32))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sampling_rate": 16_000}, "sampling_rate is 16000, but the pipe holds WAV, 48000 Hz, 2 channels, s16le"),
        ({"channels": 1}, "channels is 1, but"),
        ({"sample_format": "s32le"}, "sample_format is s32le, but"),
    ],
)
def test_options_that_contradict_the_header(options, message):
    with pytest.raises(ValueError, match=message):
        open_stream(Pipe(encode()), **options)
    open_stream(Pipe(encode()), sampling_rate=48_000, channels=2, sample_format="s16le")


def test_formats_that_are_not_read_from_a_pipe_are_refused_by_name():
    contents = {"OGG": encode("OGG", "VORBIS"), "AIFF": encode("AIFF"), "AU": encode("AU", endian="BIG")}
    contents |= {"CAF": encode("CAF"), "MP3": b"ID3\x04" + bytes(100), "MP4": bytes(4) + b"ftypM4A " + bytes(100)}
    for name, content in contents.items():
        with pytest.raises(BadAudioError, match=f"the pipe holds {name}; accepted are WAV, FLAC and raw samples"):
            open_stream(Pipe(content))


@pytest.mark.parametrize(
    "content, message",
    [
        (encode()[:30], "ended within the header"),
        (encode(subtype="ULAW"), "u-law; accepted are PCM and floats.*ffmpeg"),
        (encode(subtype="MS_ADPCM"), "MS ADPCM"),
        (encode()[:12] + encode()[36:], "the samples come before their format"),
        (encode()[:22] + bytes(2) + encode()[24:], "0 channels, 48000 Hz"),
        (encode()[:24] + b"\xff\xff\xff\x7f" + encode()[28:], "2 channels, 2147483647 Hz"),
        (encode()[:16] + struct.pack("<I", 2**31) + encode()[20:], "2147483648 bytes come before"),
        (encode()[:44] + encode(), "one header behind the other"),
    ],
)
def test_headers_that_cannot_be_obeyed(content, message):
    with pytest.raises(BadAudioError, match=message):
        open_stream(Pipe(content))


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "FLAC"])
def test_a_stream_cut_at_any_byte_gives_the_first_samples_or_a_fault(kind):
    content = encode(kind, samples=SAMPLES[:3000])
    whole = decode(content)
    for end in [*range(4, 130), *range(130, len(content), 997)]:
        stream, blocks = None, [np.empty((0, 2), np.float32)]
        with suppress(BadAudioError):
            stream = open_stream(Pipe(content[:end]))
            blocks.extend(stream.blocks(1000))
        samples = np.concatenate(blocks)
        assert stream is not None or end < 130
        assert np.array_equal(samples, whole[: len(samples)]) and len(samples) < 3000
