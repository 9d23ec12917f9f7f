"""What `hf-asd fit --add` does: more normal recordings for a detector, and sessions taken out of it."""

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from ..detection.config import DetectorConfig
from .flags import add_flag


if TYPE_CHECKING:
    from datasets import Dataset

    from ..audio.clip_store import ClipStore
    from ..audio.windows import Window
    from ..detection.detector import AnomalyDetector
    from ..embedding.embed import Visit


def add_session(command: argparse.ArgumentParser) -> None:
    """Adds `--session`."""
    text = "the session of all recordings; none: folders, metadata.csv, or days in file names name it"
    add_flag(command, "--session", str | None, text, None)


def add_updates(command: argparse.ArgumentParser) -> None:
    """Adds the options of an update."""
    add_flag(
        command,
        "--add",
        str | None,
        "detector that learns from the recordings beside those that it knows, as if from all at once; only the new "
        "ones are heard, and it keeps its options; none: a new detector",
        None,
    )
    add_flag(command, "--forget", str | None, "session that is taken out of the detector of --add", None)
    text = "so many sessions, the last ones, stay in the detector of --add; none: all"
    add_flag(command, "--keep-last", int | None, text, None, at_least=1)


def check_updates(args: argparse.Namespace) -> None:
    """
    Checks the options of an update.

    Raises:
        ValueError: an option would not be used, or recordings are missing.
    """
    takes_out = [name for name in ("forget", "keep_last") if getattr(args, name) is not None]
    if args.add is None:
        if takes_out:
            flag = f"--{takes_out[0].replace('_', '-')}"
            raise ValueError(f"{flag} is given, but it would not be used: name the detector with --add.")
        if not args.folder:
            raise ValueError("the folder of normal recordings is missing: hf-asd fit FOLDER --output DETECTOR.")
        return
    if not args.folder and not takes_out:
        raise ValueError(
            "the folder of new normal recordings is missing: hf-asd fit --add DETECTOR FOLDER --output DETECTOR2."
        )
    given = [field.name for field in fields(DetectorConfig) if hasattr(args, field.name)]
    given += ["encoder"] * (args.encoder is not None) + ["window_seconds"] * (args.window_seconds != "auto")
    for name in given:
        hint = "Leave it out."
        if name == "false_alarm_rate":
            hint = f"Set it afterwards: hf-asd threshold {args.output} --false-alarm-rate {args.false_alarm_rate:g}."
        raise ValueError(
            f"--{name.replace('_', '-')} is given, but it would not be used: the detector of --add keeps its options. "
            f"{hint}"
        )


def add_recordings(
    args: argparse.Namespace,
    detector: "AnomalyDetector",
    rows: "Dataset",
    store: "ClipStore",
) -> "tuple[Dataset, list[str]]":
    """Updates the detector; returns the new rows that it learned from, and a message for each that was left out."""
    before = _counts(detector)
    train, skipped = detector.add_recordings(
        rows, on_bad_audio=args.on_bad_audio, visit=keep_whole(store, rows["clip_id"][:])
    )
    _take_out(args, detector)
    for machine, count in _counts(detector).items():
        if count != before.get(machine, 0):
            print(f"{machine}: {count} normal clips, {before.get(machine, 0)} before")
    return train, skipped


def keep_whole(store: "ClipStore", clip_ids: list[str]) -> "Visit":
    """Keeps whole clips for the report, which reads windows of long recordings again."""

    def keep(row: int, window: "Window") -> None:
        if window.clip is not None and window.span is None:
            store.add(clip_ids[row], window.clip.samples)

    return keep


def still_learned(detector: "AnomalyDetector", train: "Dataset") -> "Dataset":
    """The rows of clips that the detector learned from; one that was added can be of a session that was taken out."""
    learned = {name for bank in detector.machines.values() for names in bank.clip_ids.values() for name in names}
    kept = [row for row, name in enumerate(train["clip_id"][:]) if name in learned]
    return train if len(kept) == len(train) else train.select(kept)


def write_without_recordings(args: argparse.Namespace, detector: "AnomalyDetector") -> None:
    """Writes a detector of which only sessions were taken out."""
    from ..detection.persistence import detector_folder, write_detector
    from ..detection.verdicts import keep_verdicts
    from ..hub.model_card import render_model_card

    before = _counts(detector)
    _take_out(args, detector)
    with detector_folder(args.output) as folder:
        write_detector(detector, folder)
        render_model_card(folder, args.output)
    keep_verdicts(detector, args.output)
    for machine, bank in detector.machines.items():
        for line in detector.findings[machine].lines():
            print(f"{machine}: {line}")
        print(
            f"{machine}: {len(bank.normal_scores)} normal clips, {before[machine]} before, threshold "
            f"{bank.threshold:.4g} {bank.promise}"
        )
    print(f"detector: {args.output}")


def _take_out(args: argparse.Namespace, detector: "AnomalyDetector") -> None:
    if args.forget is not None:
        detector.forget(args.forget, machine=args.machine)
    if args.keep_last is not None:
        detector.keep_last(args.keep_last, machine=args.machine)


def _counts(detector: "AnomalyDetector") -> dict[str, int]:
    return {machine: len(bank.normal_scores) for machine, bank in detector.machines.items()}
