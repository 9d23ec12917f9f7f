"""Files of chunks, as RIFF: finding chunks, and the end of sound whose size is wrong or unknown."""

from typing import NamedTuple

from .source import Source


# Instead of a size that they cannot know, writers give the largest possible one: 2^31 or 2^32, less a header or some
# blocks (SoX: 0x7FFFF000 in WAV, 0x7F000000 in AIFF); CAF has -1.
PLACEHOLDERS = ((0x7EFF_0000, 0x7F01_0000), (0x7FFE_0000, 0x8001_0000), (0xFFFF_0000, 1 << 32), (1 << 60, 1 << 64))
TAIL_BYTES = 1 << 20  # where chunks after the sound are looked for when its size is not known
PLAYER_TAG_BYTES = 128  # of an ID3v1 tag
MAX_HEADER_CHUNK = 1 << 16
# Chunks that follow the sound. The end of one of them may be missing: nothing of the sound is lost.
METADATA = tuple(
    name.ljust(4).encode()
    for name in "LIST list INFO id3 ID3 bext iXML axml cue smpl inst plst fact PEAK PAD JUNK junk FLLR _PMX cart "
    "DISP acid chna afsp SAUR umid levl r64m MARK COMT NAME AUTH (c) ANNO APPL AESD MIDI CHAN info strg mark free "
    "uuid edct ovvw peak midi kuki pakt".split()
)
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")  # of players, after the last chunk
FILES = (b"RIFF", b"FORM", b"fLaC", b"OggS")


class Style(NamedTuple):
    """How chunks are written: byte order of sizes, bytes of a name and a size, alignment, what a size counts."""

    order: str
    name_bytes: int
    size_bytes: int
    align: int
    counts_header: bool = False

    @property
    def header_bytes(self) -> int:
        return self.name_bytes + self.size_bytes

    def size(self, header: bytes) -> int:
        """The content's bytes, of a chunk with this header."""
        order = "little" if self.order == "<" else "big"
        size = int.from_bytes(header[self.name_bytes : self.header_bytes], order)
        return max(size - self.header_bytes, 0) if self.counts_header else size


RIFF = Style("<", 4, 4, 2)
RIFX = AIFF = Style(">", 4, 4, 2)
CAF = Style(">", 4, 8, 1)
W64 = Style("<", 16, 8, 8, counts_header=True)


class Chunk(NamedTuple):
    """First byte of a chunk's content, and its size in bytes."""

    start: int
    size: int


class Claim(NamedTuple):
    """
    What a header says about its sound.

    Args:
        start (`int`): first byte of sound.
        size (`int`): promised bytes.
        frame_bytes (`int`): of a sample of all channels, or of the smallest block of them.
        style (`Style` or `None`): of chunks that may follow.
        container_end (`int`): end of the file, as its outermost chunk says; 0 where nothing says it.
        other_size (`int`): the promise of another field; 0 where there is none.
    """

    start: int
    size: int
    frame_bytes: int
    style: Style | None
    container_end: int = 0
    other_size: int = 0


def known_size(size: int) -> int | None:
    """A promised size, or `None` for one that stands for an unknown size."""
    return None if any(low <= size < high for low, high in PLACEHOLDERS) else size


def find_chunks(source: Source, position: int, style: Style, last: bytes) -> dict[bytes, Chunk]:
    """
    The first chunk of each name.

    Args:
        position (`int`): the first byte of the first chunk.
        last (`bytes`): the beginning of the name of the chunk to stop at; `b""` for none.
    """
    chunks: dict[bytes, Chunk] = {}
    while position + style.header_bytes <= source.size:
        header = source.read(position, style.header_bytes)
        name, chunk = header[: style.name_bytes], Chunk(position + style.header_bytes, style.size(header))
        chunks.setdefault(name, chunk)
        if last and name.startswith(last):
            break
        position = _next_chunk(source, chunk, style)
    return chunks


def find_sound(source: Source, claim: Claim) -> tuple[int, bool]:
    """
    The byte after the last one of sound, and whether the header's size is wrong.

    Raises:
        BadAudioError: the sound is cut off, or another file follows it.
    """
    start, size, frame_bytes, end = claim.start, claim.size, claim.frame_bytes, source.size
    is_known = known_size(size) is not None
    if start >= end:
        if size and not source.growing:
            raise source.cut_off("its header is there and none of its sound")
        return start, False
    whole = -(-size // frame_bytes) * frame_bytes
    promised_end = start + (whole if start + whole <= end else size)
    if is_known and promised_end <= end and is_metadata(source, promised_end, claim):
        return promised_end, False
    if source.growing:
        return end, False
    found = _sound_end(source, claim)
    is_wrong = is_known
    if is_known and promised_end > end:
        missing = size // frame_bytes - (end - start) // frame_bytes
        others = (claim.container_end == end, claim.other_size == found - start)
        if missing > 0 and not any(others):
            raise source.cut_off(f"{end - start} of {size} bytes of sound are there")
        is_wrong = missing > 0
    return start + (found - start) // frame_bytes * frame_bytes, is_wrong


def is_metadata(source: Source, position: int, claim: Claim) -> bool:
    """Whether nothing but chunks, tags or zeros, one of them perhaps cut off, follow the promised end of the sound."""
    pad = -claim.size % claim.style.align if claim.style else 0
    has_pad = pad > 0 and not source.read(position, pad).strip(b"\0")
    return _is_chain(source, position, claim.style) or (has_pad and _is_chain(source, position + pad, claim.style))


def _is_chain(source: Source, position: int, style: Style | None) -> bool:
    """Whether chunks, tags or zeros reach to the end of the file; a last chunk of a known name may be cut off."""
    while position < source.size:
        header = source.read(position, 24)
        if header.startswith(FILES):
            raise source.error(f"a second recording begins at byte {position}; split the file in two.")
        if header.startswith(TAGS) or _is_zero(source, position):
            return True
        if style is None:
            return False
        chunk = Chunk(position + style.header_bytes, style.size(header))
        if len(header) < style.header_bytes:
            return any(known.startswith(header[:4]) for known in METADATA)
        if chunk.start + chunk.size > source.size:
            return header[:4] in METADATA and chunk.size < TAIL_BYTES
        if not _is_name(header):
            return False
        position = _next_chunk(source, chunk, style)
    return True


def _next_chunk(source: Source, chunk: Chunk, style: Style) -> int:
    after = chunk.start + chunk.size
    aligned = after + -chunk.size % style.align
    # Some writers leave the pad byte out.
    return aligned if aligned >= source.size or _is_name(source.read(aligned, 4)) else after


def _is_name(name: bytes) -> bool:
    return len(name) >= 4 and all(32 <= byte < 127 for byte in name[:4])


def _is_zero(source: Source, position: int) -> bool:
    while block := source.read(position, TAIL_BYTES):
        if block.count(0) < len(block):
            return False
        position += len(block)
    return True


def _sound_end(source: Source, claim: Claim) -> int:
    """Where sound of unknown size ends: at the chunks after it, or with the file."""
    end = source.size
    if source.read(max(end - PLAYER_TAG_BYTES, 0), 3) == b"TAG":
        end -= PLAYER_TAG_BYTES
    first = max(claim.start, end - TAIL_BYTES)
    tail = source.read(first, max(end - first, 0))
    places = []
    for name in METADATA:
        place = tail.find(name)
        while place >= 0:
            places.append(first + place)
            place = tail.find(name, place + 1)
    for place in sorted(places):
        if _is_chain(source, place, claim.style):
            return place
    return end
