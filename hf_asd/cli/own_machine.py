"""Commands for an own machine: fit, score, monitor."""

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio.reading import OnBadAudio
from ..detection.alarm import AlarmPolicy
from ..detection.config import DetectorConfig, MonitorConfig
from .columns import FILE, table_lines, write_rows_as_csv, write_rows_as_json
from .flags import add_flag, add_options, build_config, flag_names, not_a_recipe


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from ..audio.clip_store import ClipStore
    from ..detection.detector import AnomalyDetector

logger = logging.getLogger(__name__)


def add_commands(commands) -> None:
    """Adds the parsers of these commands."""
    command = commands.add_parser("fit", help="fit a detector to a folder of normal recordings of a machine")
    command.add_argument("folder", type=not_a_recipe("fit"), help="folder of normal recordings (WAV, FLAC)")
    add_flag(command, "--output", Path, "folder for the detector, its card and a report")
    add_flag(
        command,
        "--encoder",
        str | None,
        "Hub id or folder of a pretrained encoder; auto: with 30 normal recordings or more the encoder of the "
        "package, beside spectral statistics, else spectral statistics alone; none: spectral statistics alone",
        "auto",
    )
    add_flag(command, "--machine", str | None, "name of the machine; none: the folder's name", None)
    _add_on_bad_audio(command)
    add_options(command, DetectorConfig)
    command.epilog = (
        "Test recordings in test/normal and test/anomaly are scored, and the official score goes into the report and "
        "the card."
    )
    command.set_defaults(run=fit)

    command = commands.add_parser("score", help="score recordings with a detector")
    _add_detector(command)
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of recordings")
    add_flag(command, "--csv", Path | None, "also write the result to this CSV file", None)
    add_flag(command, "--json", Path | None, "also write the result to this file, one JSON object a line", None)
    add_flag(command, "--explain", bool, "print what is unusual about each recording that is an anomaly", False)
    add_flag(command, "--fail-on-anomaly", bool, "exit with 1 when an anomaly is found", False)
    _add_on_bad_audio(command)
    command.set_defaults(run=score)

    command = commands.add_parser("monitor", help="decide about a growing file, folder or pipe, window by window")
    _add_detector(command)
    command.add_argument("source", help="a recording, a folder, or - for raw PCM (16 bit, little endian) from a pipe")
    add_options(command, MonitorConfig)
    add_options(command, AlarmPolicy)
    command.set_defaults(run=monitor)


def _add_detector(command: argparse.ArgumentParser) -> None:
    command.add_argument("detector", help="folder that hf-asd fit --output wrote, or a detector's id on the Hub")
    add_flag(command, "--revision", str | None, "branch, tag or commit of a detector on the Hub; none: main", None)
    add_flag(
        command, "--machine", str | None, "the machine that was recorded; needed if the detector has several", None
    )


def _add_on_bad_audio(command: argparse.ArgumentParser) -> None:
    text = "unusable recordings stop the command (error) or are left out and listed (skip)"
    add_flag(command, "--on-bad-audio", OnBadAudio, text, "error")


@dataclass
class _Scored:
    """Test recordings with decisions, and what was measured on them."""

    rows: "Dataset | None" = None
    evaluation: dict | None = None


def fit(args: argparse.Namespace) -> None:
    """Fits a detector to a folder of normal recordings, and writes it with its report and its card."""
    from ..audio.clip_store import ClipStore
    from ..hub.model_card import render_model_card

    config = build_config(args, DetectorConfig)
    dataset = _recordings(args)
    started = time.monotonic()
    with ClipStore() as store:
        with flag_names(DetectorConfig):
            detector, train, skipped = _fit(args, config, dataset, store)
        folder = _save(args, detector, started)  # before the test recordings, which may be unusable
        scored, more_skipped = _score_test(args, detector, dataset, store)
        scored.evaluation = _record(folder, scored.rows)
        skipped += more_skipped
        report = _write_report(args, folder, detector, train, scored, skipped, store)
    render_model_card(folder)
    _print_skipped(skipped)
    _print_fit(args, config, detector, scored)
    print(f"detector: {folder}\nreport:   {report}")


def _recordings(args: argparse.Namespace) -> "DatasetDict":
    from ..data.folder import load_folder

    dataset = load_folder(args.folder, machine=args.machine)
    if "train" not in dataset:
        raise ValueError(f"{args.folder}: holds anomalies or test recordings only; fit needs normal recordings.")
    machines = {machine for rows in dataset.values() for machine in rows["machine"]}
    if args.machine is not None and args.machine not in machines:
        raise ValueError(
            f"--machine is {args.machine}, but it would not be used: subfolders or metadata.csv name the machines "
            f"{', '.join(sorted(machines))}. Leave it out."
        )
    return dataset


def _fit(
    args: argparse.Namespace, config: DetectorConfig, dataset: "DatasetDict", store: "ClipStore"
) -> "tuple[AnomalyDetector, Dataset, list[str]]":
    """The fitted detector, its training rows, and a message for each recording that was left out."""
    from ..detection.detector import AnomalyDetector

    detector = AnomalyDetector(args.encoder, config)
    clip_ids = dataset["train"]["clip_id"][:]
    train, skipped = detector.fit_recordings(
        dataset["train"],
        on_bad_audio=args.on_bad_audio,
        visit=lambda row, clip: store.add(clip_ids[row], clip.samples),
    )
    return detector, train, skipped


def _score_test(
    args: argparse.Namespace, detector: "AnomalyDetector", dataset: "DatasetDict", store: "ClipStore"
) -> tuple[_Scored, list[str]]:
    """Test recordings with scores, if there are any, and a message for each that was left out."""
    if not len(dataset.get("test", ())):
        return _Scored(), []
    clip_ids = dataset["test"]["clip_id"][:]
    rows, skipped = detector.score_recordings(
        dataset["test"],
        check_input=False,  # an evaluation needs a decision about every recording
        on_bad_audio=args.on_bad_audio,
        visit=lambda row, clip: store.add(clip_ids[row], clip.samples),
    )
    return _Scored(rows if len(rows) else None), skipped


def _save(args: argparse.Namespace, detector: "AnomalyDetector", started: float) -> Path:
    from ..distributed import hardware
    from ..hub.model_card import record_compute

    folder = detector.save_pretrained(args.output)
    seconds = round(time.monotonic() - started, 1)
    record_compute(folder, {"fit": {"seconds": seconds, "device": hardware(), "resumed": False}})
    return folder


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
) -> Path:
    from ..reporting.report import ReportContent, write_report

    is_named = args.encoder not in (None, "auto")
    facts = {"Embedding": args.encoder if is_named else detector.embedding_description}
    for machine, bank in detector.machines.items():
        facts[f"Threshold of {machine}"] = (
            f"{bank.threshold:.4g}, for at most {100 * bank.false_alarm_rate:.3g} % false alarms among recordings "
            "made like these"
        )
    return write_report(
        folder / "report.html",
        ReportContent(
            title=f"{', '.join(detector.machines)}: what is normal",
            train=train,
            test=scored.rows,
            evaluation=scored.evaluation,
            skipped=skipped,
            thresholds={machine: bank.threshold for machine, bank in detector.machines.items()},
            leave_one_out={machine: bank.leave_one_out_scores() for machine, bank in detector.machines.items()},
            facts=facts,
            profiles=detector.profiles,
            channel=detector.config.channel,
            read_clip=lambda row: store[row["clip_id"]],
        ),
    )


def _print_fit(args: argparse.Namespace, config: DetectorConfig, detector: "AnomalyDetector", scored: _Scored) -> None:
    for machine, bank in detector.machines.items():
        print(
            f"{machine}: {len(bank.normal_scores)} normal recordings, threshold {bank.threshold:.4g} for at most "
            f"{100 * bank.false_alarm_rate:.3g} % false alarms"
        )
        if bank.false_alarm_rate > config.false_alarm_rate:
            logger.warning(
                "  %.3g %% were asked for; that needs %d normal recordings or more.",
                100 * config.false_alarm_rate,
                round(1 / config.false_alarm_rate),
            )
    if scored.evaluation is not None:
        from ..evaluation.scores import format_table

        print(format_table(scored.evaluation))
    elif scored.rows is not None and "anomaly" in scored.rows["condition"][:]:
        logger.warning(
            "How well anomalies are detected was not measured: that needs normal recordings in %s.",
            args.folder / "test" / "normal",
        )


def _print_skipped(skipped: list[str]) -> None:
    for message in skipped:
        print(f"skipped: {message}", file=sys.stderr)


def score(args: argparse.Namespace) -> int:
    """Scores recordings with a fitted detector: one line a recording."""
    from datasets import concatenate_datasets

    from ..data.folder import load_folder
    from ..detection.decision import Decision

    detector = _load_detector(args)
    splits = [rows for path in args.recordings for rows in load_folder(path, machine=args.machine).values()]
    scored, skipped = detector.score_recordings(
        concatenate_datasets(splits), explain=args.explain, on_bad_audio=args.on_bad_audio
    )
    names = [FILE, *(field.name for field in fields(Decision))]
    columns = scored.select_columns(["audio", *names[1:]])
    rows = [{FILE: row["audio"]["path"], **{name: row[name] for name in names[1:]}} for row in columns.to_list()]
    if args.json is not None:
        write_rows_as_json(args.json, rows)
    if args.csv is not None:
        write_rows_as_csv(args.csv, rows, names)
    print("\n".join(table_lines(rows, args.explain)))
    _print_skipped(skipped)
    anomalies = sum(row["is_anomaly"] is True for row in rows)
    undecided = sum(row["is_anomaly"] is None for row in rows)
    without = f", {undecided} without a decision" if undecided else ""
    print(f"{anomalies} of {len(rows)} recordings are anomalous{without}, {len(skipped)} skipped")
    return 1 if anomalies and args.fail_on_anomaly else 0


def _load_detector(args: argparse.Namespace) -> "AnomalyDetector":
    from ..detection.detector import AnomalyDetector

    if args.revision is not None and Path(args.detector).exists():
        raise ValueError(
            f"--revision is {args.revision}, but it would not be used: {args.detector} is a folder, not a detector on "
            "the Hub. Leave it out."
        )
    detector = AnomalyDetector.from_pretrained(args.detector, revision=args.revision)
    if args.machine is not None and args.machine not in detector.machines:
        raise ValueError(f"--machine is {args.machine}; this detector knows {', '.join(detector.machines)}.")
    return detector


# Options of `MonitorConfig` that are for a pipe, and those that are for files and folders.
FOR_PIPES = ("sampling_rate", "channels")
FOR_FILES = ("wait_seconds",)


def monitor(args: argparse.Namespace) -> int:
    """Decides about a growing file, a folder or a pipe, one JSON object a window."""
    config, policy = build_config(args, MonitorConfig), build_config(args, AlarmPolicy)
    is_pipe = args.source == "-"
    for name in FOR_FILES if is_pipe else FOR_PIPES:
        if hasattr(args, name):
            raise ValueError(
                f"--{name.replace('_', '-')} is given, but it would not be used: it is for "
                f"{'files and folders' if is_pipe else 'a pipe'}. Leave it out."
            )
    from ..detection.monitoring import monitor as decide

    return _print_lines(decide(_load_detector(args), args.source, config, policy, machine=args.machine))


def _print_lines(lines: Iterator[dict]) -> int:
    """
    Prints one JSON object a line, and a summary on standard error; Ctrl+C ends it.

    Returns:
        `int`, the exit code: 0 done, 2 something could not be read or nothing was decided.
    """
    counts = Counter()
    try:
        for line in lines:
            print(json.dumps(line, ensure_ascii=False), flush=True)
            counts.update(errors="error" in line, windows="error" not in line, alarms=line.get("event") == "raised")
            counts.update(anomalies=line.get("is_anomaly") is True, undecided=line.get("abstain_reason") is not None)
    except KeyboardInterrupt:
        pass
    names = ("windows", "anomalies", "undecided", "alarms", "errors")
    print(", ".join(f"{counts[name]:d} {name}" for name in names), file=sys.stderr)
    return 2 if counts["errors"] or not counts["windows"] else 0
