"""
MP3 (and layer 2): a row of frames, each with its own header, and nothing that says where the row ends.

Encoders that can go back write the number of frames into a first frame without sound (named Xing or Info). Where it is
missing, decoders estimate the length from the bit rate of the first frames, which is wrong for a variable bit rate.
Here the frames are counted, and the decoder gets the right number.
"""

from collections.abc import Iterator
from typing import NamedTuple

from .layout import Layout, Part
from .source import Source


# In kbit/s, by MPEG version 1 or 2 and layer.
BIT_RATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
BIT_RATES[2, 3] = BIT_RATES[2, 2]
SAMPLING_RATES = (44_100, 48_000, 32_000)  # of version 1; version 2 has half of them, version 2.5 a quarter
ID3_HEADER = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)  # an empty tag, by which the decoder recognizes MP3 for certain
SEARCH_BYTES = 1 << 16  # a first frame is looked for within so many bytes


class Frame(NamedTuple):
    """
    A frame's length in bytes, samples of each channel, sampling rate in Hz, channels, and the place of a frame count,
    which is 0 where it cannot have one.
    """

    size: int
    samples: int
    rate: int
    channels: int
    count_place: int


def parse_frame(header: bytes) -> Frame | None:
    """The frame with this header of four bytes, or `None` where it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version = {3: 1, 2: 2, 0: 4}.get(header[1] >> 3 & 3)  # 4 stands for 2.5
    layer, bit_rate, rate = 4 - (header[1] >> 1 & 3), header[2] >> 4, header[2] >> 2 & 3
    if version is None or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    kilobits = BIT_RATES[min(version, 2), layer][bit_rate]
    hertz, padding = SAMPLING_RATES[rate] // version, header[2] >> 1 & 1
    channels = 1 if header[3] >> 6 == 3 else 2
    if layer == 1:
        return Frame((12_000 * kilobits // hertz + padding) * 4, 384, hertz, channels, 0)
    samples = 576 if layer == 3 and version > 1 else 1152
    if layer == 2:
        return Frame(144_000 * kilobits // hertz + padding, samples, hertz, channels, 0)
    side_bytes = {(1, 1): 17, (1, 2): 32}.get((version, channels), 9 if channels == 1 else 17)
    return Frame(samples // 8 * 1000 * kilobits // hertz + padding, samples, hertz, channels, 4 + side_bytes)


def find_first_frame(source: Source, start: int, end: int) -> int | None:
    """The place of the first of two frames in a row, or of one that is alone; `None` where there is none."""
    content = source.read(start, min(SEARCH_BYTES, end - start))
    place = content.find(b"\xff")
    while place >= 0:
        frame = parse_frame(content[place : place + 4])
        if frame is not None:
            after = start + place + frame.size
            following = parse_frame(source.read(after, 4))
            if after == end or (following is not None and following.rate == frame.rate):
                return start + place
        place = content.find(b"\xff", place + 1)
    return None


def mpeg_layout(source: Source, start: int, end: int) -> Layout:
    """
    The frames between two bytes of a file.

    A recording of constant bit rate, without a number of frames, that was cut off exactly between two frames cannot be
    told from a whole one.

    Raises:
        BadAudioError: the last frame or some of the promised frames are missing, or the frames are damaged.
    """
    first = find_first_frame(source, start, end)
    if first is None:
        raise source.error("cannot be read as audio, it holds no MP3 frame.")
    frame = parse_frame(source.read(first, 4))
    assert frame is not None
    count, sound_end = _count_frames(source, first, end, frame)
    content, place = source.read(first, frame.size), frame.count_place
    if place == 0:
        return Layout((Part(first, sound_end, ID3_HEADER),), is_counted=False)
    has_count = (
        content[place : place + 4] in (b"Xing", b"Info") and content[place + 7] & 1 and len(content) >= place + 12
    )
    if not has_count:
        prefix = ID3_HEADER + _counting_frame(content, frame, count)
        return Layout((Part(first, sound_end, prefix),))
    promised = int.from_bytes(content[place + 8 : place + 12], "big")
    count -= 1
    if count < promised and not source.growing:
        raise source.cut_off(f"{count} of {promised} MP3 frames are there")
    counted = content[: place + 8] + count.to_bytes(4, "big") + content[place + 12 :]
    part = Part(first + frame.size, sound_end, ID3_HEADER + counted)
    promised_bytes = (sound_end - part.start) * promised // max(count, 1)
    return Layout((part,), promised_bytes, is_wrong=count != promised)


def _count_frames(source: Source, first: int, end: int, like: Frame) -> tuple[int, int]:
    """The number of whole frames, and the byte after the last of them."""
    count, position = 0, first
    for size in _frame_sizes(source, first, end, like):
        count, position = count + 1, position + size
    rest = source.read(position, min(end - position, 4))
    is_cut = parse_frame(rest) is not None or (len(rest) < 4 and rest.startswith(b"\xff"))
    if count == 0 or (is_cut and not source.growing):
        raise source.cut_off("its last MP3 frame is not whole")
    return count, position


def _frame_sizes(source: Source, first: int, end: int, like: Frame) -> Iterator[int]:
    position = first
    while position < end:
        frame = parse_frame(source.read(position, 4))
        if frame is None:
            if find_first_frame(source, position, end) is not None:
                raise source.error(f"is damaged at byte {position}: there the row of MP3 frames is interrupted.")
            return
        if (frame.rate, frame.channels) != (like.rate, like.channels):
            raise source.error(f"changes its sampling rate or number of channels at byte {position}; split it there.")
        if position + frame.size > end:
            return
        yield frame.size
        position += frame.size


def _counting_frame(content: bytes, frame: Frame, count: int) -> bytes:
    """A frame without sound that says how many follow."""
    header = bytes((content[0], content[1] | 1, *content[2:4]))  # without a checksum
    body = header.ljust(frame.count_place, b"\0") + b"Info" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return body.ljust(frame.size, b"\0")
