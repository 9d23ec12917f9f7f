"""The command `hf-asd verdict`: what people found out about a recording."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .columns import DECISION_WORDS
from .detectors import load_detector
from .flags import add_flag


if TYPE_CHECKING:
    from ..detection.detector import AnomalyDetector
    from ..detection.verdicts import Finding


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("verdict", help="say what a recording was: a false alarm, or a confirmed fault")
    command.add_argument("detector", help="folder that hf-asd fit --output wrote")
    command.add_argument("recording", type=Path, nargs="?", help="the recording; without it all verdicts are listed")
    text = "it was normal, and why, such as 'forklift passed': it counts as normal at the next hf-asd fit --add"
    add_flag(command, "--normal", str | None, text, None)
    text = "it was a fault, and which, such as 'bearing, replaced 2026-11-20': later recordings are compared with it"
    add_flag(command, "--fault", str | None, text, None)
    add_flag(
        command, "--machine", str | None, "the machine that was recorded; needed if the detector has several", None
    )
    command.set_defaults(run=verdict, revision=None)


def verdict(args: argparse.Namespace) -> None:
    """Keeps a verdict, or lists all."""
    from ..detection.verdicts import give_verdict

    given = {name: words for name, words in (("normal", args.normal), ("fault", args.fault)) if words is not None}
    if (len(given) != 1) if args.recording is not None else given:
        raise ValueError(
            "give a recording and either --normal WORDS or --fault WORDS, or the detector alone to list its verdicts."
        )
    if not Path(args.detector).is_dir():
        raise ValueError(f"{args.detector}: is not a folder; verdicts are kept in the folder of a detector.")
    detector = load_detector(args)
    if args.recording is None:
        return _print_all(args, detector)
    if not args.recording.is_file():
        raise FileNotFoundError(f"{args.recording}: there is no such recording.")
    machine = detector.known_machine(args.machine)
    finding: Finding = "fault" if args.normal is None else "normal"
    words = given[finding]
    kept = give_verdict(detector, args.detector, args.recording, finding, words, machine)
    print(
        f"{args.recording}: {DECISION_WORDS[kept.is_anomaly]}, score {kept.anomaly_score:.4g}, threshold "
        f"{kept.threshold:.4g}; kept as {kept.name}"
    )
    if finding == "normal":
        print(f"it counts as normal at the next hf-asd fit --add {args.detector}")


def _print_all(args: argparse.Namespace, detector: "AnomalyDetector") -> None:
    """One line a verdict, and which confirmed faults the detector would find."""
    from ..detection.verdicts import faults_text, found_faults

    own = [kept for kept in detector.verdicts if args.machine in (None, kept.machine)]
    for kept in own:
        decided = DECISION_WORDS[kept.is_anomaly]
        print(
            f"{kept.time}  {kept.machine}  {kept.file}  {kept.name} (then: {decided}, score {kept.anomaly_score:.4g})"
        )
    for machine in detector.machines:
        if args.machine in (None, machine) and (found := found_faults(detector, machine)):
            print(f"{machine}: {faults_text(found)}")
    if not own:
        print("no verdicts")
