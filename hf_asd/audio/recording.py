"""Opens a recording and decodes it block by block to its real end; nothing else in the package decodes audio files."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from .errors import BadAudioError
from .formats import ACCEPTED_FORMATS


# libsndfile shortens a truncated WAV without an error; only its log has both sizes. Recorders that write to a pipe
# promise the largest possible size because they cannot know the real one: those files are complete.
TRUNCATED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = 0x7FFFFF00
MEMORY_NAME = "recording in memory"


class Recording:
    """
    A recording that is open for decoding, made by [`open_recording`]; a context manager.

    Attributes:
        name (`str`): of the file, for messages.
        sampling_rate (`int`): in Hz.
        channels (`int`): how many.
        promised_frames (`int` or `None`): samples of each channel that the header promises; `None` where it promises
            none.
        note (`str` or `None`): set when the end was reached and the header was wrong: what it said, what was read.
    """

    def __init__(self, name: str, file: soundfile.SoundFile):
        self.name, self._file = name, file
        self.sampling_rate, self.channels = file.samplerate, file.channels
        self.promised_frames: int | None = file.frames
        self.note: str | None = None

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def blocks(self, frames: int, start: int = 0) -> Iterator[np.ndarray]:
        """
        Decodes to the real end of the recording, in bounded memory.

        Args:
            frames (`int`): samples of each channel in a block.
            start (`int`, *optional*, defaults to 0): the first sample.

        Yields:
            `np.ndarray` of shape `(frames, channels)`, float32, full scale at 1; the last one may be shorter.

        Raises:
            BadAudioError: the recording is damaged or cut off.
        """
        try:
            self._file.seek(min(start, self._file.frames))
            while len(block := self._file.read(frames, dtype="float32", always_2d=True)):
                yield block
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadAudioError(f"{self.name}: cannot be read as audio, the decoder says: {error}") from error


def open_recording(audio: dict | str | Path | bytes | BinaryIO, growing: bool = False) -> Recording:
    """
    Opens a recording.

    Args:
        audio (`dict`, `str`, `Path`, `bytes` or `BinaryIO`): a row's undecoded `audio` (`{"path": str, "bytes":
            bytes | None}`), a file's path, its content, or an open binary file.
        growing (`bool`, *optional*, defaults to `False`): the file is still being written: a missing end is no error.

    Returns:
        [`Recording`].

    Raises:
        BadAudioError: the file is missing, is not audio or is cut off.
    """
    name, content = _name_and_content(audio)
    try:
        file = soundfile.SoundFile(io.BytesIO(content) if content else name)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        size = len(content) if content else Path(name).stat().st_size if Path(name).is_file() else None
        found = {None: "there is no such file", 0: "the file has 0 bytes"}.get(size, f"the decoder says: {error}")
        raise BadAudioError(f"{name}: cannot be read as audio, {found}. Accepted are {ACCEPTED_FORMATS}.") from error
    cut = TRUNCATED.search(file.extra_info)
    if cut and int(cut[2]) < int(cut[1]) < UNKNOWN_SIZE and not growing:
        raise BadAudioError(
            f"{name}: is truncated, {cut[2]} of {cut[1]} bytes are there. Copy it again from the recorder."
        )
    return Recording(name, file)


def _name_and_content(audio: Any) -> tuple[str, bytes | None]:
    if isinstance(audio, dict):
        return audio["path"] or MEMORY_NAME, audio.get("bytes")
    if isinstance(audio, bytes):
        return MEMORY_NAME, audio
    if hasattr(audio, "read"):
        return MEMORY_NAME, audio.read()
    return str(audio), None
