"""The command `hf-asd fit`: a detector for a folder of normal recordings."""

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection.config import DetectorConfig
from .detectors import add_machines, add_on_bad_audio, add_window_seconds, check_machines, print_skipped
from .flags import add_flag, add_options, build_config, flag_names, not_a_recipe
from .results import check_detector_place
from .shards import add_separate, are_shards, fit_separately
from .updating import (
    add_recordings,
    add_session,
    add_updates,
    check_updates,
    keep_whole,
    still_learned,
    write_without_recordings,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from datasets import Dataset, DatasetDict

    from ..audio.channels import Channel
    from ..audio.clip_store import ClipStore
    from ..audio.windows import Window
    from ..data.folder import FolderContent
    from ..detection.detector import AnomalyDetector
    from ..detection.probing.probe import MachineProbe

logger = logging.getLogger(__name__)


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("fit", help="fit a detector to a folder of normal recordings of a machine")
    command.add_argument(
        "folder",
        type=not_a_recipe("fit"),
        nargs="*",
        help="folder of normal recordings or of parquet shards, or recordings; with --forget or --keep-last it may be "
        "missing",
    )
    add_flag(command, "--output", Path, "folder for the detector, its card and a report")
    add_flag(
        command,
        "--encoder",
        str | None,
        "Hub id or folder of a pretrained encoder; bundled: the small encoder of the package, beside spectral "
        "statistics; none: spectral statistics alone",
        None,
    )
    add_flag(
        command,
        "--machine",
        str | None,
        "the machine of all recordings, whatever the subfolders are called; none: subfolders or metadata.csv name it, "
        "else the folder does",
        None,
    )
    add_machines(command)
    add_separate(command)
    add_window_seconds(
        command,
        "recordings of at least twice this length in seconds are cut into windows of this length, which count as one "
        "recording together; auto: recordings of 60 s or more are cut into windows of 10 s; none: none is cut",
    )
    add_session(command)
    add_updates(command)
    add_on_bad_audio(command)
    add_flag(
        command,
        "--probe",
        bool,
        "put synthetic faults into 30 of the normal recordings and tell which would be heard; false: do not, which "
        "saves some seconds a machine",
        True,
    )
    add_options(command, DetectorConfig)
    command.epilog = (
        "Test recordings in test/normal and test/anomaly are scored, and the official score goes into the report and "
        "the card."
    )
    command.set_defaults(run=fit)


@dataclass
class _Scored:
    """Test recordings with decisions, and what was measured on them."""

    rows: "Dataset | None" = None
    evaluation: dict | None = None


def fit(args: argparse.Namespace) -> None:
    """Fits a detector to a folder of normal recordings, and writes it with its report and its card."""
    from ..audio.clip_store import ClipStore
    from ..detection.persistence import detector_folder
    from ..detection.probing.words import probe_sentences
    from ..detection.verdicts import keep_verdicts

    config = build_config(args, DetectorConfig)
    check_updates(args)
    if args.separate or are_shards(args.folder):
        return fit_separately(args, config)
    check_detector_place("--output", args.output)
    detector = _detector(args, config)
    if not args.folder:
        return write_without_recordings(args, detector)
    content = _recordings(args, detector)
    dataset = content.dataset
    started = time.monotonic()
    with ClipStore() as store:
        with flag_names(DetectorConfig):
            train, skipped = _fit(args, detector, dataset, store)
        skipped = [*content.summary.problems, *skipped]
        # All of it takes the place of an older detector together. The detector is not lost where the rest fails: test
        # recordings may be unusable.
        with detector_folder(args.output) as folder:
            _save(args, folder, detector, started)
            probes = _probe(args, folder, detector, train, store)
            scored, more_skipped = _score_test(args, detector, dataset, store)
            scored.evaluation = _record(folder, scored.rows)
            skipped += more_skipped
            report = _write_report(args, folder, detector, train, scored, skipped, store, probes)
            _write_card(args, folder)
    keep_verdicts(detector, args.output)
    print_skipped(skipped)
    _print_fit(args, detector, scored)
    for machine, found in probes.items():
        print(f"{machine}: {probe_sentences(found)}")
    print(f"detector: {args.output}")
    if report is not None:
        print(f"report:   {args.output / report.name}")


def _detector(args: argparse.Namespace, config: DetectorConfig) -> "AnomalyDetector":
    """A new one, or the one that recordings are added to."""
    from ..detection.detector import AnomalyDetector

    if args.add is not None:
        return AnomalyDetector.from_pretrained(args.add)
    with flag_names(DetectorConfig):
        return AnomalyDetector(args.encoder, config)


def _recordings(args: argparse.Namespace, detector: "AnomalyDetector") -> "FolderContent":
    """The recordings, after a summary of what was understood."""
    from ..data.folder import read_folder
    from ..data.plant_folder import read_plant

    check_machines(args)
    if args.machines:
        content = read_plant(args.folder, on_bad_audio=args.on_bad_audio, session=args.session)
    else:
        # A detector of one machine takes every recording for that one.
        machine = args.machine or (next(iter(detector.machines)) if len(detector.machines) == 1 else None)
        content = read_folder(args.folder, machine, on_bad_audio=args.on_bad_audio, session=args.session)
    summary = content.summary
    print("\n".join(summary.lines()), flush=True)
    untrained = [machine for machine, counts in sorted(summary.counts.items()) if not counts["train"]]
    if untrained:
        raise ValueError(
            f"{summary.name}: holds no normal recordings to learn from of {', '.join(untrained)}, only anomalies and "
            "test recordings. If a name above is misread, say what the recordings are in a metadata.csv with the "
            "columns file_name, machine, condition."
        )
    return content


def _fit(
    args: argparse.Namespace,
    detector: "AnomalyDetector",
    dataset: "DatasetDict",
    store: "ClipStore",
) -> "tuple[Dataset, list[str]]":
    """Fits or updates the detector; returns the rows that it learned from, and a message for each that it did not."""
    from ..detection.recording_check.check import QualityOfSome
    from ..detection.recording_check.verdicts import lines_of_fit

    if args.add is not None:
        return add_recordings(args, detector, dataset["train"], store)
    clip_ids = dataset["train"]["clip_id"][:]
    keep, quality = keep_whole(store, clip_ids), QualityOfSome(len(clip_ids))

    def look_at(row: int, window: "Window") -> None:
        keep(row, window)
        quality(row, window)

    train, skipped = detector.fit_recordings(
        dataset["train"],
        on_bad_audio=args.on_bad_audio,
        visit=look_at,
        window_seconds=args.window_seconds,
    )
    for line in lines_of_fit(quality.qualities):
        print(f"  microphone: {line}")
    return train, skipped


def _score_test(
    args: argparse.Namespace,
    detector: "AnomalyDetector",
    dataset: "DatasetDict",
    store: "ClipStore",
) -> tuple[_Scored, list[str]]:
    """Test recordings with scores, if there are any, and a message for each that was left out."""
    from ..detection.training_clips.copies import KnownClips

    if not len(dataset.get("test", ())):
        return _Scored(), []
    heard, clip_ids, copies = detector.heard, dataset["test"]["clip_id"][:], {}
    assert heard is not None  # it has just learned from recordings
    known = KnownClips(heard.rows["recording_id"][:], heard.arrays["digest"], heard.arrays["fingerprint"])
    keep = keep_whole(store, clip_ids)

    def look_at(row: int, window: "Window") -> None:
        if window.clip is not None and (first := known.find(window.clip.samples)) is not None:
            copies[clip_ids[row]] = first
        keep(row, window)

    rows, skipped = detector.score_recordings(
        dataset["test"],
        check_input=False,  # an evaluation needs a decision about every recording
        on_bad_audio=args.on_bad_audio,
        visit=look_at,
    )
    if copies and args.on_bad_audio == "error":
        raise ValueError(
            f"{len(copies)} test recordings are copies of recordings that the detector learned from: "
            f"{', '.join(f'{copy} = {first}' for copy, first in copies.items())}. An evaluation with them would look "
            "better than it is. Remove them here or there, or leave them out of the test with --on-bad-audio skip."
        )
    others = [row for row, clip_id in enumerate(rows["clip_id"][:]) if clip_id not in copies]
    skipped += [f"{copy}: is a copy of {first}, which the detector learned from." for copy, first in copies.items()]
    return _Scored(rows.select(others) if others else None), skipped


def _clip_reader(store: "ClipStore", channel: "Channel") -> "Callable[[dict], np.ndarray]":
    """From a row of the report to its samples."""
    from ..reporting.report import read_from_disk

    def read(row: dict) -> "np.ndarray":
        return store[row["clip_id"]] if row["clip_id"] in store else read_from_disk(row, channel)

    return read


def _save(args: argparse.Namespace, folder: Path, detector: "AnomalyDetector", started: float) -> None:
    from ..detection.persistence import write_detector
    from ..distributed import hardware
    from ..hub.model_card import record_compute

    write_detector(detector, folder)
    seconds = round(time.monotonic() - started, 1)
    record_compute(folder, {"fit": {"seconds": seconds, "device": hardware(), "resumed": False}})
    _write_card(args, folder)


def _probe(
    args: argparse.Namespace, folder: Path, detector: "AnomalyDetector", train: "Dataset", store: "ClipStore"
) -> "dict[str, MachineProbe]":
    """Which faults the detector would hear, written beside it."""
    from ..detection.probing.probe import probe
    from ..detection.probing.record import write_probe

    if not args.probe:
        return {}
    probes = probe(detector, train, _clip_reader(store, detector.config.channel))
    write_probe(folder, probes)
    return probes


def _write_card(args: argparse.Namespace, folder: Path) -> None:
    from ..hub.model_card import render_model_card

    render_model_card(folder, args.output)


def _record(folder: Path, scored: "Dataset | None") -> dict | None:
    """The official score of the test recordings, written beside the detector; `None` where labels are missing."""
    from ..evaluation.scores import labeled_subset
    from ..hub.model_card import record_evaluation

    if scored is None:
        return None
    labeled, year = labeled_subset(scored)
    return record_evaluation(folder, labeled, year) if len(labeled) else None


def _write_report(
    args: argparse.Namespace,
    folder: Path,
    detector: "AnomalyDetector",
    train: "Dataset",
    scored: _Scored,
    skipped: list[str],
    store: "ClipStore",
    probes: "dict[str, MachineProbe]",
) -> Path | None:
    """The report; `None` where there is nothing to show: recordings that were added were all known."""
    from ..reporting.report import ReportContent, write_report

    is_named = args.encoder not in (None, "bundled")
    train = still_learned(detector, train)
    if not len(train) and scored.rows is None:
        return None
    facts = {"Embedding": args.encoder if is_named else detector.embedding_description}
    if args.add is not None:
        facts["Shown"] = f"the {len(train)} normal recordings or windows that were added to those of {args.add}"
    for machine, bank in detector.machines.items():
        facts[f"Threshold of {machine}"] = f"{bank.threshold:.4g}, {bank.promise}"
    for machine, found in detector.findings.items():
        if lines := found.lines():
            facts[f"Recordings of {machine}"] = " ".join(lines)
    return write_report(
        folder / "report.html",
        ReportContent(
            title=f"{', '.join(detector.machines)}: what is normal",
            train=train,
            test=scored.rows,
            evaluation=scored.evaluation,
            skipped=skipped,
            detector=detector,
            facts=facts,
            probes=probes,
            read_clip=_clip_reader(store, detector.config.channel),
        ),
    )


def _print_fit(args: argparse.Namespace, detector: "AnomalyDetector", scored: _Scored) -> None:
    from ..detection.verdicts import faults_text, found_faults

    if args.window_seconds == "auto" and any(bank.recordings is not None for bank in detector.machines.values()):
        print("recordings of 60 s or more were cut into windows (--window-seconds none leaves them whole)")
    for machine, bank in detector.machines.items():
        for line in detector.findings[machine].lines():
            print(f"{machine}: {line}")
        if bank.sessions is None:
            print(
                f"{machine}: on which days these were recorded is not known; recordings of a new day can sound "
                "different. Name folders or files by the day (2026-11-20), or write a column session in metadata.csv."
            )
        clips = f"{len(bank.normal_scores)} normal recordings"
        if bank.recordings is not None:
            seconds = detector.training_summary[machine]["clip_seconds"]
            clips = f"{len(bank.normal_scores)} windows of {seconds:g} s of {_counted(bank.num_recordings)}"
        print(f"{machine}: {clips}, threshold {bank.threshold:.4g} {bank.promise}")
        if verdicts := found_faults(detector, machine):
            print(f"{machine}: {faults_text(verdicts)}")
        asked = bank.config.false_alarm_rate
        if bank.false_alarm_rate > asked:
            needed = bank.recordings_for(asked)
            logger.warning("  %.3g %% were asked for; that needs %d normal recordings or more.", 100 * asked, needed)
    if scored.evaluation is not None:
        from ..evaluation.scores import format_table

        print(format_table(scored.evaluation))
    elif scored.rows is not None and "anomaly" in scored.rows["condition"][:]:
        logger.warning(
            "How well anomalies are detected was not measured: that needs normal recordings in %s.",
            args.folder[0] / "test" / "normal",
        )


def _counted(recordings: int) -> str:
    return "one normal recording" if recordings == 1 else f"{recordings} normal recordings"
