"""FLAC and OGG: compressed sound in frames and pages that have checksums."""

import zlib
from typing import NamedTuple

from .layout import Layout, Part
from .source import Source


STREAM_INFO_BYTES = 34
TAG_BYTES = 128  # of an ID3v1 tag at the end of a file
PAGE_HEADER_BYTES = 27
FIRST_PAGE, LAST_PAGE = 2, 4  # flags
OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def flac_layout(source: Source, base: int) -> Layout:
    """
    FLAC; the decoder gets a header without the number of samples, and reads to the real end.

    A recording whose header has no number of samples and that was cut off exactly between two frames cannot be told
    from a whole one.
    """
    position, info = base + 4, b""
    while True:
        header = source.read(position, 4)
        start, size = position + 4, int.from_bytes(header[1:], "big")
        if len(header) < 4 or start + size > source.size:
            raise source.cut_off("it ends within its header")
        if header[0] & 0x7F == 0:
            info = source.read(start, size)
        position = start + size
        if header[0] & 0x80:
            break
    if len(info) != STREAM_INFO_BYTES:
        raise source.error("is damaged, its FLAC header has no stream info.")
    end = source.size
    if end - TAG_BYTES > position and source.read(end - TAG_BYTES, 3) == b"TAG":
        end -= TAG_BYTES
    fields = int.from_bytes(info[10:18], "big")
    promised = fields % (1 << 36)
    prefix = b"fLaC\x80\0\0\x22" + info[:10] + (fields - promised).to_bytes(8, "big") + info[18:]
    parts = (Part(position, end, prefix),)
    return Layout(parts, promised_frames=promised or None, is_counted=False, md5=info[18:])


class Page(NamedTuple):
    """A page of an OGG file: the byte after it, its flags, its number, and the beginning of its content."""

    end: int
    flags: int
    number: int
    head: bytes


def ogg_layout(source: Source, base: int) -> Layout | None:
    """
    OGG with Vorbis, Opus or FLAC, also several streams one after the other; `None` for Speex.

    Raises:
        BadAudioError: pages are damaged or missing, or the last page is not marked as the last one.
    """
    parts, position, start, page, number = [], base, base, None, 0
    while (next_page := _read_page(source, position)) is not None:
        if next_page.flags & FIRST_PAGE:
            if next_page.head.startswith(b"Speex"):
                return None
            if not next_page.head.startswith(OGG_CODECS):
                raise source.error(
                    f"is damaged, or OGG with a codec that is not read; it begins with {next_page.head!r}."
                )
            _check_last_page(source, page)
            if page is not None:
                parts.append(Part(start, position))
            start = position
        elif page is None or next_page.number != number + 1:
            raise source.error(f"is damaged at byte {position}: pages of the OGG stream are missing there.")
        page, number, position = next_page, next_page.number, next_page.end
    rest = source.read(position, 4)
    if rest and (b"OggS".startswith(rest) or page is None) and not source.growing:
        raise source.cut_off("its last OGG page is not whole")
    _check_last_page(source, page)
    return Layout((*parts, Part(start, position)), promised_bytes=position - base)


def _check_last_page(source: Source, page: Page | None) -> None:
    if page is not None and not page.flags & LAST_PAGE and not source.growing:
        raise source.cut_off("its last OGG page is missing")


def _read_page(source: Source, position: int) -> Page | None:
    """The page at a byte, or `None` where no whole page begins there."""
    header = source.read(position, PAGE_HEADER_BYTES)
    if len(header) < PAGE_HEADER_BYTES or not header.startswith(b"OggS"):
        return None
    sizes = source.read(position + PAGE_HEADER_BYTES, header[26])
    size = PAGE_HEADER_BYTES + header[26] + sum(sizes)
    content = source.read(position, size)
    if len(content) < size:
        return None
    if checksum(content[:22] + bytes(4) + content[26:]) != int.from_bytes(header[22:26], "little"):
        raise source.error(f"is damaged: the checksum of the OGG page at byte {position} is wrong.")
    head = content[PAGE_HEADER_BYTES + header[26] :][:8]
    return Page(position + size, header[5], int.from_bytes(header[18:22], "little"), head)


def checksum(content: bytes) -> int:
    """The CRC-32 of OGG, which takes bits in the other order than zlib's, and starts and ends with 0."""
    reflected = zlib.crc32(content.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
