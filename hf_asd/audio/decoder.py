"""Decodes the sound of a file with libsndfile, from the first sample to the last."""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import soundfile

from .layout import Layout, Part
from .source import Source, Window


class _SequentialFile(soundfile.SoundFile):
    """Where a file can seek, soundfile seeks after every read and stops at the length in the header."""

    def seekable(self) -> bool:
        return False


class SoundDecoder:
    """
    Decodes the parts of a layout, one after the other.

    Args:
        source ([`Source`]): the file.
        layout ([`Layout`]): where the sound is in it.

    Attributes:
        sampling_rate (`int`), channels (`int`): of the recording.
        frames (`int` or `None`): samples of each channel, where the layout tells.
        problem (`str` or `None`): what the decoder said at the place where it stopped.

    Raises:
        BadAudioError: libsndfile does not read the file.
    """

    def __init__(self, source: Source, layout: Layout):
        self._source, self._layout = source, layout
        self._first: soundfile.SoundFile | None = None
        self.problem: str | None = None
        first, self._window = self._open(layout.parts[0])
        self._first, self.sampling_rate, self.channels = first, first.samplerate, first.channels
        self.frames = first.frames if layout.is_counted and len(layout.parts) == 1 else None

    def pieces(self, size: int, start: int = 0) -> Iterator[np.ndarray]:
        """
        Decodes until the end or until the decoder says that something is wrong, which `problem` keeps.

        Args:
            size (`int`): samples of each channel in a piece, at most.
            start (`int`, *optional*, defaults to 0): the first sample.

        Yields:
            `np.ndarray` of shape `(samples, channels)`, float32.

        Raises:
            BadAudioError: the parts of the file differ, or it cannot be read from the disk.
        """
        skipped, self.problem = 0, None
        for part in self._layout.parts:
            with self._take(part) as file:
                self._check_like_first(file)
                if self._layout.frame_bytes:
                    skipped = file.seek(min(start, file.frames))
                for piece in self._read(file, size, skipped if self._layout.frame_bytes else 0):
                    dropped = min(start - skipped, len(piece))
                    skipped += dropped
                    if dropped < len(piece):
                        yield piece[dropped:]
            if self.problem is not None:
                return

    def md5(self) -> bytes:
        """MD5 of the decoded samples, as FLAC keeps it in its header; empty where they cannot be decoded."""
        digest = hashlib.md5(usedforsecurity=False)
        file, _ = self._open(self._layout.parts[0])
        with file:
            # libsndfile puts the bits of a sample at the top of 32; FLAC hashes no more bytes than they need.
            unused = {"PCM_S8": 3, "PCM_16": 2, "PCM_24": 1}[file.subtype]
            try:
                while len(piece := file.read(1 << 16, dtype="int32", always_2d=True)):
                    digest.update(piece.astype("<i4").view(np.uint8).reshape(-1, 4)[:, unused:].tobytes())
            except soundfile.LibsndfileError:
                return b""
        return digest.digest()

    def close(self) -> None:
        """Closes the decoder; the file stays open."""
        if self._first is not None:
            self._first.close()

    def _open(self, part: Part) -> tuple[soundfile.SoundFile, Window]:
        window = Window(self._source.file, part.start, part.end, part.prefix)
        try:
            file = _SequentialFile(cast(BinaryIO, window))
        except soundfile.LibsndfileError as error:
            reason = window.problem or error.error_string
            raise self._source.error(f"cannot be read as audio, the decoder says: {reason}") from error
        return file, window

    def _take(self, part: Part) -> soundfile.SoundFile:
        """The file that was opened first, once; then a new one."""
        file, self._first = self._first, None
        if file is None:
            file, self._window = self._open(part)
        return file

    def _read(self, file: soundfile.SoundFile, size: int, position: int) -> Iterator[np.ndarray]:
        end = file.frames if self._layout.is_counted else None
        # Of 16 bits libsndfile copies a block at once; as floats it asks for 8 kB at a time, which takes five times
        # as long. The values are the same.
        kind, scale = (np.int16, np.float32(2**-15)) if file.subtype == "PCM_16" else (np.float32, None)
        while end is None or position < end:
            count = size if end is None else min(size, end - position)
            piece = np.empty((count, self.channels), kind)
            try:
                piece = file.read(out=piece)
            except soundfile.LibsndfileError as error:
                self.problem = error.error_string
                # What was decoded before is in the array all the same.
                piece = piece[: file.tell() - position if soundfile.SoundFile.seekable(file) else 0]
            if self._window.problem is not None:
                raise self._source.error(f"cannot be read from the disk: {self._window.problem}.")
            position += len(piece)
            if len(piece):
                yield piece if scale is None else piece * scale
            if len(piece) < count:
                if end is not None and self.problem is None:
                    self.problem = f"only {position} of {end} samples can be decoded."
                return

    def _check_like_first(self, file: soundfile.SoundFile) -> None:
        if (file.samplerate, file.channels) != (self.sampling_rate, self.channels):
            raise self._source.error("its parts have different sampling rates or numbers of channels; split the file.")
