"""Formats of phones and players (M4A, AAC, WMA, AMR, 3GP, WebM, ...), decoded by the program ffmpeg."""

import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from shlex import quote

import numpy as np

from .source import Source


PROGRAM = "ffmpeg"
SILENT_SECONDS = 60.0  # after so long without output the program is ended
WMA = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
# Checked, because the program would try any file: (place, bytes) at the beginning of formats that it decodes.
SIGNATURES = (
    (4, b"ftyp"),  # MP4, M4A, 3GP
    (4, b"moov"),  # QuickTime
    (0, WMA),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"#!AMR"),
    (0, b"\xff\xf1"),  # AAC
    (0, b"\xff\xf9"),
    (0, b"\x0b\x77"),  # AC-3
    (0, b"wvpk"),
    (0, b"TTA1"),
    (0, b"MAC "),
    (0, b"MPCK"),
    (0, b"MP+"),
    (8, b"AVI "),
    (0, b"Creative Voice File"),
    (0, b"OggS"),  # with Speex
)
WMA_PROPERTIES = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
SPEAKER = re.compile(r"^(\[[^]]* @ 0x[0-9a-f]+\] |file:.*: )")  # what ffmpeg puts before its message


def is_for_ffmpeg(head: bytes) -> bool:
    """Whether a file that begins with these bytes is of a format that ffmpeg decodes for us."""
    return any(head[place:].startswith(signature) for place, signature in SIGNATURES)


def conversion_command(name: str, options: str = "") -> str:
    """The command that makes a WAV file of a recording; `options` describe what is given."""
    given = f"./{name}" if name.startswith("-") else name
    return " ".join(filter(None, ["ffmpeg", options, "-i", quote(given), quote(os.path.splitext(given)[0] + ".wav")]))


def _check_wma(source: Source) -> None:
    """Whether a WMA file, which has no other end, is as long as its header says."""
    header = source.read(0, 1 << 13) if source.read(0, len(WMA)) == WMA else b""
    place = header.find(WMA_PROPERTIES)
    if place > 0 and (promised := int.from_bytes(header[place + 40 : place + 48], "little")) > source.size:
        raise source.cut_off(f"{source.size} of {promised} bytes are there")


class FfmpegDecoder:
    """
    Decodes a file with ffmpeg, in a process of its own.

    Attributes:
        sampling_rate (`int`), channels (`int`): of the recording.
        frames (`None`): how many there are is not known before the end.
        problem (`None`): what is wrong is an error.

    Raises:
        BadAudioError: ffmpeg is not installed, or does not read the file.
    """

    frames = problem = None

    def __init__(self, source: Source):
        program = shutil.which(PROGRAM)
        if program is None:
            raise source.error(
                "this format is decoded by the program ffmpeg, which is not installed. Install it, or convert the "
                f"file where it is: {conversion_command(source.name)}"
            )
        _check_wma(source)
        self._source, self._is_stopped, self._is_used = source, False, False
        self._errors = tempfile.TemporaryFile()
        self._copy = None
        path = source.path
        if path is None:  # some formats have their index at the end, so that a pipe is not enough
            self._copy = tempfile.NamedTemporaryFile(prefix="hf_asd_")
            source.file.seek(0)
            shutil.copyfileobj(source.file, self._copy)
            self._copy.flush()
            path = self._copy.name
        # A file that names others, as a playlist does, gets none of them from the network.
        self._command = [program, "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file,pipe", "-i"]
        self._command += [f"file:{os.path.abspath(path)}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
        )
        header = self._read(24)
        if len(header) < 24:
            raise self._fault()
        offset, _, _, self.sampling_rate, self.channels = struct.unpack(">5I", header[4:])
        self._read(offset - 24)

    def pieces(self, size: int, start: int = 0) -> Iterator[np.ndarray]:
        """
        Decodes to the end.

        Args:
            size (`int`): samples of each channel in a piece.
            start (`int`, *optional*, defaults to 0): the first sample.

        Yields:
            `np.ndarray` of shape `(samples, channels)`, float32.

        Raises:
            BadAudioError: ffmpeg says that the file is damaged or cut off.
        """
        if self._is_used:
            self._stop()
            self._start()
        self._is_used, skipped = True, 0
        frame_bytes = 4 * self.channels
        while content := self._read(size * frame_bytes):
            count = len(content) // frame_bytes
            piece = np.frombuffer(content, ">f4", count * self.channels).reshape(count, self.channels)
            dropped = min(start - skipped, count)
            skipped += dropped
            if dropped < count:
                yield piece[dropped:].astype(np.float32)
        if self._process.wait() != 0 or self._errors.seek(0, os.SEEK_END):
            raise self._fault()

    def close(self) -> None:
        """Ends the process."""
        self._stop()
        self._errors.close()
        if self._copy is not None:
            self._copy.close()

    def _read(self, count: int) -> bytes:
        """So many bytes of ffmpeg's output; fewer at the end."""
        assert self._process.stdout is not None
        pieces, missing = [], count
        watch = threading.Timer(SILENT_SECONDS, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            while missing and (piece := self._process.stdout.read(min(missing, 1 << 20))):
                pieces.append(piece)
                missing -= len(piece)
        finally:
            watch.cancel()
        return b"".join(pieces)

    def _give_up(self) -> None:
        self._is_stopped = True
        self._process.kill()

    def _stop(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _fault(self) -> Exception:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read(2000).decode("utf-8", "replace").strip().splitlines()
        said = SPEAKER.sub("", lines[0]) if lines else "no more"
        if self._is_stopped:
            said = f"nothing for {SILENT_SECONDS:.0f} s"
        self.close()
        return self._source.error(
            f"is cut off, damaged or no sound; ffmpeg says: {said.rstrip('.')}. Copy it again from the recorder."
        )
