"""Recordings as recorders, phones and exports write them: one sound in many wrappings, with lengths that are wrong."""

import io
import struct
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import soundfile


SECONDS = 0.75


@cache
def sound(rate: int = 16_000, channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    """A hum in noise, of shape `(samples, channels)`, float32, in steps of 16 bits; no two samples in a row are 0."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(channels).uniform(-0.05, 0.05, (len(time), channels))
    clip = 0.2 * np.sin(2 * np.pi * 117 * time)[:, None] + noise
    return (np.round(clip * 2**15) / 2**15 + 2.0**-15).astype(np.float32)


def encode(
    container: str, subtype: str, rate: int = 16_000, channels: int = 1, seconds: float = SECONDS, **options
) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, sound(rate, channels, seconds), rate, format=container, subtype=subtype, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes, order: str = "<", pad: bool = True) -> bytes:
    return name + struct.pack(order + "I", len(content)) + content + b"\0" * (pad and len(content) % 2)


def pcm(rate: int = 16_000, channels: int = 1, order: str = "<") -> bytes:
    return (sound(rate, channels) * 2**15).astype(order + "i2").tobytes()


LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 9) + b"recorder\0", pad=True)
BEXT = chunk(b"bext", b"a field recorder".ljust(602, b"\0") + b"log")
ID3 = b"ID3\x04\0\0\0\0\0\x40" + b"TIT2".ljust(64, b"\0")


def wav(
    before: bytes = b"",
    after: bytes = b"",
    riff_size: int | None = None,
    data_size: int | None = None,
    order: str = "<",
    form: bytes | None = None,
    samples: bytes | None = None,
    channels: int = 1,
) -> bytes:
    """A WAV file of 16 bits, with chunks before and after the sound, and any sizes in its header."""
    samples = pcm(channels=channels, order=order) if samples is None else samples
    head = b"WAVE" + before
    head += chunk(
        b"fmt ", struct.pack(order + "HHIIHH", 1, channels, 16_000, 32_000 * channels, 2 * channels, 16), order
    )
    body = head + b"data" + struct.pack(order + "I", len(samples) if data_size is None else data_size) + samples
    body += b"\0" * (len(samples) % 2 if after else 0) + after
    size = len(body) if riff_size is None else riff_size
    return (form or (b"RIFX" if order == ">" else b"RIFF")) + struct.pack(order + "I", size) + body


def rf64(form: bytes = b"RF64", riff_size: int | None = None, data_size: int | None = None) -> bytes:
    """A WAV whose sizes have 64 bits and a chunk of their own."""
    size = len(pcm())
    promised = (72 + size if riff_size is None else riff_size, size if data_size is None else data_size)
    sizes = struct.pack("<QQQI", *promised, size // 2, 0)
    return wav(before=chunk(b"ds64", sizes), form=form, riff_size=0xFFFFFFFF, data_size=0xFFFFFFFF)


def mp3_without_count(bitrate_mode: str = "VARIABLE") -> bytes:
    """An MP3 whose first frame, which has the number of frames, is missing."""
    whole = encode("MP3", "MPEG_LAYER_III", bitrate_mode=bitrate_mode, compression_level=0.3)
    kilobits = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[whole[2] >> 4]
    return whole[72_000 * kilobits // 16_000 + (whole[2] >> 1 & 1) :]


def flac_with_total(total: int, content: bytes | None = None, md5: bool = True) -> bytes:
    """A FLAC file whose header gives another number of samples; 0 stands for unknown."""
    content = encode("FLAC", "PCM_16") if content is None else content
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36 | total
    return content[:18] + fields.to_bytes(8, "big") + (content[26:42] if md5 else bytes(16)) + content[42:]


def ogg_of_two() -> bytes:
    """Two OGG streams one after the other, as players of radio streams write them."""
    return encode("OGG", "VORBIS") + encode("OGG", "VORBIS")


def aiff(
    sound_size: int | None = None, form_size: int | None = None, frames: int | None = None, after: bytes = b""
) -> bytes:
    """An AIFF file of 16 bits with any sizes in its header."""
    samples = pcm(order=">")
    common = struct.pack(">hIh", 1, len(samples) // 2 if frames is None else frames, 16)
    common += b"\x40\x0c\xfa\0\0\0\0\0\0\0"  # 16000 as a float of 80 bits
    size = len(samples) + 8 if sound_size is None else sound_size
    body = b"AIFF" + chunk(b"COMM", common, ">") + b"SSND" + struct.pack(">III", size, 0, 0) + samples + after
    return b"FORM" + struct.pack(">I", len(body) if form_size is None else form_size) + body


def caf(size: int | None = None, after: bytes = b"") -> bytes:
    """A CAF file of 16 bits, big endian."""
    samples = pcm(order=">")
    description = struct.pack(">d4sIIIII", 16_000, b"lpcm", 0, 2, 1, 1, 16)
    size = len(samples) + 4 if size is None else size
    return (
        b"caff\0\1\0\0desc"
        + struct.pack(">Q", 32)
        + description
        + b"data"
        + struct.pack(">QI", size, 0)
        + samples
        + after
    )


W64_NAME = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"  # the second part of every name


def w64(size: int | None = None, file_size: int | None = None, after: bytes = b"") -> bytes:
    """A Wave64 file of 16 bits."""
    samples, size = pcm(), len(pcm()) + 24 if size is None else size
    body = b"wave" + W64_NAME + b"fmt " + W64_NAME + struct.pack("<Q", 40)
    body += struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    body += b"data" + W64_NAME + struct.pack("<Q", size) + samples + after
    file_size = len(body) + 24 if file_size is None else file_size
    return b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", file_size) + body


class Field(NamedTuple):
    """A length in a header: its place, its bytes, and their order."""

    place: int
    width: int
    order: Literal["little", "big"]


def length_fields(content: bytes) -> list[Field]:
    """Where the header of a file without tags says how long it is."""
    kind, data = content[:4], content.find(b"data")
    if kind in (b"RIFF", b"RIFX"):
        order = "little" if kind == b"RIFF" else "big"
        return [Field(4, 4, order), Field(data + 4, 4, order)]
    if kind in (b"RF64", b"BW64"):
        sizes = content.find(b"ds64") + 8
        return [Field(sizes, 8, "little"), Field(sizes + 8, 8, "little"), Field(data + 4, 4, "little")]
    if kind == b"riff":
        return [Field(16, 8, "little"), Field(data + 16, 8, "little")]
    if kind == b"FORM":
        common = content.find(b"COMM")
        return [Field(4, 4, "big"), Field(common + 10, 4, "big"), Field(content.find(b"SSND") + 4, 4, "big")]
    if kind in (b".snd", b"dns."):
        return [Field(8, 4, "big" if kind == b".snd" else "little")]
    if kind == b"caff":
        return [Field(data + 4, 8, "big")]
    if kind == b"fLaC":
        return [Field(22, 4, "big")]  # and the lowest bits of the byte before
    place = max(content.find(b"Info", 0, 100), content.find(b"Xing", 0, 100))
    return [Field(place + 8, 4, "big")] if kind[:1] == b"\xff" and place > 0 else []


def with_length(content: bytes, field: Field, length: int) -> bytes:
    """The file with another length in its header."""
    length = (length % (1 << 8 * field.width)).to_bytes(field.width, field.order)
    return content[: field.place] + length + content[field.place + field.width :]


@dataclass(frozen=True)
class Wrapping:
    """
    Args:
        content (`bytes`): of the file.
        is_open (`bool`): nothing in the file says where it ends, so that one that was cut off between two samples or
            frames is the file of a shorter recording.
        tolerance (`float`): how far samples are from those of [`sound`]; `None` where the codec changes more.
        rate (`int`), channels (`int`): of the recording.
    """

    content: bytes
    is_open: bool = False
    tolerance: float | None = 0.0
    rate: int = 16_000
    channels: int = 1


LOSSY = "IMA_ADPCM MS_ADPCM GSM610 G721_32 G723_24 G723_40 NMS_ADPCM_16 NMS_ADPCM_24 NMS_ADPCM_32 VORBIS OPUS".split()
TOLERANCES = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "ULAW": 2.0**-5, "ALAW": 2.0**-5}
RATES = {"GSM610": 8_000, "NMS_ADPCM_16": 8_000, "NMS_ADPCM_24": 8_000, "NMS_ADPCM_32": 8_000, "G721_32": 8_000}
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
LEFT_OUT = ("DWVW_12", "DWVW_16", "DWVW_24", "MPEG_LAYER_I", "MPEG_LAYER_II")


@cache
def wrappings() -> dict[str, Wrapping]:
    """Every container and codec that libsndfile writes, and what other writers make of them, by name."""
    found = {}
    for container in CONTAINERS:
        for subtype in soundfile.available_subtypes(container):
            if subtype in LEFT_OUT or (container, subtype) == ("WAV", "MPEG_LAYER_III"):
                continue
            rate, tolerance = RATES.get(subtype, 16_000), TOLERANCES.get(subtype, 0.0)
            tolerance = None if subtype in (*LOSSY, "MPEG_LAYER_III") else tolerance
            channels = 2 if container in ("WAVEX", "FLAC") else 1
            content = encode(container, subtype, rate, channels)
            found[f"{container} {subtype}"] = Wrapping(content, False, tolerance, rate, channels)
    own = {
        "WAV, chunks before": Wrapping(wav(before=BEXT + LIST)),
        "WAV, chunks after": Wrapping(wav(after=LIST + BEXT + chunk(b"id3 ", ID3))),
        "WAV, stereo": Wrapping(wav(channels=2, after=LIST), channels=2),
        "WAV, an odd chunk before": Wrapping(wav(before=chunk(b"note", b"odd"))),
        "WAV, an odd chunk before without its pad byte": Wrapping(wav(before=chunk(b"note", b"odd", pad=False))),
        "WAV, tag of a player before": Wrapping(ID3 + wav()),
        "WAV, tag of a player after": Wrapping(wav() + b"TAG".ljust(128, b"x")),
        "WAV, zeros after": Wrapping(wav() + bytes(4096)),
        "WAV, big endian": Wrapping(wav(order=">")),
        "WAV, through SoX and a pipe": Wrapping(wav(riff_size=0x7FFFF024, data_size=0x7FFFF000), is_open=True),
        "WAV, through ffmpeg and a pipe": Wrapping(
            wav(before=LIST, riff_size=0xFFFFFFFF, data_size=0xFFFFFFFF), is_open=True
        ),
        "WAV, sizes 36 and 0": Wrapping(wav(riff_size=36, data_size=0), is_open=True),
        "WAV, sizes 0 and 0": Wrapping(wav(riff_size=0, data_size=0), is_open=True),
        "WAV, sizes 0 and 0, chunks after": Wrapping(wav(riff_size=0, data_size=0, after=LIST + BEXT), is_open=True),
        "WAV, size too small": Wrapping(wav(riff_size=4036, data_size=4000), is_open=True),
        "WAV, size too small, chunks after": Wrapping(wav(data_size=4000, after=BEXT + LIST), is_open=True),
        "WAV, size too large in one of two places": Wrapping(wav(data_size=2_000_000)),
        "RF64": Wrapping(rf64()),
        "BW64": Wrapping(rf64(b"BW64")),
        "RF64, sizes 0": Wrapping(rf64(riff_size=0, data_size=0), is_open=True),
        "AIFF, through SoX and a pipe": Wrapping(aiff(0x7F000008, 0x7F00002E, 0x3F800000), is_open=True),
        "AIFF, through ffmpeg and a pipe": Wrapping(aiff(0, 0, 0), is_open=True),
        "AIFF, chunks after": Wrapping(aiff(after=chunk(b"NAME", b"pump 7", ">") + chunk(b"ANNO", b"odd", ">"))),
        "CAF, length unknown": Wrapping(caf((1 << 64) - 1), is_open=True),
        "CAF, chunks after": Wrapping(caf(after=b"info" + struct.pack(">QI", 4, 0))),
        "W64, size 0": Wrapping(w64(0, 0), is_open=True),
        "W64, chunks after": Wrapping(w64(after=b"bext" + W64_NAME + struct.pack("<Q", 32) + bytes(8))),
        "AU, through a pipe": Wrapping(
            b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 3, 16_000, 1) + pcm(order=">"), is_open=True
        ),
        "AU, little endian": Wrapping(b"dns." + struct.pack("<5I", 28, len(pcm()), 3, 16_000, 1) + bytes(4) + pcm()),
        "FLAC, through a pipe": Wrapping(flac_with_total(0, md5=False), is_open=True),
        "FLAC, length unknown": Wrapping(flac_with_total(0), is_open=True),
        "FLAC, length halved": Wrapping(flac_with_total(6_000)),
        "FLAC, length doubled": Wrapping(flac_with_total(24_000)),
        "FLAC, length huge": Wrapping(flac_with_total((1 << 36) - 1)),
        "FLAC, tags of players": Wrapping(ID3 + flac_with_total(12_000) + b"TAG".ljust(128, b"x")),
        "MP3, no number of frames": Wrapping(mp3_without_count(), is_open=True, tolerance=None),
        "MP3, constant, no number of frames": Wrapping(mp3_without_count("CONSTANT"), is_open=True, tolerance=None),
        "MP3, tags of players": Wrapping(
            ID3 + encode("MP3", "MPEG_LAYER_III") + b"TAG".ljust(128, b"x"), tolerance=None
        ),
    }
    return found | own
