"""
Sound after a header that promises its size: WAV, RF64, W64, AIFF, AU, CAF and NIST.

Recorders write the size last, and many never do: power was lost, the sound went through a pipe, or it was longer than
32 bits can count. Here the size is compared with the file, and the decoder gets a header of its own, with the format
of the file and a size that fits.
"""

import struct

from .chunks import (
    AIFF,
    CAF,
    MAX_HEADER_CHUNK,
    RIFF,
    RIFX,
    TAIL_BYTES,
    W64,
    Chunk,
    Claim,
    Style,
    find_chunks,
    find_sound,
    known_size,
)
from .layout import Layout, Part
from .mpeg import mpeg_layout
from .source import Source


UNKNOWN_32 = 0xFFFFFFFF
MORE_THAN_THERE = 0xFFFFFFFE  # a size that libsndfile reduces to what it finds; to an odd one it adds a byte
PLAIN_TAGS = (1, 3, 6, 7, 0xFFFE)  # WAV with integers, floats, A-law, mu-law, or an extended format chunk
BLOCK_TAGS = (2, 17, 49)  # ADPCM of Microsoft and IMA, GSM 6.10: blocks whose length the format chunk has
MPEG_TAGS = (0x50, 0x55)  # WAV around MPEG layers 2 and 3
PLAIN_AIFF = (b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32")
AIFF_BLOCKS = {b"gsm ": 33, b"ima4": 34, b"fl32": 4, b"fl64": 8}  # bytes of one channel
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # encoding -> bytes of a sample; others are packed


def wav_layout(source: Source, base: int) -> Layout:
    """WAV, and RF64 or BW64 for more than 4 GiB; `base` is the first byte of the header."""
    form = source.read(base, 4)
    style = RIFX if form == b"RIFX" else RIFF
    chunks = find_chunks(source, base + 12, style, b"data")
    size = chunks[b"data"].size if b"data" in chunks else 0
    container_end = base + 8 + style.size(source.read(base, 8))
    if b"ds64" in chunks and size == UNKNOWN_32:
        form_size, size = struct.unpack("<QQ", source.read(chunks[b"ds64"].start, 16).ljust(16, b"\0"))
        container_end = base + 8 + form_size
    return _wav_like(source, chunks, size, style, container_end)


def w64_layout(source: Source, base: int) -> Layout:
    """Sony's WAV with sizes of 64 bits and names of 16 bytes; the decoder gets it as WAV."""
    chunks = {name[:4]: chunk for name, chunk in find_chunks(source, base + 40, W64, b"data").items()}
    size = chunks[b"data"].size if b"data" in chunks else 0
    container_end = base + W64.header_bytes + W64.size(source.read(base, W64.header_bytes))
    return _wav_like(source, chunks, size, W64, container_end)


def _wav_like(source: Source, chunks: dict[bytes, Chunk], size: int, style: Style, container_end: int) -> Layout:
    format_chunk, data = _two_chunks(source, chunks, (b"fmt ", b"data"))
    tag, channels, _, _, block_align, bits = struct.unpack(style.order + "HHIIHH", format_chunk[:16].ljust(16, b"\0"))
    sample_bytes = channels * ((bits + 7) // 8)
    is_plain = tag in PLAIN_TAGS
    frame_bytes = max(min(sample_bytes, block_align) if is_plain else block_align if tag in BLOCK_TAGS else 1, 1)
    end, is_wrong = find_sound(source, Claim(data.start, size, frame_bytes, style, container_end))
    if tag in MPEG_TAGS:
        return mpeg_layout(source, data.start, end)
    order = ">" if style is RIFX else "<"
    prefix = (b"RIFX" if style is RIFX else b"RIFF") + b"\xff\xff\xff\xffWAVE" + _chunk(b"fmt ", format_chunk, order)
    prefix += b"data" + struct.pack(order + "I", MORE_THAN_THERE)
    frame_bytes = frame_bytes if is_plain and sample_bytes == block_align else 0
    return Layout((Part(data.start, end, prefix),), known_size(size), is_wrong=is_wrong, frame_bytes=frame_bytes)


def aiff_layout(source: Source, base: int) -> Layout:
    """AIFF and AIFC."""
    chunks = find_chunks(source, base + 12, AIFF, b"SSND")
    if b"COMM" not in chunks:  # it may come after the sound
        chunks |= find_chunks(source, base + 12, AIFF, b"COMM")
    common, sound = _two_chunks(source, chunks, (b"COMM", b"SSND"))
    channels, frames, bits = struct.unpack(">HIH", common[:8].ljust(8, b"\0"))
    codec = common[18:22] if len(common) >= 22 else b"NONE"
    is_plain = codec in PLAIN_AIFF
    frame_bytes = max(channels * ((bits + 7) // 8 if is_plain else AIFF_BLOCKS.get(codec.lower(), 1)), 1)
    if codec == b"DWVW":  # nothing says where it ends but a number that may be wrong
        raise source.error("is AIFF with the codec DWVW, which is not read; convert it to WAV, for example with sox.")
    offset = int.from_bytes(source.read(sound.start, 4), "big")
    start, size = sound.start + 8 + offset, max(sound.size - 8 - offset, 0)
    container_end = base + 8 + AIFF.size(source.read(base, 8))
    other_size = frames * frame_bytes if is_plain else 0
    end, is_wrong = find_sound(source, Claim(start, size, frame_bytes, AIFF, container_end, other_size))
    blocks = (end - start) // frame_bytes
    if codec == b"GSM " and not -160 < frames - 160 * blocks <= 0:
        raise source.error(f"is damaged: its header says {frames} samples, its sound has {160 * blocks}.")
    if is_plain:
        common = common[:2] + struct.pack(">I", min(blocks, UNKNOWN_32)) + common[6:]
    form = source.read(base + 8, 4)
    prefix = b"FORM\xff\xff\xff\xff" + form
    if form == b"AIFC":
        prefix += _chunk(b"FVER", b"\xa2\x80\x51\x40", ">")
    prefix += _chunk(b"COMM", common, ">")
    prefix += b"SSND" + struct.pack(">III", min(max(end - start, 0) + 8, UNKNOWN_32), 0, 0)
    frame_bytes = frame_bytes if is_plain else 0
    return Layout((Part(start, end, prefix),), known_size(size), is_wrong=is_wrong, frame_bytes=frame_bytes)


def au_layout(source: Source, base: int) -> Layout:
    """AU of Sun and NeXT, in both byte orders."""
    header = source.read(base, 24)
    if len(header) < 24:
        raise source.error(f"is cut off within its header, which has 24 bytes; {len(header)} are there.")
    order = ">" if header.startswith(b".snd") else "<"
    offset, size, encoding, rate, channels = struct.unpack(order + "5I", header[4:])
    width = AU_BYTES.get(encoding, 0)
    start = base + offset
    end, is_wrong = find_sound(source, Claim(start, size, max(width * channels, 1), None))
    prefix = header[:4] + struct.pack(order + "5I", 24, UNKNOWN_32, encoding, rate, channels)
    return Layout((Part(start, end, prefix),), known_size(size), is_wrong=is_wrong, frame_bytes=width * channels)


def caf_layout(source: Source, base: int) -> Layout:
    """Apple's Core Audio Format; the tables of Apple Lossless may come after the sound."""
    chunks = find_chunks(source, base + 8, CAF, b"")
    description, data = _two_chunks(source, chunks, (b"desc", b"data"))
    is_plain = description[8:12] in (b"lpcm", b"ulaw", b"alaw")
    frame_bytes = max(int.from_bytes(description[16:20], "big"), 1) if is_plain else 1
    size = data.size if known_size(data.size) is None else max(data.size - 4, 0)  # a number of edits comes first
    start = data.start + 4
    end, is_wrong = find_sound(source, Claim(start, size, frame_bytes, CAF))
    prefix = source.read(base, 8) + b"desc" + struct.pack(">Q", len(description)) + description
    for name in (b"kuki", b"pakt"):
        if name in chunks:
            table = source.read(chunks[name].start, min(chunks[name].size, TAIL_BYTES))
            prefix += name + struct.pack(">Q", len(table)) + table
    prefix += b"data" + struct.pack(">QI", max(end - start, 0) + 4, 0)
    frame_bytes = frame_bytes if is_plain else 0
    return Layout((Part(start, end, prefix),), known_size(size), is_wrong=is_wrong, frame_bytes=frame_bytes)


def nist_layout(source: Source, base: int) -> Layout:
    """NIST SPHERE: a header of text, mostly of 1024 bytes."""
    lines = source.read(base, 1024).split(b"\n")
    fields = {words[0]: words[2] for words in (line.split() for line in lines[2:]) if len(words) == 3}
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    count, channels, width = (int(fields[name]) if fields.get(name, b"").isdigit() else 0 for name in names)
    frame_bytes = max(channels, 1) * max(width, 1)
    start = base + (int(lines[1]) if len(lines) > 1 and lines[1].strip().isdigit() else 1024)
    size = count * frame_bytes
    end, is_wrong = find_sound(source, Claim(start, size, frame_bytes, None))
    part = Part(start, end, source.read(base, min(start - base, MAX_HEADER_CHUNK)))
    return Layout((part,), known_size(size), is_wrong=is_wrong, frame_bytes=frame_bytes)


def _two_chunks(source: Source, chunks: dict[bytes, Chunk], names: tuple[bytes, bytes]) -> tuple[bytes, Chunk]:
    """The content of the chunk that describes the format, and the chunk of the sound."""
    for name in names:
        if name not in chunks:
            raise source.error(f"is cut off or damaged: its header has no chunk {name.decode().strip()!r}.")
    describing = chunks[names[0]]
    if describing.size > MAX_HEADER_CHUNK:
        raise source.error(f"is damaged: its chunk {names[0].decode().strip()!r} has {describing.size} bytes.")
    return source.read(describing.start, describing.size), chunks[names[1]]


def _chunk(name: bytes, content: bytes, order: str) -> bytes:
    return name + struct.pack(order + "I", len(content)) + content + b"\0" * (len(content) % 2)
