"""The command `hf-asd score`: one decision a recording."""

import argparse
from dataclasses import fields
from pathlib import Path

from .columns import FILE, table_lines, write_rows_as_csv, write_rows_as_json
from .detectors import add_detector, add_on_bad_audio, load_detector, print_skipped
from .flags import add_flag


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("score", help="score recordings with a detector")
    add_detector(command)
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of recordings")
    add_flag(command, "--csv", Path | None, "also write the result to this CSV file", None)
    add_flag(command, "--json", Path | None, "also write the result to this file, one JSON object a line", None)
    add_flag(command, "--explain", bool, "print what is unusual about each recording that is an anomaly", False)
    add_flag(command, "--fail-on-anomaly", bool, "exit with 1 when an anomaly is found", False)
    add_on_bad_audio(command)
    command.set_defaults(run=score)


def score(args: argparse.Namespace) -> int:
    """Scores recordings with a fitted detector: one line a recording."""
    from datasets import concatenate_datasets

    from ..audio.stored_sound import channel_hint
    from ..data.folder import load_folder
    from ..detection.decision import Decision

    detector = load_detector(args)
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
    print_skipped(skipped)
    if hint := channel_hint(row["abstain_reason"] for row in rows):
        print(hint)
    anomalies = sum(row["is_anomaly"] is True for row in rows)
    undecided = sum(row["is_anomaly"] is None for row in rows)
    without = f", {undecided} without a decision" if undecided else ""
    print(f"{anomalies} of {len(rows)} recordings are anomalous{without}, {len(skipped)} skipped")
    return 1 if anomalies and args.fail_on_anomaly else 0
