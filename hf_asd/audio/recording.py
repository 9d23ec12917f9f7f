"""Opens a recording and decodes it block by block to its real end; nothing else in the package decodes audio files."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np

from .containers import aiff_layout, au_layout, caf_layout, nist_layout, w64_layout, wav_layout
from .decoder import SoundDecoder
from .ffmpeg import FfmpegDecoder, conversion_command, is_for_ffmpeg
from .formats import ACCEPTED_FORMATS, FFMPEG_SUFFIXES, HEADERLESS_SUFFIXES
from .layout import Layout
from .mpeg import find_first_frame, mpeg_layout
from .source import Source, open_source
from .streams import flac_layout, ogg_layout


logger = logging.getLogger(__name__)

PIECE_VALUES = 1 << 22  # samples of all channels that are decoded at a time: 16 MiB
MIN_RATE, MAX_RATE = 1_000, 10_000_000  # Hz; others are a damaged header
LAYOUTS = {
    b"RIFF": wav_layout,
    b"RIFX": wav_layout,
    b"RF64": wav_layout,
    b"BW64": wav_layout,
    b"riff": w64_layout,
    b"FORM": aiff_layout,
    b".snd": au_layout,
    b"dns.": au_layout,
    b"caff": caf_layout,
    b"NIST": nist_layout,
    b"fLaC": flac_layout,
    b"OggS": ogg_layout,
}
# Where the content has another kind, such as AVI in RIFF.
KINDS = {
    b"RIFF": (b"WAVE",),
    b"RIFX": (b"WAVE",),
    b"RF64": (b"WAVE",),
    b"BW64": (b"WAVE",),
    b"FORM": (b"AIFF", b"AIFC"),
}


class Recording:
    """
    A recording that is open for decoding, made by [`open_recording`]; a context manager.

    Attributes:
        name (`str`): of the file, for messages.
        sampling_rate (`int`): in Hz.
        channels (`int`): how many.
        promised_frames (`int` or `None`): samples of each channel that the header promises; `None` where it promises
            none.
        note (`str` or `None`): set when the end was reached and the header was wrong: what it said, what was read. It
            is logged, once for a file.
    """

    def __init__(self, source: Source, layout: Layout | None):
        self.name, self._source, self._layout = source.name, source, layout
        self._decoder = FfmpegDecoder(source) if layout is None else SoundDecoder(source, layout)
        self.sampling_rate, self.channels = self._decoder.sampling_rate, self._decoder.channels
        self.note: str | None = None
        if not MIN_RATE <= self.sampling_rate <= MAX_RATE or self.channels < 1:
            self._decoder.close()
            raise source.error(
                f"its header says {self.sampling_rate} Hz and {self.channels} channel(s); accepted are {MIN_RATE} to "
                f"{MAX_RATE} Hz. Its header is damaged; copy it again from the recorder."
            )
        self.promised_frames = self._promised_frames()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_) -> None:
        self._decoder.close()
        self._source.file.close()

    @property
    def seconds(self) -> float:
        """The real length in seconds: from the layout of the file where that is certain, else by decoding it."""
        frames = self._decoder.frames
        if frames is None:
            frames = sum(map(len, self.blocks(1 << 16)))
        return frames / self.sampling_rate

    def blocks(self, frames: int, start: int = 0) -> Iterator[np.ndarray]:
        """
        Decodes to the real end of the recording, in bounded memory.

        Args:
            frames (`int`): samples of each channel in a block.
            start (`int`, *optional*, defaults to 0): the first sample.

        Yields:
            `np.ndarray` of shape `(frames, channels)`, float32, full scale at 1; the last one may be shorter.

        Raises:
            BadAudioError: the recording is damaged or cut off, which may show after some blocks only.
        """
        waiting, count, decoded = [], 0, start
        for piece in self._decoder.pieces(min(frames, max(PIECE_VALUES // self.channels, 1)), start):
            waiting.append(piece)
            count, decoded = count + len(piece), decoded + len(piece)
            while count >= frames:
                joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                yield joined[:frames]
                waiting, count = [joined[frames:]], count - frames
        if count:
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        if decoded > start or start == 0:
            self._check_end(decoded)

    def _promised_frames(self) -> int | None:
        layout, frames = self._layout, self._decoder.frames
        if layout is None:
            return None
        if layout.promised_frames is not None:
            return layout.promised_frames
        if layout.promised_bytes is None:
            return None
        if layout.frame_bytes:
            return layout.promised_bytes // layout.frame_bytes or None
        return layout.promised_bytes * (frames or 0) // max(layout.sound_bytes, 1) or None

    def _check_end(self, decoded: int) -> None:
        """Whether the whole recording was decoded, `decoded` samples of each channel; sets the note."""
        layout, problem = self._layout, self._decoder.problem
        if layout is None or isinstance(self._decoder, FfmpegDecoder) or self._source.growing:
            return
        promised = layout.promised_frames
        is_wrong = layout.is_wrong
        if not layout.is_counted and promised is not None:  # FLAC
            if decoded == promised:
                return  # what follows is no sound
            # Zeros in place of the MD5: nobody computed one.
            is_wrong = problem is None and (
                self._decoder.md5() == layout.md5 if any(layout.md5) else decoded > promised
            )
            if not is_wrong and decoded < promised:
                raise self._source.cut_off(f"{decoded} of {promised} samples are there")
            if not is_wrong and problem is None:
                raise self._source.cut_off(f"its header says {promised} samples, {decoded} others are there")
        if problem is not None:
            raise self._source.error(
                f"is damaged or cut off after {decoded / self.sampling_rate:.3f} s, the decoder says: {problem} Copy "
                "it again from the recorder."
            )
        if is_wrong:
            self.note = self._describe_wrong_header(decoded)
            show_once(self.note)

    def _describe_wrong_header(self, decoded: int) -> str:
        there = f"all {decoded / self.sampling_rate:.3f} s that are there were read."
        if self.promised_frames is None:
            return f"{self.name}: its header says that it is empty, as when a recorder loses its power; {there}"
        return f"{self.name}: its header says {self.promised_frames / self.sampling_rate:.3f} s; {there}"


@lru_cache(maxsize=4096)
def show_once(note: str) -> None:
    """Logs what is wrong with a file that is read all the same, however often it is read."""
    logger.warning(note)


def open_recording(audio: dict | str | Path | bytes | BinaryIO, growing: bool = False) -> Recording:
    """
    Opens a recording.

    Args:
        audio (`dict`, `str`, `Path`, `bytes` or `BinaryIO`): a row's undecoded `audio` (`{"path": str, "bytes":
            bytes | None}`), a file's path, its content, or an open binary file.
        growing (`bool`, *optional*, defaults to `False`): the file is still being written: a missing end or length is
            no fault, and blocks hold what is there so far.

    Returns:
        [`Recording`].

    Raises:
        BadAudioError: the file is missing, is not audio or is cut off. A cut cannot be seen in recordings whose length
            nothing promises, when it lies between two frames: MP3 of constant bit rate without a number of frames,
            AAC without a container, FLAC whose header has no length, WAV and AU whose size is unknown.
        TypeError: `audio` is none of these.
    """
    source = open_source(audio, growing)
    with ExitStack() as stack:
        stack.callback(source.file.close)
        try:
            recording = Recording(source, _find_layout(source))
        except OSError as error:
            raise source.error(f"cannot be read from the disk: {error}.") from error
        stack.pop_all()
        return recording


def _find_layout(source: Source) -> Layout | None:
    """Where the sound is in a file; `None` for formats that ffmpeg decodes."""
    base, suffix = _skip_id3(source), PurePath(source.name).suffix.lower()
    head = source.read(base, 16)
    if head[:4] in LAYOUTS and head[8:12] in KINDS.get(head[:4], (head[8:12],)):
        layout = LAYOUTS[head[:4]](source, base)
        if layout is not None:
            return layout
    else:
        first = find_first_frame(source, base, source.size)
        if first is not None and (first == base or suffix in (".mp3", ".mp2")):
            return mpeg_layout(source, first, source.size)
    if is_for_ffmpeg(head) or suffix in FFMPEG_SUFFIXES:
        return None
    if suffix in HEADERLESS_SUFFIXES:
        raise source.error(
            "holds samples without a header, and nothing says their sampling rate, width and channels. Convert it "
            f"with those of the recorder, for example {conversion_command(source.name, '-f s16le -ar 16000 -ac 1')}"
        )
    found = "it begins with zeros, so copying it failed" if not head.strip(b"\0") else f"it begins with {head!r}"
    raise source.error(f"cannot be read as audio, {found}. Accepted are {ACCEPTED_FORMATS}.")


def _skip_id3(source: Source) -> int:
    """The byte after the ID3 tags that players put before any format."""
    base = 0
    while (header := source.read(base, 10)).startswith(b"ID3") and len(header) == 10:
        size = 0
        for byte in header[6:]:
            size = size << 7 | byte & 0x7F
        base += 10 + size + (10 if header[5] & 0x10 else 0)
    return base
