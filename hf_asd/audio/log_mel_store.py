"""Log energies of recordings, computed once and kept on disk for all that need them."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..files import read_json, whole_folder, write_json
from .channels import Channel
from .filter_bank import FilterBankExtractor


INDEX_FILE, VALUES_FILE = "index.json", "log_mel.f32"


class LogMelStore:
    """
    The log energies of many recordings in one file, which is mapped into memory: a crop is read, and nothing else.

    They are float32, so that embeddings are the same, to the bit, as those of the recordings themselves. Ten seconds
    take 0.5 MB.

    Args:
        folder (`Path`): as [`write_log_mels`] wrote it.
    """

    def __init__(self, folder: Path):
        index = read_json(folder / INDEX_FILE)
        self.filter_bank, self.channel = index["filter_bank"], index["channel"]
        self._places = index["places"]
        shape = (-1, self.filter_bank["feature_size"])
        self._values = np.memmap(folder / VALUES_FILE, dtype=np.float32, mode="r").reshape(shape)

    def fits(self, extractor: object) -> bool:
        """Whether an encoder with this feature extractor takes these log energies for its own."""
        return isinstance(extractor, FilterBankExtractor) and extractor.filter_bank == self.filter_bank

    def get(self, audio: dict, channel: Channel) -> np.ndarray | None:
        """
        Args:
            audio (`dict`): a row's undecoded `audio`.
            channel (`int` or `str`): of the recording.

        Returns:
            `np.ndarray` of shape `(frames, mel_bins)`, float32, natural logarithms, read from disk where it is used;
            `None` for a recording that is not kept, or has changed.
        """
        place = self._places.get(recording_key(audio)) if channel == self.channel else None
        return None if place is None else self._values[place[0] : place[0] + place[1]]


class LogMelWriter:
    """
    Appends the log energies of recordings as long as there is space; made by [`write_log_mels`], for several threads.
    """

    def __init__(self, folder: Path, extractor: FilterBankExtractor, channel: Channel, largest_bytes: float):
        self._extractor, self._channel = extractor, channel
        self._folder, self._left = folder, largest_bytes
        self._file = open(folder / VALUES_FILE, "wb")
        self._places: dict[str, tuple[int, int]] = {}
        self._frames = 0
        self._writing = threading.Lock()

    def add(self, audio: dict, samples: np.ndarray) -> None:
        """
        Keeps the log energies of one recording, if there is space for them.

        Args:
            audio (`dict`): a row's undecoded `audio`.
            samples (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.
        """
        key = recording_key(audio)
        if self._left <= 0 or key in self._places:
            return
        log_mel = self._extractor.log_mel(torch.from_numpy(samples)[None])[0].numpy()
        with self._writing:
            self._left -= log_mel.nbytes
            if self._left < 0 or key in self._places:
                return
            self._file.write(np.ascontiguousarray(log_mel).data)
            self._places[key] = (self._frames, len(log_mel))
            self._frames += len(log_mel)

    def close(self) -> None:
        """Writes the index."""
        self._file.close()
        content = {"filter_bank": self._extractor.filter_bank, "channel": self._channel, "places": self._places}
        write_json(self._folder / INDEX_FILE, content)


@contextmanager
def write_log_mels(
    folder: Path, extractor: FilterBankExtractor, channel: Channel, largest_gb: float
) -> Iterator[LogMelWriter]:
    """
    Writes a [`LogMelStore`], whole or not at all.

    Args:
        folder (`Path`): of the store; an older one is replaced.
        extractor ([`~hf_asd.audio.filter_bank.FilterBankExtractor`]): computes the log energies.
        channel (`int` or `str`): that recordings are read with.
        largest_gb (`float`): largest size in GB; never more than half of what is free on the disk.

    Yields:
        [`LogMelWriter`].
    """
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder) as partial:
        free = shutil.disk_usage(partial).free / 2
        writer = LogMelWriter(partial, extractor, channel, min(1e9 * largest_gb, free))
        yield writer
        writer.close()


def open_log_mels(folder: Path) -> LogMelStore | None:
    """The store in a folder; `None` where there is none, or an empty one."""
    values = folder / VALUES_FILE
    return LogMelStore(folder) if values.is_file() and values.stat().st_size else None


def fitting(log_mels: LogMelStore | None, extractor: object) -> LogMelStore | None:
    """The store, where there is one that an encoder with this feature extractor can start from."""
    return log_mels if log_mels is not None and log_mels.fits(extractor) else None


def recording_key(audio: dict) -> str:
    """Names a recording and its state: of a file its path, size and time, else a hash of its content."""
    if audio["bytes"]:
        return hashlib.blake2b(audio["bytes"], digest_size=16).hexdigest()
    path = Path(audio["path"])
    if not path.is_file():
        return str(path)
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
