"""Learning a machine from the page: which recordings are bad or stand out, and a detector of those that are kept."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from ..audio.errors import BadAudioError
from ..audio.reading import read_audio
from ..audio.windows import Window
from ..data.folder import read_folder
from ..data.schema import undecoded_audio
from ..detection.config import DetectorConfig
from ..detection.detector import AnomalyDetector
from ..detection.fitting import clip_names
from ..detection.persistence import detector_folder, write_detector
from ..detection.plots import clip_image
from ..hub.model_card import render_model_card
from .pictures import SoundView, sound_view, volume_for
from .work import Work


@dataclass(frozen=True)
class Source:
    """
    Normal recordings.

    Args:
        rows (`datasets.Dataset`): of the schema.
        summary (`list[str]`): what was understood of their folder.
        problems (`list[str]`): a message for each that cannot be opened.
    """

    rows: Dataset
    summary: list[str]
    problems: list[str]


@dataclass(frozen=True)
class LearnedClip:
    """
    A normal recording after learning.

    Args:
        clip_id, name, machine, path (`str`): of it.
        score (`float`, *optional*): compared with the others; of a long one that of its most unusual window. `None`
            where it was not learned from.
        remark (`str`): what stands out about it.
        is_left_out (`bool`): whether the user left it out.
    """

    clip_id: str
    name: str
    machine: str
    path: str
    score: float | None
    remark: str
    is_left_out: bool


@dataclass(frozen=True)
class Training:
    """
    What was learned.

    Args:
        source ([`Source`]): from what.
        detector ([`~hf_asd.AnomalyDetector`]): the result.
        clips (`list[LearnedClip]`): those that stand out first, then by score, the highest first.
        skipped (`list[str]`): a message for each recording that cannot be used.
        remarks (`list[str]`): about all recordings.
        archive (`Path`): the detector as a ZIP archive.
    """

    source: Source
    detector: AnomalyDetector
    clips: list[LearnedClip]
    skipped: list[str]
    remarks: list[str]
    archive: Path


def read_source(path: Path | Sequence[Path], machine: str | None) -> Source:
    """
    Looks for normal recordings; test recordings and anomalies are left out.

    Raises:
        FileNotFoundError, ValueError: there are none, or it is not clear what they are.
    """
    content = read_folder(path, machine, on_bad_audio="skip")
    if "train" not in content.dataset:
        raise ValueError(f"{content.summary.name}: holds no normal recordings to learn from.")
    return Source(content.dataset["train"], content.summary.lines(), content.summary.problems)


def learn(source: Source, left_out: set[str], false_alarm_rate: float, folder: Path, work: Work) -> Training:
    """
    Learns from normal recordings.

    Args:
        source ([`Source`]): the recordings.
        left_out (`set[str]`): the `clip_id` of each that is not learned from.
        false_alarm_rate (`float`): the share of false alarms that is accepted.
        folder (`Path`): for the archive; what is there is replaced.
        work ([`Work`]): is told how far this is.

    Raises:
        Stopped: the user stopped it.
        ValueError: too few recordings can be used.
    """
    clip_ids = source.rows["clip_id"][:]
    kept = [row for row, clip_id in enumerate(clip_ids) if clip_id not in left_out]

    def visit(row: int, _: Window) -> None:
        work.tell(f"Reading {row + 1} of {len(kept)}: {clip_ids[kept[row]]}", 0.9 * row / len(kept))

    detector = AnomalyDetector(config=DetectorConfig(false_alarm_rate=false_alarm_rate))
    work.tell(f"Reading {len(kept)} recordings", 0.0)
    _, skipped = detector.fit_recordings(source.rows.select(kept), on_bad_audio="skip", visit=visit)
    work.tell("Comparing them with one another", 0.95)
    remarks = [f"{machine}: {line}" for machine, found in detector.findings.items() for line in found.remarks]
    clips = _learned_clips(source, left_out, detector)
    return Training(source, detector, clips, skipped, remarks, _as_zip(detector, folder))


def _learned_clips(source: Source, left_out: set[str], detector: AnomalyDetector) -> list[LearnedClip]:
    scores: dict[str, float] = {}
    for bank in detector.machines.values():
        for clip_id, score in bank.leave_one_out_scores().items():
            for name in {clip_id, clip_id.rpartition("#")[0]}:  # a window counts for its recording
                scores[name] = max(score, scores.get(name, score))
    rows, clips = source.rows, []
    names, machines, paths = clip_names(rows), rows["machine"][:], [one["path"] for one in undecoded_audio(rows)]
    for clip_id, name, machine, path in zip(rows["clip_id"][:], names, machines, paths, strict=True):
        found = detector.findings.get(machine)
        remark = ""
        if found is not None:
            copied = f"is a copy of {found.copies[name]} and counts once" if name in found.copies else ""
            remark = found.unusual.get(name) or found.left_out.get(name) or copied
        clips.append(
            LearnedClip(clip_id, name, machine, path, scores.get(clip_id), remark, is_left_out=clip_id in left_out)
        )
    return sorted(clips, key=lambda clip: (not clip.remark, clip.score is None, -(clip.score or 0.0)))


def listen(training: Training, clip: LearnedClip, volumes: dict[str, float]) -> SoundView | None:
    """
    What is shown and played of a normal recording; `None` where it cannot be read.

    Args:
        training ([`Training`]): it belongs to.
        clip ([`LearnedClip`]): the recording.
        volumes (`dict[str, float]`): by machine; set by the first recording that is played, the same for the others.
    """
    try:
        samples = read_audio(clip.path, channel=training.detector.config.channel, allow_silence=True)
    except BadAudioError:
        return None
    volume = volumes.setdefault(clip.machine, volume_for(samples))
    return sound_view(clip_image(training.detector, clip.machine, samples), samples, volume)


def _as_zip(detector: AnomalyDetector, folder: Path) -> Path:
    """A detector with its card as a ZIP archive of one folder, which `hf-asd score` and `hf-asd app` take."""
    shutil.rmtree(folder, ignore_errors=True)
    inside = folder / "detector"
    with detector_folder(inside) as partial:
        write_detector(detector, partial)
        render_model_card(partial, inside.name)
    return Path(shutil.make_archive(str(folder / "detector"), "zip", folder, inside.name))
