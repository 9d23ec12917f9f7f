"""The recordings that a detector learned from: it does not hold their sound, so they are read where they lie."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..audio.channels import Channel
from ..audio.errors import BadAudioError
from ..audio.reading import read_audio
from ..audio.windows import read_span
from ..data.folder import read_folder
from ..data.schema import undecoded_audio
from ..detection.detector import AnomalyDetector


class NormalRecordings:
    """
    Finds normal recordings by the names that a memory bank has for them.

    Args:
        paths (`Mapping[str, str]`, *optional*): the file of each recording by its `clip_id`.
    """

    def __init__(self, paths: Mapping[str, str] | None = None):
        self.paths = dict(paths or {})

    @classmethod
    def of_rows(cls, rows: Dataset) -> "NormalRecordings":
        """Those of a dataset of the schema."""
        return cls(dict(zip(rows["clip_id"][:], [audio["path"] for audio in undecoded_audio(rows)], strict=True)))

    @classmethod
    def of_folder(cls, folder: Path, detector: AnomalyDetector) -> "NormalRecordings":
        """
        Those of a folder that a detector was fitted on.

        Raises:
            ValueError: the folder holds none of the recordings that the detector knows.
        """
        machine = next(iter(detector.machines)) if len(detector.machines) == 1 else None
        found = cls.of_rows(read_folder(folder, machine, on_bad_audio="skip").dataset["train"])
        known = [name for bank in detector.machines.values() for name in bank.leave_one_out_scores()]
        if not any(found.file(name) for name in known):
            raise ValueError(
                f"--normal is {folder}, but the detector learned from none of its recordings; it knows "
                f"{', '.join(known[:3])}. Give the folder that hf-asd fit read."
            )
        return found

    def file(self, clip_id: str) -> tuple[str, tuple[float, float] | None] | None:
        """The file of a normal clip and, of a window of a long recording, its seconds; `None` where it is missing."""
        if clip_id in self.paths:
            return self.paths[clip_id], None
        name, _, span = clip_id.rpartition("#")
        if name not in self.paths:
            return None
        start, _, end = span.partition("-")
        return self.paths[name], (float(start), float(end))

    def read(self, clip_id: str, channel: Channel) -> np.ndarray | None:
        """
        The sound of a normal clip.

        Args:
            clip_id (`str`): its name in the memory bank.
            channel (`int` or `str`): the detector's.

        Returns:
            `np.ndarray` of shape `(samples,)`, float32, 16 kHz; `None` where it is not at hand.
        """
        found = self.file(clip_id)
        if found is None:
            return None
        path, span = found
        try:
            return read_audio(path, channel=channel) if span is None else read_span(path, span, channel).samples
        except BadAudioError:  # moved or changed since then: as if it were not there
            return None
