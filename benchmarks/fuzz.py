"""
Reads damaged recordings: is each of them read, or refused by an error that names it?

    python benchmarks/fuzz.py [--files 10000] [--formats wav flac ogg] [--seed 0] [--keep FOLDER]

Whole recordings of several codecs are damaged in one to four ways each (bits flipped, cut off, blocks swapped,
repeated, left out or zeroed, numbers in the header replaced) and read with `read_clip` in processes of their own. Half
of the OGG files get the right checksums again, so that the damage reaches the decoder. More than 1 GiB of memory
beyond what the process had, more than 10 s for a file, any other error and the end of the process count as failures;
`--keep` writes the files that led to them into a folder.
"""

import argparse
import io
import multiprocessing
import os
import resource
import struct
import threading
import time
from collections import Counter
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile

from hf_asd.audio.reading import BadAudioError, read_clip
from hf_asd.audio.streams import PAGE_HEADER_BYTES, checksum


SECONDS_A_FILE, BYTES_MORE = 10.0, 1 << 30
RATE, SECONDS = 16_000, 1.5
CODECS = {
    "wav": ["WAV PCM_16", "WAV PCM_24", "WAV FLOAT", "WAV PCM_U8", "WAV ULAW", "WAV IMA_ADPCM", "WAV MS_ADPCM",
            "WAV GSM610", "WAV G721_32", "WAV NMS_ADPCM_32", "WAVEX PCM_16", "RF64 PCM_16"],
    "flac": ["FLAC PCM_16", "FLAC PCM_24", "FLAC PCM_S8"],
    "ogg": ["OGG VORBIS", "OGG OPUS"],
    "mp3": ["MP3 MPEG_LAYER_III"],
    "aiff": ["AIFF PCM_16", "AIFF FLOAT", "AIFF IMA_ADPCM", "AIFF GSM610"],
    "caf": ["CAF PCM_16", "CAF ALAC_16", "CAF ALAC_24"],
    "au": ["AU PCM_16", "AU G721_32", "AU G723_24"],
    "w64": ["W64 PCM_16", "W64 IMA_ADPCM", "W64 GSM610"],
    "nist": ["NIST PCM_16"],
}  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--formats", nargs="+", choices=list(CODECS), default=["wav", "flac", "ogg"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    args = parser.parse_args()
    originals = [encode(codec) for name in args.formats for codec in CODECS[name]]
    results, slowest, numbers, lock = Counter(), (0.0, 0), count(), threading.Lock()

    def take_turns():
        nonlocal slowest
        reader = Reader()
        while (number := next(numbers)) < args.files:
            content = damaged(originals[number % len(originals)], np.random.default_rng([args.seed, number]))
            result, seconds = reader.read(f"{number}.wav", content)
            with lock:
                results[result] += 1
                slowest = max(slowest, (seconds, number))
                if result not in ("read", "refused"):
                    print(f"file {number}: {result}", flush=True)
                    if args.keep is not None:
                        args.keep.mkdir(parents=True, exist_ok=True)
                        (args.keep / f"{number}.wav").write_bytes(content)
        reader.stop()

    threads = [threading.Thread(target=take_turns) for _ in range(args.processes)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = args.files - results["read"] - results["refused"]
    print(
        f"{args.files} damaged files: {results['read']} read, {results['refused']} refused by BadAudioError, "
        f"{failures} anything else; {time.perf_counter() - start:.0f} s in all, {slowest[0]:.2f} s for the slowest, "
        f"number {slowest[1]}"
    )


class Reader:
    """A process that reads files, and another one when it ended."""

    def __init__(self):
        self._start()

    def _start(self) -> None:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=read_on, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def read(self, name: str, content: bytes) -> tuple[str, float]:
        """What became of a file, and after how many seconds."""
        start = time.perf_counter()
        try:
            self._pipe.send((name, content))
            result = self._pipe.recv() if self._pipe.poll(SECONDS_A_FILE) else "takes longer than 10 s"
        except (EOFError, ConnectionError):
            self._process.join()
            result = f"the process ended with {self._process.exitcode}"
        seconds = time.perf_counter() - start
        if result.startswith(("takes", "the process")):
            self.stop()
            self._start()
        return result, seconds

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def read_on(pipe: Connection) -> None:
    """Reads what comes through a pipe and answers with what became of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES_MORE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.environ["PATH"] = ""  # damage may make a file one that the program ffmpeg would get
    while True:
        try:
            name, content = pipe.recv()
        except EOFError:
            return
        try:
            clip = read_clip({"path": name, "bytes": content})
            result = "read" if np.isfinite(clip.samples).all() and len(clip.samples) else "gave no sound"
        except BadAudioError as error:
            result = "refused" if str(error).startswith(f"{name}: ") else f"an error without its name: {error}"
        except BaseException as error:  # whatever it is, it is what this script looks for
            result = f"{type(error).__name__}: {error}"
        pipe.send(result)


def encode(codec: str) -> bytes:
    """A whole recording: a hum in noise, mono or stereo, with a chunk or tag after the sound where there are such."""
    container, subtype = codec.split()
    rate = 8_000 if subtype in ("GSM610", "NMS_ADPCM_32", "G721_32") else RATE
    channels = 2 if subtype in ("PCM_24", "VORBIS", "FLOAT") else 1
    noise = np.random.default_rng(0).standard_normal((round(rate * SECONDS), channels))
    samples = 0.1 * np.sin(2 * np.pi * 117 * np.arange(len(noise)) / rate)[:, None] + 0.03 * noise
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    if container == "WAV" and subtype == "PCM_16":
        file.write(b"LIST" + struct.pack("<I", 20) + b"INFOISFT" + struct.pack("<I", 8) + b"recorder")
    return file.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The recording, damaged in one to four ways."""
    is_ogg = content.startswith(b"OggS")
    for _ in range(rng.integers(1, 5)):
        way = rng.choice([flip_bits, cut_off, move_block, replace_number, replace_number])
        content = bytes(way(bytearray(content), rng)) or b"\0"
    return with_checksums(content) if is_ogg and rng.random() < 0.5 else content


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    end = len(content) if rng.random() < 0.5 else min(len(content), 200)
    for place in rng.integers(0, end, rng.integers(1, 30)):
        content[place] ^= 1 << rng.integers(8)
    return content


def cut_off(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: rng.integers(1, len(content) + 1)]


def move_block(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Swaps two blocks, repeats one, leaves one out or fills it with zeros."""
    size = int(rng.integers(1, max(2, len(content) // 3)))
    one, other = (int(place) for place in rng.integers(0, max(1, len(content) - size), 2))
    block = content[one : one + size]
    match rng.integers(4):
        case 0:
            content[one : one + size], content[other : other + size] = content[other : other + size], block
        case 1:
            content[other:other] = block
        case 2:
            del content[one : one + size]
        case 3:
            content[one : one + size] = bytes(len(block))
    return content


def replace_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Puts an extreme or a random number into the header, of 1 to 8 bytes in either order."""
    width = int(rng.choice([1, 2, 4, 4, 8]))
    number = int(rng.choice(NUMBERS)) if rng.random() < 0.7 else int(rng.integers(1 << 32))
    place = int(rng.integers(0, min(len(content), 120)))
    content[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, rng.choice(["little", "big"]))
    return content


def with_checksums(content: bytes) -> bytes:
    """An OGG file whose pages have the right checksums, as far as there are pages."""
    position, pages = 0, []
    while content.startswith(b"OggS", position) and position + PAGE_HEADER_BYTES < len(content):
        segments = content[position + 26]
        table = content[position + PAGE_HEADER_BYTES : position + PAGE_HEADER_BYTES + segments]
        page = bytearray(content[position : position + PAGE_HEADER_BYTES + segments + sum(table)])
        page[22:26] = bytes(4)
        page[22:26] = checksum(bytes(page)).to_bytes(4, "little")
        pages.append(bytes(page))
        position += len(page)
    return b"".join(pages) + content[position:]


if __name__ == "__main__":
    main()
