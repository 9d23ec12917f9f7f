"""The command `hf-asd monitor`: decisions about a growing file, a folder or a pipe."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.folder_summary import count
from ..detection.alarm import AlarmPolicy
from ..detection.config import MonitorConfig
from .detectors import add_detector, add_false_alarm_rate, add_precision, load_to_score
from .exit_codes import BAD_INPUT, DONE, INTERRUPTED
from .flags import add_flag, add_options, build_config, flag_names
from .shaft import add_shaft, read_shaft, with_orders


if TYPE_CHECKING:
    from ..detection.monitoring.mqtt import MqttPublisher


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("monitor", help="decide about a growing file, folder or pipe, window by window")
    add_detector(command)
    add_false_alarm_rate(command)
    add_precision(command)
    command.add_argument("source", help="a recording, a folder, or - for a pipe with WAV, FLAC or raw samples")
    add_flag(
        command,
        "--mqtt",
        str | None,
        "also publish each line to this MQTT broker, HOST[:PORT]/TOPIC, as TOPIC/MACHINE; with --state a recording "
        "counts as decided when the broker has all its lines",
        None,
    )
    add_shaft(command)
    add_options(command, MonitorConfig)
    add_options(command, AlarmPolicy)
    command.set_defaults(run=monitor)


# Options of `MonitorConfig` by the kinds of source that use them.
USED_BY = {
    "sampling_rate": ("a pipe",),
    "channels": ("a pipe",),
    "sample_format": ("a pipe",),
    "wait_seconds": ("a file", "a folder"),
    "settle_seconds": ("a file", "a folder"),
    "subfolders": ("a folder",),
    "state": ("a folder",),
    "machines": ("a folder",),
    "start": ("a pipe", "a file"),
}


def monitor(args: argparse.Namespace) -> int:
    """Decides about a growing file, a folder or a pipe, one JSON object a window."""
    config, policy = build_config(args, MonitorConfig), build_config(args, AlarmPolicy)
    kind = "a pipe" if args.source == "-" else "a folder" if Path(args.source).is_dir() else "a file"
    for name, kinds in USED_BY.items():
        if hasattr(args, name) and kind not in kinds:
            raise ValueError(
                f"--{name.replace('_', '-')} is given, but it would not be used: it is for {' and '.join(kinds)}, and "
                f"{args.source} is {kind}. Leave it out."
            )
    if hasattr(args, "settle_seconds") and not config.wait_seconds:
        raise ValueError("--settle-seconds is given, but it would not be used: add --wait-seconds.")
    from ..detection.monitoring.monitor import monitor as decide
    from ..detection.monitoring.mqtt import MqttPublisher, MqttTarget

    target = None if args.mqtt is None else MqttTarget.parse(args.mqtt)
    shaft = read_shaft(args, config.explain)
    with flag_names(MonitorConfig):
        lines = decide(load_to_score(args), args.source, config, policy, machine=args.machine, name=args.detector)
        lines = (with_orders(line, shaft) for line in lines)
        if target is None:
            return _print_lines(lines)
        publisher = MqttPublisher(target)
        code = _print_lines(_published(lines, publisher, wait=config.state is not None))
    if lost := publisher.close():
        print(f"{lost} lines were not delivered to {target}; they are on standard output only.", file=sys.stderr)
        return code or BAD_INPUT
    return code


def _published(lines: Iterator[dict], publisher: "MqttPublisher", wait: bool) -> Iterator[dict]:
    """The lines, each of which is published behind its being printed."""
    for line in lines:
        yield line
        publisher.publish(line, wait)


def _print_lines(lines: Iterator[dict]) -> int:
    """
    Prints one JSON object a line, and a summary on standard error; Ctrl+C ends it.

    Returns:
        `int`, the exit code: 0 done, 2 something could not be read or nothing was decided, 130 stopped by Ctrl+C.
    """
    counts, code = Counter(), None
    latest: dict[str, dict] = {}  # by machine the last line of the most severe of its events
    try:
        for line in lines:
            _keep_worst(latest, line)
            counts.update(name for name, is_so in _kinds(line).items() if is_so)
            print(_as_json(line), flush=True)
    except KeyboardInterrupt:
        code = INTERRUPTED
    summary = [count(counts["window"], "window"), count(counts["anomaly"], "anomaly")]
    summary += [f"{counts['undecided']} undecided", count(counts["alarm"], "alarm"), count(counts["error"], "error")]
    summary += [count(counts["drift"], "drift")] * (counts["drift"] > 0)
    print(", ".join(summary), file=sys.stderr)
    print("\n".join(_by_urgency(latest) if len(latest) > 1 else []), end="\n" * (len(latest) > 1), file=sys.stderr)
    return code or (BAD_INPUT if counts["error"] or not counts["window"] else DONE)


def _kinds(line: dict) -> dict[str, bool]:
    """What a line counts as in the summary."""
    return {
        "window": "end_s" in line and "error" not in line,
        "anomaly": line.get("is_anomaly") is True,
        "undecided": line.get("abstain_reason") is not None,
        "alarm": line.get("event") == "raised",
        "error": "error" in line,
        "drift": "drift" in line,
    }


def _keep_worst(latest: dict[str, dict], line: dict) -> None:
    machine = line["machine"]
    if machine is not None and (machine not in latest or line["severity"] >= latest[machine]["severity"]):
        latest[machine] = {name: line.get(name) for name in ("machine", "severity", "since", "source", "time")}


def _by_urgency(latest: dict[str, dict]) -> list[str]:
    """A line for each machine, the most urgent first."""
    rows = sorted(latest.values(), key=lambda row: (-row["severity"], row["machine"]))
    lines = ["machines, the most urgent first:"]
    for row in rows:
        since = f", alarm since {row['since'][:19].replace('T', ' ')} UTC" if row["since"] else ""
        lines.append(f"{row['severity']:4d}  {row['machine']}: {row['source']}{since}")
    return lines


def _as_json(line: dict) -> str:
    """As readable as the encoding of standard output allows."""
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a name that is not UTF-8, or a terminal that is not
        text = json.dumps(line)
    return text
