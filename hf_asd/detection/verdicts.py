"""What people found out about recordings: false alarms, and faults that later recordings are compared with."""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from datasets import Dataset

from ..audio.clock import Span
from ..audio.windows import Window
from ..data.names import cut_date, date_in
from .explanation.normal_profile import summarize_clip
from .heard_clips import FEATURES, HeardClips
from .training_clips.measures import ClipMeasures


if TYPE_CHECKING:
    from .detector import AnomalyDetector

Finding = Literal["normal", "fault"]
VERDICTS = "verdicts.jsonl"  # in the detector's folder; no part of the detector, so that nothing ever replaces it
# Sound of a clip, if only two milliseconds of it: not kept.
SOUNDS = ("head", "last", "correlation")


@dataclass(frozen=True)
class Verdict:
    """
    What somebody found out about a recording.

    Args:
        time (`str`): when it was said, UTC, ISO 8601.
        machine (`str`): which machine it is.
        finding (`"normal"` or `"fault"`): what it is.
        words (`str`): why.
        file (`str`): the recording's name.
        session (`str`): the day of the recording as far as its name says it, else that of the verdict.
        anomaly_score, threshold (`float`), is_anomaly (`bool`): what the detector had decided.
        start_s, end_s (`float`, *optional*): the window of a long recording that it is about.
        encoder (`str`): fingerprint of the encoder that made the embedding.
        arrays (`dict[str, list]`): what a detector keeps of a clip ([`HeardClips`]): type, shape and bytes (base64) of
            each value; no sound.
    """

    time: str
    machine: str
    finding: Finding
    words: str
    file: str
    session: str
    anomaly_score: float
    threshold: float
    is_anomaly: bool
    start_s: float | None
    end_s: float | None
    encoder: str
    arrays: dict[str, list] = field(repr=False)

    @property
    def embedding(self) -> torch.Tensor:
        """Of shape `(dimensions,)`, float32."""
        return torch.from_numpy(_decoded(self.arrays["embedding"])[0])

    @property
    def name(self) -> str:
        """Such as `"fault of 2026-11-20: bearing, replaced"`."""
        day = date_in(self.words)
        words = cut_date(self.words) if day else self.words
        return f"{self.finding} of {day or self.session}: {words}"


def give_verdict(
    detector: "AnomalyDetector", folder: str | Path, recording: str | Path, finding: Finding, words: str, machine: str
) -> Verdict:
    """
    Keeps what a recording was, in the folder of a detector.

    Args:
        detector ([`AnomalyDetector`]): of the folder.
        folder (`str` or `Path`): its folder, where a line is added to `verdicts.jsonl`.
        recording (`str` or `Path`): the file; of a long one the worst window is kept.
        finding (`"normal"` or `"fault"`): what it was.
        words (`str`): why, in a line.
        machine (`str`): which machine it is.

    Raises:
        BadAudioError: the recording cannot be used.
        ValueError: there are no words, or the recording is unfit for a decision.
    """
    if not words.strip():
        raise ValueError(f"there are no words about {recording}; say in a line what it was.")
    heard: dict[Span | None, tuple[ClipMeasures, dict]] = {}

    def keep(_: int, window: Window) -> None:
        if window.clip is not None:
            summary = summarize_clip(window.clip)
            heard[window.span] = (ClipMeasures.of(window.clip, summary), summary)

    path = Path(recording)
    rows = Dataset.from_dict({"audio": [str(path)], "machine": [machine], "clip_id": [f"{machine}/{path.name}"]})
    scored, _ = detector.score_recordings(rows, visit=keep)
    row = scored[0]
    if row["is_anomaly"] is None:
        raise ValueError(f"{recording}: is unfit for a verdict: {row['abstain_reason']}")
    start, end = row["worst_window_start_s"], row["worst_window_end_s"]
    nearest = min(heard, key=lambda span: 0.0 if span is None else abs(span[0] - start))
    measures, summary = heard[nearest]
    arrays = HeardClips.of(scored, np.zeros(1), [measures], [summary], None).arrays
    now = datetime.now(UTC)
    day = date_in(path.stem)
    verdict = Verdict(
        time=now.isoformat(timespec="seconds"),
        machine=row["machine"],
        finding=finding,
        words=" ".join(words.split()),
        file=path.name,
        session=(day or now.date()).isoformat(),
        anomaly_score=row["anomaly_score"],
        threshold=row["threshold"],
        is_anomaly=row["is_anomaly"],
        start_s=start,
        end_s=end,
        encoder=detector.encoder.fingerprint,
        arrays={name: _encoded(values) for name, values in arrays.items() if name not in SOUNDS},
    )
    _append(Path(folder) / VERDICTS, json.dumps(asdict(verdict), ensure_ascii=False))
    return verdict


def read_verdicts(folder: str | Path) -> list[Verdict]:
    """
    The verdicts in the folder of a detector, in the order in which they were given.

    Raises:
        ValueError: a line cannot be read; names it. Lines that were cut off are verdicts that were not finished.
    """
    file = Path(folder) / VERDICTS
    if not file.is_file():
        return []
    verdicts = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if not line.endswith("}"):  # empty, or cut off
            continue
        try:
            verdicts.append(Verdict(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: is not a verdict ({error}). Remove this line.") from error
    return verdicts


def keep_verdicts(detector: "AnomalyDetector", folder: str | Path) -> None:
    """Writes the verdicts that a detector knows into its new folder, unless there are some."""
    file = Path(folder) / VERDICTS
    if detector.verdicts and not file.exists():
        for verdict in detector.verdicts:
            _append(file, json.dumps(asdict(verdict), ensure_ascii=False))


def heard_in_verdicts(detector: "AnomalyDetector", heard: HeardClips) -> HeardClips:
    """
    Clips that were said to be normal, as clips to learn from.

    Args:
        detector ([`AnomalyDetector`]): its verdicts.
        heard ([`HeardClips`]): what is learned from already; verdicts that are there are left out.
    """
    known, today = set(heard.rows["clip_id"][:]), date.today().isoformat()
    found = [verdict for verdict in _usable(detector, "normal") if _clip_id(verdict) not in known]
    names = [name for name in heard.arrays if name not in SOUNDS]
    found = [verdict for verdict in found if all(name in verdict.arrays for name in names)]
    if not found:
        return heard.select([])
    rows = {
        "machine": [verdict.machine for verdict in found],
        "domain": ["unknown"] * len(found),
        "clip_id": list(map(_clip_id, found)),
        "recording_id": list(map(_clip_id, found)),
        "session": [verdict.session for verdict in found],
        "added": [today] * len(found),
        "silent_channels": [""] * len(found),
    }
    rows = {name: rows.get(name, [None] * len(found)) for name in FEATURES}
    arrays = {name: np.concatenate([_decoded(verdict.arrays[name]) for verdict in found]) for name in names}
    arrays["row"] = np.arange(len(found))
    arrays["has_ends"] = np.zeros(len(found), dtype=bool)
    arrays |= {name: np.zeros((len(found), heard.arrays[name].shape[1])) for name in SOUNDS}
    return replace(heard, rows=Dataset.from_dict(rows, features=FEATURES), arrays=arrays)


def attach_faults(detector: "AnomalyDetector") -> None:
    """Gives the memory banks the confirmed faults that recordings are compared with."""
    for machine, bank in detector.machines.items():
        own = [verdict for verdict in _usable(detector, "fault") if verdict.machine == machine]
        bank.faults = {verdict.name: verdict.embedding for verdict in own}


def found_faults(detector: "AnomalyDetector", machine: str) -> list[tuple[Verdict, float, bool]]:
    """The confirmed faults of a machine, with the score that each has now and whether it raises the alarm."""
    return _scores_now(detector, machine, "fault")


def wrong_alarms(detector: "AnomalyDetector", machine: str) -> list[tuple[Verdict, float, bool]]:
    """
    As [`found_faults`], of the recordings that were said to be normal. The score of one that the detector has learned
    from meanwhile is that of leaving it out.
    """
    bank, found = detector.machines[machine], _scores_now(detector, machine, "normal")
    learned = bank.leave_one_out_scores()
    scores = [learned.get(_clip_id(verdict), score) for verdict, score, _ in found]
    return [(verdict, score, score > bank.threshold) for (verdict, _, _), score in zip(found, scores, strict=True)]


def is_learned(detector: "AnomalyDetector", verdict: Verdict) -> bool:
    """Whether the detector has learned from a recording that was said to be normal."""
    bank = detector.machines[verdict.machine]
    return any(_clip_id(verdict) in clip_ids for clip_ids in bank.clip_ids.values())


def _scores_now(detector: "AnomalyDetector", machine: str, finding: Finding) -> list[tuple[Verdict, float, bool]]:
    bank, own = detector.machines[machine], [v for v in _usable(detector, finding) if v.machine == machine]
    if not own:
        return []
    scores = bank.scorer.score(torch.stack([verdict.embedding for verdict in own])).tolist()
    return [(verdict, score, score > bank.threshold) for verdict, score in zip(own, scores, strict=True)]


def faults_text(found: Sequence[tuple[Verdict, float, bool]]) -> str:
    """Which confirmed faults would be found, in a sentence."""
    count = sum(is_found for _, _, is_found in found)
    what = "1 confirmed fault raises" if len(found) == 1 else f"{len(found)} confirmed faults raise"
    text = f"{count} of {what} the alarm"
    missed = [f"the {verdict.name}" for verdict, _, is_found in found if not is_found]
    return f"{text}; missed: {', '.join(missed)}." if missed else f"{text}: {', '.join(v.name for v, _, _ in found)}."


def _usable(detector: "AnomalyDetector", finding: Finding) -> list[Verdict]:
    """Verdicts whose embedding is of this encoder."""
    said = [verdict for verdict in detector.verdicts if verdict.finding == finding]
    return [verdict for verdict in said if verdict.encoder == detector.encoder.fingerprint]


def _clip_id(verdict: Verdict) -> str:
    return f"{verdict.machine}/{verdict.file} (verdict of {verdict.time})"


def _append(file: Path, line: str) -> None:
    """Adds a line in one piece, after one that was cut off as well."""
    with open(file, "ab+") as content:
        if content.tell():
            content.seek(-1, os.SEEK_END)
            if content.read(1) != b"\n":
                line = f"\n{line}"
        content.write(f"{line}\n".encode())
        content.flush()
        os.fsync(content.fileno())


def _encoded(values: np.ndarray) -> list:
    return [str(values.dtype), list(values.shape), base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()]


def _decoded(content: list) -> np.ndarray:
    dtype, shape, data = content
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()
