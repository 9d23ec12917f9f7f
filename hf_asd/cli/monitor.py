"""The command `hf-asd monitor`: decisions about a growing file, a folder or a pipe."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator

from ..detection.alarm import AlarmPolicy
from ..detection.config import MonitorConfig
from .detectors import add_detector, load_detector
from .flags import add_options, build_config


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("monitor", help="decide about a growing file, folder or pipe, window by window")
    add_detector(command)
    command.add_argument("source", help="a recording, a folder, or - for raw PCM (16 bit, little endian) from a pipe")
    add_options(command, MonitorConfig)
    add_options(command, AlarmPolicy)
    command.set_defaults(run=monitor)


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

    return _print_lines(decide(load_detector(args), args.source, config, policy, machine=args.machine))


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
