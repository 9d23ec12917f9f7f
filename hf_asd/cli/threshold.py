"""The command `hf-asd threshold`: what a detector's threshold promises, and another one."""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .detectors import load_detector
from .flags import add_flag


if TYPE_CHECKING:
    from ..detection.detector import AnomalyDetector

KEPT = ("recipe.yaml", "compute.json", "compact.json")  # these do not depend on the threshold


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("threshold", help="show the thresholds of a detector, or set others")
    command.add_argument("detector", help="folder that hf-asd fit --output wrote")
    text = "accepted share of false alarms, for which a new threshold is written; none: show what is there"
    add_flag(command, "--false-alarm-rate", float | None, text, None, above=0, below=1)
    add_flag(command, "--machine", str | None, "the machine whose threshold is meant; none: all", None)
    command.set_defaults(run=threshold, revision=None)


def threshold(args: argparse.Namespace) -> None:
    """Prints thresholds and what they promise; writes new ones."""
    folder = Path(args.detector)
    if args.false_alarm_rate is not None and not folder.is_dir():
        raise ValueError(
            f"{args.detector}: is not a folder, so that no threshold can be written there. Give the folder of a "
            "detector, or --false-alarm-rate to hf-asd score or monitor."
        )
    detector = load_detector(args)
    for machine, bank in detector.machines.items():
        if args.machine in (None, machine):
            above = int((bank.normal_scores > bank.threshold).sum())
            count = len(bank.normal_scores)
            print(
                f"{machine}: threshold {bank.threshold:.4g} {bank.promise}; {above} of {count} normal clips lie above"
            )
            if args.false_alarm_rate is not None and bank.false_alarm_rate > args.false_alarm_rate:
                needed = bank.recordings_for(args.false_alarm_rate)
                print(f"  {100 * args.false_alarm_rate:.3g} % were asked for; that needs {needed} recordings or more.")
    if args.false_alarm_rate is not None:
        print(_write(detector, folder))


def _write(detector: "AnomalyDetector", folder: Path) -> str:
    """Replaces the detector as a whole; what was measured with the old threshold is removed."""
    from ..detection.persistence import detector_folder, write_detector
    from ..folders import current_folder
    from ..hub.manifest import DETECTOR_FOLDER, DETECTOR_RECORDS, REPORT
    from ..hub.model_card import render_model_card

    before = current_folder(folder, DETECTOR_FOLDER)
    stale = [name for name in (REPORT, *DETECTOR_RECORDS) if name not in KEPT and (before / name).is_file()]
    with detector_folder(folder) as partial:
        write_detector(detector, partial)
        for name in KEPT:
            if (before / name).is_file():
                shutil.copy(before / name, partial / name)
        render_model_card(partial, folder)
    text = f"written to {folder}"
    if stale:
        text += (
            f"; removed, because of the old threshold: {', '.join(stale)}. hf-asd probe {folder} FOLDER measures again"
        )
    return text
