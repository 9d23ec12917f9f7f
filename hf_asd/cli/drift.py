"""The command `hf-asd drift`: whether recordings as a whole become unlike the earlier ones."""

import argparse
import json
import sys
from pathlib import Path

from .detectors import (
    add_detector,
    add_machines,
    add_on_bad_audio,
    check_known_machines,
    check_machines,
    load_detector,
    print_skipped,
    read_recordings,
)
from .exit_codes import ANOMALY, DONE
from .flags import add_flag
from .results import check_results, standard_stream, write_result


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("drift", help="tell since when recordings as a whole are unlike the earlier ones")
    add_detector(command)
    command.add_argument(
        "recordings",
        type=Path,
        nargs="+",
        help="folders of recordings of several days; a day or session is judged as one",
    )
    add_machines(command)
    add_flag(command, "--json", Path | None, "also write the result to this file; -: to standard output", None)
    add_flag(command, "--fail-on-drift", bool, f"exit with {ANOMALY} when a machine drifts", False)
    add_on_bad_audio(command)
    command.set_defaults(run=drift)


def drift(args: argparse.Namespace) -> int:
    """Prints for each machine since when its sessions are unlike the earlier ones, and in what."""
    check_results(args, "json")
    check_machines(args)
    from ..detection.drift.recordings import common_cause, find_drift

    detector = load_detector(args)
    content = read_recordings(args, detector)
    check_known_machines(args, content, detector)
    drifts, skipped = find_drift(detector, content.dataset["test"], args.on_bad_audio)
    if args.json is not None:
        write_result(args.json, "".join(f"{json.dumps(one.to_dict())}\n" for one in drifts))
    table = sys.stderr if standard_stream(args.json) is sys.stdout else sys.stdout
    first = common_cause(drifts)
    lines = [] if first is None else [first]
    lines += [f"{one.machine}: {one.text()}" for one in sorted(drifts, key=lambda one: not one.is_drift)]
    print("\n".join(lines), file=table)
    print_skipped([*content.summary.problems, *skipped])
    return ANOMALY if args.fail_on_drift and any(one.is_drift for one in drifts) else DONE
