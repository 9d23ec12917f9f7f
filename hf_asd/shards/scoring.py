"""Decisions about very many recordings, as parquet shards."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from ..audio.reading import OnBadAudio
from ..detection.config import WindowSeconds
from ..detection.detector import AnomalyDetector
from ..distributed import broadcast, partial_state
from ..folders import is_filled, read_whole
from ..hub.manifest import DETECTOR_FOLDER, MANIFEST, machines_of
from ..models.choices import PrecisionName
from .fitting import check_encoder
from .reading import Part, column_names
from .results import Plan, ResultWriter, finish_parts, make_plan


class Detectors:
    """
    The detectors of many machines, of which one at a time is in memory.

    Args:
        path (`str` or `Path`): a detector's folder, its id on the Hub, or a folder with a detector in each subfolder.
        false_alarm_rate (`float`, *optional*): sets the threshold of each for this rate.
        precision (`str`, *optional*): sets the number format of their encoders.

    Raises:
        ValueError: two of them know the same machine.
    """

    def __init__(
        self, path: str | Path, false_alarm_rate: float | None = None, precision: PrecisionName | None = None
    ):
        self.false_alarm_rate = false_alarm_rate
        self.precision: PrecisionName | None = precision
        inside = [] if _is_detector(Path(path)) or not Path(path).is_dir() else sorted(Path(path).iterdir())
        folders = [folder for folder in inside if _is_detector(folder)]
        self._detector: AnomalyDetector | None = None
        self._loaded: str | Path | None = None
        self._only = None if folders else path
        self.folders: dict[str, str | Path] = {}
        for folder in folders:
            for machine in machines_of(folder):
                if machine in self.folders:
                    raise ValueError(f"{self.folders[machine]} and {folder} both know {machine}; leave one out.")
                self.folders[machine] = folder
        if self._only is not None:
            self.folders = dict.fromkeys(self.load(self._only).machines, self._only)

    def load(self, folder: str | Path) -> AnomalyDetector:
        """A detector; the one before is forgotten."""
        if self._detector is None or self._loaded != folder:
            self._detector, self._loaded = None, folder
            self._detector = AnomalyDetector.from_pretrained(folder)
            if self.false_alarm_rate is not None:
                self._detector.set_false_alarm_rate(self.false_alarm_rate)
            if self.precision is not None:
                self._detector.set_precision(self.precision)
        return self._detector

    def of(self, machine: str) -> AnomalyDetector:
        """The detector of a machine; a single one that knows one machine takes every recording for that."""
        return self.load(self.folders[self.known(machine)])

    def known(self, machine: str) -> str:
        """
        The name under which a machine is known.

        Raises:
            ValueError: it is not.
        """
        if machine not in self.folders and self._only is not None and len(self.folders) == 1:
            return next(iter(self.folders))
        if machine not in self.folders:
            known = list(self.folders)
            more = f" and {len(known) - 10} more" if len(known) > 10 else ""
            raise ValueError(f"machine is {machine!r}; known are {', '.join(known[:10])}{more}.")
        return machine

    def version(self, machine: str) -> str:
        """Another one when the detector of a machine changes."""
        folder = Path(self.folders[self.known(machine)])
        if not folder.is_dir():
            return str(folder)
        content = read_whole(folder, DETECTOR_FOLDER, lambda current: (current / MANIFEST).read_bytes())
        return hashlib.sha256(content).hexdigest()


def _is_detector(folder: Path) -> bool:
    return folder.is_dir() and is_filled(folder, DETECTOR_FOLDER)


def score_parts(
    parts: list[Part],
    detectors: Detectors,
    output: Path,
    *,
    explain: bool = False,
    check_input: bool = True,
    on_bad_audio: OnBadAudio = "error",
    window_seconds: WindowSeconds = "auto",
    all_of: str | None = None,
) -> Plan:
    """
    Writes decisions about recordings, or about embeddings. Under `torchrun` or `accelerate launch` each process does
    its parts; it holds one detector and some hundred recordings.

    Args:
        parts (`list[Part]`): of [`~hf_asd.shards.reading.find_parts`], by machine; of the main process.
        detectors ([`Detectors`]): of the machines.
        output (`Path`): folder of `part-*.parquet`, one for each part: the columns of the shards without `audio` and
            `embedding`, with `file` and the fields of [`~hf_asd.detection.decision.Decision`]. Finished ones are kept.
        explain, check_input, on_bad_audio, window_seconds: as for [`~hf_asd.AnomalyDetector.score_recordings`].
        all_of (`str`, *optional*): the machine of all recordings.

    Returns:
        [`~hf_asd.shards.results.Plan`]: all results, and which were there before.

    Raises:
        BadAudioError: recordings cannot be used; names all of them. Other parts are finished.
        ValueError: a machine that is not known, or the folder holds results of something else.
    """
    task = {"task": "score", "explain": explain, "check": check_input, "windows": window_seconds, "machine": all_of}
    task |= {"rate": detectors.false_alarm_rate, "precision": detectors.precision, "skip": on_bad_audio == "skip"}
    made = None
    if partial_state().is_main_process:
        machines = dict.fromkeys(part.machine or "" for part in parts)
        versions = {machine: detectors.version(machine) for machine in machines}
        made = make_plan(output, parts, [task | {"detector": versions[part.machine or ""]} for part in parts])
    plan = cast(Plan, broadcast(made))

    def work(part: Part, writer: ResultWriter) -> None:
        detector = detectors.of(part.machine or "")
        if "embedding" in column_names(part):
            check_encoder([part], detector)
        for batch in part.batches(all_of=all_of):
            has_embedding = "embedding" in batch.column_names
            scored, skipped = detector.score_recordings(
                batch.remove_columns("audio") if has_embedding and "audio" in batch.column_names else batch,
                explain=explain,
                check_input=check_input,
                on_bad_audio="skip",
                window_seconds=window_seconds,
            )
            writer.record.skipped += skipped
            scored = scored.remove_columns([name for name in ("audio", "embedding") if name in scored.column_names])
            writer.add(scored)
            _count(part.machine or "", scored["is_anomaly"][:], writer)

    finish_parts(plan, work, on_bad_audio, "scoring")
    return plan


def _count(machine: str, decisions: Iterable[bool | None], writer: ResultWriter) -> None:
    for is_anomaly in decisions:
        writer.record.count(machine, {True: "anomalies", False: "normal", None: "without"}[is_anomaly])
