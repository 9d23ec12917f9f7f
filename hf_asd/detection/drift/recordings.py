"""Drift in recordings of a folder: they are put in sessions, in the order of time."""

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from ...audio.reading import OnBadAudio
from ...data.recording_time import durations, now, recording_start
from ...data.schema import undecoded_audio
from ..decision import Decision
from ..scoring import decide_windows
from .watch import Drift, DriftWatch, Session


if TYPE_CHECKING:
    from ..detector import AnomalyDetector

# Reasons for no decision that say nothing about drift; others, such as "machine off", may follow from it.
UNFIT = ("silent", "gap", "clipped", "too short")
SAME_TIME = 2  # machines whose drift begins in one session have a common cause


def find_drift(
    detector: "AnomalyDetector", dataset: Dataset, on_bad_audio: OnBadAudio = "error"
) -> tuple[list[Drift], list[str]]:
    """
    Drift in recordings of one or more machines.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): knows the machines.
        dataset (`datasets.Dataset`): recordings; `audio`, `machine` and `session` are read. A recording without a
            session belongs to that of its day: of the time in its name, else of when it was last modified.
        on_bad_audio (`str`, *optional*, defaults to `"error"`): as for [`AnomalyDetector.fit_recordings`].

    Returns:
        `tuple[list[Drift], list[str]]`: one for each machine, and messages about recordings that were left out.

    Raises:
        ValueError: as for [`~hf_asd.detection.drift.session_test.SessionTest`].
    """
    watches = {
        machine: DriftWatch(machine, detector.machines[machine])
        for machine in sorted({detector.known_machine(machine) for machine in dataset["machine"]})
    }
    rows, embedded, decisions = decide_windows(detector, dataset, on_bad_audio=on_bad_audio)
    times = _times(rows)
    names = rows["session"][:] if "session" in rows.column_names else [None] * len(rows)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    begun: dict[tuple[str, str], datetime] = {}
    for place, (row, decision) in enumerate(zip(embedded.row_numbers.tolist(), decisions, strict=True)):
        if decision.abstain_reason is None or not decision.abstain_reason.startswith(UNFIT):
            key = decision.machine, names[row] or times[row].astimezone().date().isoformat()
            groups[key].append(place)
            begun[key] = min(begun[key], times[row]) if key in begun else times[row]
    for machine, name in sorted(groups, key=lambda key: (begun[key], key)):
        places = groups[machine, name]
        watches[machine].add(_session(name, embedded.embeddings[places], [decisions[place] for place in places]))
    return [watch.result() for watch in watches.values()], embedded.skipped


def _session(name: str, embeddings: np.ndarray, decisions: list[Decision]) -> Session:
    scores = np.array([decision.anomaly_score for decision in decisions])
    anomalies = np.array([decision.is_anomaly is True for decision in decisions])
    return Session(name, embeddings, scores, anomalies, sum(decision.is_anomaly is None for decision in decisions))


def _times(rows: Dataset) -> list[datetime]:
    times, seconds = [], durations(rows)
    for audio in undecoded_audio(rows):
        path = audio["path"]
        found = recording_start(path, seconds[path]) if path in seconds else None
        times.append(now() if found is None else found[0])
    return times


def common_cause(drifts: list[Drift]) -> str | None:
    """What is said first where several machines changed at once; `None` where they did not."""
    begun: dict[str | None, list[str]] = defaultdict(list)
    for drift in drifts:
        if drift.is_drift:
            begun[drift.since].append(drift.machine)
    since, machines = max(begun.items(), key=lambda item: len(item[1]), default=(None, []))
    if len(machines) < SAME_TIME or 2 * len(machines) < len(drifts):
        return None
    return (
        f"{len(machines)} of {len(drifts)} machines changed at once, since {since}: look first at what they share, "
        "the recorder, its settings, the hall"
    )
