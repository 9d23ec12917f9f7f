"""Recordings that a detector can be measured on."""

from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from datasets import Dataset

    from ..detection.detector import AnomalyDetector


def labeled_recordings(folder: Path, detector: "AnomalyDetector") -> "tuple[Dataset, int]":
    """
    The test recordings in a folder that something can be measured on, and the year whose score they allow.

    Args:
        folder (`Path`): own recordings.
        detector ([`~hf_asd.AnomalyDetector`]): the one to measure.

    Raises:
        ValueError: normal or anomalous recordings are missing.
    """
    from ..data.folder import load_folder
    from ..evaluation.scores import labeled_subset

    found = load_folder(folder)
    rows, year = labeled_subset(with_known_machines(found["test"], detector)) if "test" in found else (None, 0)
    if rows is None or not len(rows):
        raise ValueError(
            f"{folder}: nothing can be measured; that needs normal and anomalous recordings of a machine, in "
            "test/normal and test/anomaly or labeled in metadata.csv. The detector must not have been fitted on them."
        )
    return rows, year


def with_known_machines(rows: "Dataset", detector: "AnomalyDetector") -> "Dataset":
    """Rows with the detector's names of machines: one that knows a single machine takes every recording for it."""
    machines = [detector.known_machine(machine) for machine in rows["machine"]]
    return rows.remove_columns("machine").add_column("machine", machines)  # pyright: ignore[reportCallIssue]
