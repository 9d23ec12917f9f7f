"""Decisions about the recordings of a page, and what they would be at another threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from ..audio.clock import clock
from ..audio.errors import BadAudioError
from ..audio.windows import Window
from ..detection.decision import Decision
from ..detection.decision_rows import FILE, rows_as_csv
from ..detection.detector import AnomalyDetector
from ..detection.memory_bank import MemoryBank
from .work import Work


@dataclass(frozen=True)
class JudgedClip:
    """
    Args:
        name (`str`): of the recording, as the user knows it.
        path (`Path`): where it is.
        decision ([`~hf_asd.detection.decision.Decision`], *optional*): at the detector's own threshold; `None` where
            the recording cannot be used.
        error (`str`): why it cannot be used.
    """

    name: str
    path: Path
    decision: Decision | None
    error: str = ""


def judge(
    detector: AnomalyDetector,
    machine: str,
    files: Sequence[tuple[str, Path]],
    work: Work,
    clips: list[JudgedClip],
) -> None:
    """
    Decides about recordings one after the other.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): decides.
        machine (`str`): one that it knows.
        files (`Sequence[tuple[str, Path]]`): name and place of each.
        work ([`Work`]): is told how far this is.
        clips (`list[JudgedClip]`): gets each recording as soon as it is decided.

    Raises:
        Stopped: the user stopped it; what was decided stays.
    """
    for number, (name, path) in enumerate(files):
        progress = _Progress(work, f"{number + 1} of {len(files)}: {name}", number / len(files))
        progress.tell()
        try:
            recordings = [(path, None, machine)]
            decision = next(detector.decide_recordings(recordings, explain=True, visit=progress.visit))
        except BadAudioError as error:
            text = str(error).removeprefix(f"{path}: ").replace(str(path), name)
            clips.append(JudgedClip(name, path, None, text))
        else:
            clips.append(JudgedClip(name, path, decision))


@dataclass(frozen=True)
class _Progress:
    work: Work
    text: str
    share: float

    def tell(self) -> None:
        self.work.tell(self.text, self.share)

    def visit(self, _: int, window: Window) -> None:
        """Called with each window of a long recording."""
        place = "" if window.span is None else f", at {clock(window.span[0])}"
        self.work.tell(f"{self.text}{place}", self.share)


def at_threshold(decision: Decision, bank: MemoryBank, threshold: float | None) -> Decision:
    """
    What a decision would be at another threshold. A recording without a decision stays without one.

    Args:
        decision ([`~hf_asd.detection.decision.Decision`]): at the detector's own threshold.
        bank ([`~hf_asd.detection.memory_bank.MemoryBank`]): of the machine.
        threshold (`float`, *optional*): `None` for the detector's own.
    """
    if threshold is None or threshold == decision.threshold:
        return decision
    if decision.is_anomaly is None:
        return replace(decision, threshold=threshold)
    moved = replace(bank, threshold=threshold)
    return replace(
        decision,
        threshold=threshold,
        is_anomaly=decision.anomaly_score > threshold,
        is_unusual=bool(moved.is_unusual(np.array(decision.anomaly_score))),
    )


def num_false_alarms(bank: MemoryBank, threshold: float) -> int:
    """How many of the normal clips, each compared with the others, score above a threshold."""
    return int((bank.normal_scores > threshold).sum())


def decisions_as_csv(decided: Sequence[tuple[str, Decision]]) -> str:
    """The name of each recording and all fields of its decision, the first columns of `hf-asd score --csv`."""
    names = [FILE, *(field.name for field in fields(Decision))]
    return rows_as_csv([{FILE: name, **decision.to_dict()} for name, decision in decided], names)
