"""Decoded recordings on disk for as long as one task needs them, so that each file is decoded once."""

from contextlib import suppress
from tempfile import TemporaryFile, gettempdir

import numpy as np


class ClipStore:
    """
    Keeps decoded samples in a temporary file that vanishes with it; memory does not grow with their number.

    Ten seconds take 640 kB of disk.

    Example:

    ```python
    with ClipStore() as store:
        store.add("fan/00.wav", samples)
        store["fan/00.wav"]
    ```
    """

    def __init__(self):
        self._file = TemporaryFile(prefix="hf_asd_")
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> "ClipStore":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):  # on a full disk, of what could not be written before
            self._file.close()

    def add(self, key: str, samples: np.ndarray) -> None:
        """
        Keeps one recording; samples of a key that is there already are replaced.

        Args:
            key (`str`): a `clip_id`.
            samples (`np.ndarray` of shape `(samples,)`): float32.

        Raises:
            OSError: the disk with temporary files is full.
        """
        content = np.ascontiguousarray(samples, dtype=np.float32).tobytes()
        try:
            self._places[key] = (self._file.seek(0, 2), len(samples))
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise OSError(
                f"{gettempdir()}: cannot keep decoded recordings there ({error.strerror}), 640 kB for 10 s. Set "
                "TMPDIR to a folder with more space."
            ) from error

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> np.ndarray:
        start, count = self._places[key]
        self._file.seek(start)
        return np.frombuffer(self._file.read(4 * count), dtype=np.float32).copy()
