"""The command `hf-asd probe`: which faults a detector would hear."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .detectors import add_detector, add_on_bad_audio, load_detector, print_skipped, recorded_machine
from .flags import add_flag
from .results import check_results, standard_stream, write_result


if TYPE_CHECKING:
    from ..detection.probing.probe import MachineProbe


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("probe", help="tell which synthetic faults a detector would hear, and how strong")
    add_detector(command)
    command.add_argument(
        "recordings",
        type=Path,
        nargs="*",
        help="normal recordings or folders of them, into which the faults are put: those that the detector was fitted "
        "to, or new ones; none: what hf-asd fit found",
    )
    add_flag(command, "--json", Path | None, "also write the result to this file; -: to standard output", None)
    add_on_bad_audio(command)
    command.set_defaults(run=probe)


def probe(args: argparse.Namespace) -> None:
    """Prints which faults a detector would hear."""
    from ..detection.probing.record import probe_record
    from ..detection.probing.words import probe_lines

    check_results(args, "json")
    probes = _probe(args) if args.recordings else _stored(args)
    if args.machine is not None:
        probes = {machine: found for machine, found in probes.items() if machine == args.machine}
    if not probes:
        raise ValueError(
            "there are too few recordings for a probe: at least 5 are needed, and of several windows of long "
            "recordings enough must remain without one of the recordings."
        )
    if args.json is not None:
        write_result(args.json, json.dumps(probe_record(probes), indent=2) + "\n")
    table = sys.stderr if standard_stream(args.json) is sys.stdout else sys.stdout
    print("\n".join(probe_lines(probes)), file=table)


def _stored(args: argparse.Namespace) -> "dict[str, MachineProbe]":
    """What was found when the detector was fitted."""
    from ..detection.probing.record import read_probe
    from ..folders import read_whole
    from ..hub.manifest import DETECTOR_FOLDER
    from ..hub.transfer import resolve_detector

    probes = read_whole(resolve_detector(args.detector, args.revision), DETECTOR_FOLDER, read_probe)
    if not probes:
        raise ValueError(
            f"{args.detector}: was fitted without a probe. Give the folder of its normal recordings: hf-asd probe "
            f"{args.detector} FOLDER."
        )
    return probes


def _probe(args: argparse.Namespace) -> "dict[str, MachineProbe]":
    from ..data.folder import read_folder
    from ..detection.probing.probe import choose_rows, probe, windows_to_probe

    detector = load_detector(args)
    machine = recorded_machine(args, detector)
    content = read_folder(args.recordings, machine, on_bad_audio=args.on_bad_audio)
    if not len(content.dataset["train"]):
        raise ValueError(f"{content.summary.name}: holds no normal recordings to put faults into.")
    rows = choose_rows(detector, content.dataset["train"])
    windows, skipped = windows_to_probe(detector, rows, args.on_bad_audio)
    print_skipped([*content.summary.problems, *skipped])
    return probe(detector, windows)
