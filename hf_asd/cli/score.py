"""The command `hf-asd score`: one decision a recording."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection.config import MonitorConfig
from ..detection.decision_rows import FILE, rows_as_csv, rows_as_json
from .columns import machine_lines, table_lines
from .detectors import (
    add_detector,
    add_false_alarm_rate,
    add_machines,
    add_on_bad_audio,
    add_precision,
    add_window_seconds,
    check_known_machines,
    check_machines,
    load_to_score,
    print_skipped,
    read_recordings,
)
from .exit_codes import ANOMALY, DONE, NO_DECISION
from .flags import add_flag, flag_names
from .results import check_results, standard_stream, write_result
from .shaft import add_shaft, check_shaft, read_shafts, with_orders
from .shards import add_output, are_shards, score_into_shards


if TYPE_CHECKING:
    from ..detection.detector import AnomalyDetector
    from ..detection.events.plant import MachineSummary


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("score", help="score recordings with a detector")
    add_detector(command)
    add_false_alarm_rate(command)
    add_precision(command)
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of recordings")
    add_output(command)
    add_flag(command, "--csv", Path | None, "also write the result to this CSV file; -: to standard output", None)
    add_flag(
        command,
        "--json",
        Path | None,
        "also write the result to this file, one JSON object a line; -: to standard output",
        None,
    )
    add_flag(
        command,
        "--report",
        Path | None,
        "also write a page (HTML) with spectrograms and sound of the most anomalous recordings, to hand on or print",
        None,
    )
    add_flag(command, "--explain", bool, "print what is unusual about each recording that is an anomaly", False)
    add_flag(
        command,
        "--start",
        str | None,
        "when the recording began, as a date with a time (ISO 8601; local time where it has no offset); for one "
        "recording; none: the time in the file's name, else when it was last modified",
        None,
    )
    add_shaft(command, of_tables=True)
    add_machines(command)
    add_flag(
        command,
        "--fdr",
        float | None,
        "accepted share of false ones among the machines that are found in this run (Benjamini-Hochberg); then they "
        "alone count for --fail-on-anomaly; none: each recording counts by itself",
        None,
        above=0,
        below=1,
    )
    text = f"exit with {ANOMALY} when an anomaly is found, else with {NO_DECISION} when a recording has no decision"
    add_flag(command, "--fail-on-anomaly", bool, text, False)
    add_window_seconds(
        command,
        "recordings of at least twice this length in seconds are judged in windows of this length; auto: the length "
        "of the training recordings; none: whole recordings",
    )
    add_on_bad_audio(command)
    command.set_defaults(run=score)


def score(args: argparse.Namespace) -> int:
    """Scores recordings with a fitted detector: one line a recording."""
    from ..audio.stored_sound import channel_hint
    from ..distributed import partial_state

    if args.output is not None or are_shards(args.recordings):
        return score_into_shards(args)
    check_results(args, "csv", "json", "report")
    if standard_stream(args.report) is not None:
        raise ValueError(f"--report is {args.report}; give a file, such as report.html.")
    check_machines(args)
    result = _decide(args)
    rows, skipped = result.rows, result.skipped
    machines, about_machines = _summarize(args, rows, result.detector)
    counts = Counter(row["is_anomaly"] for row in rows)
    code = _exit_code(args, counts, skipped, machines)
    if not partial_state().is_main_process:
        return code
    if not rows:
        print_skipped(skipped)
        raise ValueError(f"none of the {len(skipped)} recordings can be used, so that nothing was decided.")
    problems = [*_written(args.json, rows_as_json(rows)), *_written(args.csv, rows_as_csv(rows, result.names))]
    if args.report is not None:
        problems += _problem(args.report, result.write_page)
    # A result on standard output is for a program: it stands there alone.
    table = sys.stderr if sys.stdout in (standard_stream(args.csv), standard_stream(args.json)) else sys.stdout
    print("\n".join(table_lines(rows, args.explain)), file=table)
    print_skipped(skipped)
    if hint := channel_hint(row["abstain_reason"] for row in rows):
        print(hint, file=table)
    without = f", {counts[None]} without a decision" if counts[None] else ""
    unusual = sum(row["is_unusual"] is True for row in rows)
    if unusual:
        without = f", {unusual} unusual but not enough for an alarm{without}"
    print(f"{counts[True]} of {len(rows)} recordings are anomalous{without}, {len(skipped)} skipped", file=table)
    if about_machines:
        print("\n".join(about_machines), file=table)
    if problems:
        raise OSError("\n".join(problems))
    return code


def _exit_code(args: argparse.Namespace, counts: Counter, skipped: list[str], machines: "list[MachineSummary]") -> int:
    found = counts[True] if args.fdr is None else sum(one.is_discovery is True for one in machines)
    if not args.fail_on_anomaly or not (found or counts[None] or skipped):
        return DONE
    return ANOMALY if found else NO_DECISION


def _summarize(
    args: argparse.Namespace, rows: list[dict], detector: "AnomalyDetector"
) -> "tuple[list[MachineSummary], list[str]]":
    """The machines of the run, the most urgent first, and lines about them where they are several."""
    from ..detection.events.plant import control_false_discoveries, explain_false_discoveries, machine_summaries

    machines, explained = machine_summaries(rows, detector.machines), []
    if args.fdr is not None:
        machines = control_false_discoveries(machines, detector.machines, args.fdr)
        explained = [explain_false_discoveries(machines, detector.machines, args.fdr)]
    return machines, [*(machine_lines(machines) if len(machines) > 1 else []), *explained]


@dataclass
class _Result:
    """
    Args:
        rows (`list[dict]`): file and decision of each recording, with its event.
        names (`list[str]`): of their fields.
        skipped (`list[str]`): a message for each recording that was left out.
        detector ([`~hf_asd.AnomalyDetector`]): the one that decided.
        write_page (`Callable`): writes the report.
    """

    rows: list[dict]
    names: list[str]
    skipped: list[str]
    detector: "AnomalyDetector"
    write_page: Callable[[], object]


def _decide(args: argparse.Namespace) -> _Result:
    from ..data.recording_time import durations, parse_time
    from ..data.speeds import speed_of
    from ..detection.decision import Decision
    from ..detection.events.recordings import LINE_FIELDS, add_events

    check_shaft(args, args.explain)
    with flag_names(MonitorConfig):
        start = None if args.start is None else parse_time(args.start)
    detector = load_to_score(args)
    content = read_recordings(args, detector)
    ignored = content.summary.ignored_line()
    if ignored is not None:
        print(ignored, file=sys.stderr)
    dataset = content.dataset["test"]
    check_known_machines(args, content, detector)
    shafts = read_shafts(args, args.explain, [speed_of(attributes) for attributes in dataset["attributes"]])
    shaft_of = dict(zip(dataset["clip_id"], shafts, strict=True))
    if start is not None and len(dataset) > 1:
        raise ValueError(f"--start is given for {len(dataset)} recordings; it is for one. Put times into their names.")
    scored, skipped = detector.score_recordings(
        dataset,
        explain=args.explain,
        on_bad_audio=args.on_bad_audio,
        window_seconds=args.window_seconds,
    )
    skipped = [*content.summary.problems, *skipped]
    names = [FILE, *(field.name for field in fields(Decision))]
    columns = scored.select_columns(["audio", *names[1:]])
    rows = [{FILE: row["audio"]["path"], **{name: row[name] for name in names[1:]}} for row in columns.to_list()]

    rows = [with_orders(row, shaft_of[clip_id]) for row, clip_id in zip(rows, scored["clip_id"], strict=True)]
    rows = add_events(rows, detector, args.detector, durations(dataset), start)

    def write_page() -> None:
        from datasets import Dataset, Features, Value

        from ..data.schema import side_by_side
        from ..reporting.report import ReportContent, write_report

        title = f"{', '.join(sorted(set(scored['machine'])))}: new recordings"
        told = Features({name: Value("string") for name in ("time", "time_from")})
        told |= {"reasons": scored.features["reasons"]}  # with orders
        columns = Dataset.from_dict({name: [row[name] for row in rows] for name in told}, features=Features(told))
        shown = side_by_side(scored.remove_columns("reasons"), columns)
        write_report(args.report, ReportContent(title=title, test=shown, detector=detector, skipped=skipped))

    return _Result(rows, [*names, *LINE_FIELDS], skipped, detector, write_page)


def _written(path: Path | None, text: str) -> list[str]:
    """Writes a result; a problem is returned, so that the other results are not lost."""
    return [] if path is None else _problem(path, lambda: write_result(path, text))


def _problem(path: Path, write: Callable[[], object]) -> list[str]:
    try:
        write()
    except OSError as error:
        if standard_stream(path) is not None:
            raise
        return [str(error) if str(path) in str(error) else f"{path}: cannot be written ({error})"]
    return []
