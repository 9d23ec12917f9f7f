"""What the commands for an own machine share: the detector, unusable recordings."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio.reading import OnBadAudio
from ..detection.config import WINDOW_LENGTHS, WindowSeconds
from ..models.choices import PRECISION, PrecisionName
from .flags import add_flag


if TYPE_CHECKING:
    from ..data.folder import FolderContent
    from ..detection.detector import AnomalyDetector


def add_detector(command: argparse.ArgumentParser) -> None:
    """Adds the argument and the options that name a detector and a machine; [`load_detector`] reads them."""
    command.add_argument("detector", help="folder that hf-asd fit --output wrote, or a detector's id on the Hub")
    add_flag(command, "--revision", str | None, "branch, tag or commit of a detector on the Hub; none: main", None)
    add_flag(
        command, "--machine", str | None, "the machine that was recorded; needed if the detector has several", None
    )


def add_false_alarm_rate(command: argparse.ArgumentParser) -> None:
    """Adds `--false-alarm-rate`, which [`load_detector`] reads."""
    text = "accepted share of false alarms; another one than that of the detector sets its threshold for this run"
    add_flag(command, "--false-alarm-rate", float | None, f"{text}; none: as it was fitted", None, above=0, below=1)


def add_precision(command: argparse.ArgumentParser) -> None:
    """Adds `--precision`, which [`load_to_score`] reads."""
    add_flag(command, "--precision", PrecisionName | None, f"{PRECISION}; none: as it was fitted", None)


def add_machines(command: argparse.ArgumentParser) -> None:
    """Adds `--machines`."""
    text = "recordings of many machines: the first subfolder of each names its machine, whatever it is called"
    add_flag(command, "--machines", bool, text, False)


def check_machines(args: argparse.Namespace) -> None:
    """
    Raises:
        ValueError: `--machine` and `--machines` are both given.
    """
    if args.machines and args.machine is not None:
        raise ValueError(
            "--machine and --machines are given; the first is for recordings of one machine. Leave one out."
        )


def recorded_machine(args: argparse.Namespace, detector: "AnomalyDetector") -> str | None:
    """The machine that was recorded: the only one that the detector knows, else that of `--machine`."""
    return next(iter(detector.machines)) if len(detector.machines) == 1 else args.machine


def read_recordings(args: argparse.Namespace, detector: "AnomalyDetector") -> "FolderContent":
    """The recordings to decide about; with `--machines` their subfolders name the machines."""
    from ..data.folder import read_folder
    from ..data.plant_folder import read_plant

    if args.machines:
        return read_plant(args.recordings, on_bad_audio=args.on_bad_audio, to_score=True)
    machine = recorded_machine(args, detector)
    return read_folder(args.recordings, machine, on_bad_audio=args.on_bad_audio, to_score=True)


def check_known_machines(args: argparse.Namespace, content: "FolderContent", detector: "AnomalyDetector") -> None:
    """
    Raises:
        ValueError: a subfolder of `--machines` names a machine that the detector does not know.
    """
    from ..data.plant_folder import unknown_machine

    if args.machines and (unknown := sorted(set(content.dataset["test"]["machine"]) - detector.machines.keys())):
        raise ValueError(f"{content.summary.name}: {unknown_machine(', '.join(unknown), detector.machines)}")


def add_on_bad_audio(command: argparse.ArgumentParser) -> None:
    """Adds `--on-bad-audio`."""
    text = "unusable recordings stop the command (error) or are left out and listed (skip)"
    add_flag(command, "--on-bad-audio", OnBadAudio, text, "error")


def add_window_seconds(command: argparse.ArgumentParser, help: str) -> None:
    """Adds `--window-seconds`, with what it does in this command."""
    add_flag(command, "--window-seconds", WindowSeconds, help, "auto", **WINDOW_LENGTHS)


def load_detector(args: argparse.Namespace) -> "AnomalyDetector":
    """
    The detector of [`add_detector`]'s arguments.

    Raises:
        ValueError: an option would not be used, or the detector does not know the machine.
    """
    from ..detection.detector import AnomalyDetector

    if args.revision is not None and Path(args.detector).exists():
        raise ValueError(
            f"--revision is {args.revision}, but it would not be used: {args.detector} is a folder, not a detector on "
            "the Hub. Leave it out."
        )
    detector = AnomalyDetector.from_pretrained(args.detector, revision=args.revision)
    if args.machine is not None and args.machine not in detector.machines:
        raise ValueError(f"--machine is {args.machine}; this detector knows {', '.join(detector.machines)}.")
    if getattr(args, "false_alarm_rate", None) is not None:
        detector.set_false_alarm_rate(args.false_alarm_rate, args.machine)
    return detector


def load_to_score(args: argparse.Namespace) -> "AnomalyDetector":
    """
    As [`load_detector`], with the number format of [`add_precision`].

    Raises:
        ValueError: also if the detector has no encoder that computes in it.
    """
    detector = load_detector(args)
    return detector if args.precision is None else detector.set_precision(args.precision)


def print_skipped(skipped: list[str]) -> None:
    """Lists on standard error the recordings that were left out."""
    for message in skipped:
        print(f"skipped: {message}", file=sys.stderr)
