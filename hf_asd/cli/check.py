"""The command `hf-asd check`: whether recordings are good enough, before many more are made."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio.channels import Channel
from .exit_codes import BAD_INPUT, DONE
from .flags import add_flag
from .results import check_results, standard_stream, write_result


if TYPE_CHECKING:
    from ..detection.recording_check.check import CheckedRecording

MOST_LINES = 40  # recordings that are listed; of more, the good ones are counted


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("check", help="check the microphone: are recordings good enough, and what to change")
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of recordings")
    add_flag(command, "--channel", Channel, "the channel to listen to, or what is made of several", 0, at_least=0)
    add_flag(
        command,
        "--json",
        Path | None,
        "also write what was measured to this file, one JSON object a line; -: to standard output",
        None,
    )
    command.epilog = (
        f"Exit codes: {DONE} every recording is good or usable; {BAD_INPUT} one should be recorded again, or "
        "cannot be read. Speech in the background is only noticed where it is about as loud as the machine: listen to "
        "a few."
    )
    command.set_defaults(run=check)


def check(args: argparse.Namespace) -> int:
    """Checks recordings: a line each, what to change, and what they have in common."""
    from ..data.folder import read_folder
    from ..detection.recording_check.check import check_recordings
    from ..detection.recording_check.verdicts import folder_remarks

    check_results(args, "json")
    content = read_folder(args.recordings, on_bad_audio="skip", to_score=True)
    checked = list(check_recordings(content.dataset["test"], args.channel))
    if args.json is not None:
        lines = [json.dumps(one.to_dict(), ensure_ascii=False) for one in checked]
        write_result(args.json, "\n".join(lines) + "\n")
    table = sys.stderr if standard_stream(args.json) is sys.stdout else sys.stdout
    together = folder_remarks([one.quality for one in checked if one.quality is not None])
    lines = [*_lines(checked), *(f"{'note' if one.verdict == 'good' else 'all'}: {one.text}" for one in together)]
    print("\n".join([*lines, *(f"cannot be read: {problem}" for problem in content.summary.problems)]), file=table)
    counts = Counter(one.verdict for one in checked)
    counts["record again"] += len(content.summary.problems)
    words = {"good": "good", "usable": "usable", "record again": "to be recorded again"}
    total = f"{counts.total()} recording{'s' * (counts.total() != 1)}"
    print(f"{total}: {', '.join(f'{counts[verdict]} {text}' for verdict, text in words.items())}", file=table)
    return BAD_INPUT if counts["record again"] else DONE


def _lines(checked: "list[CheckedRecording]") -> list[str]:
    shown = checked if len(checked) <= MOST_LINES else [one for one in checked if one.verdict != "good"]
    if not shown:
        return []
    width = max(len(one.name) for one in shown)
    lines = [f"{'file':<{width}}   level    peak   floor  verdict   (dB of full scale)"]
    for one in shown:
        quality = one.quality
        values = " " * 22
        if quality is not None:
            values = "".join(f"{value:8.1f}" for value in (quality.level_db, quality.peak_db, quality.floor_db))[1:]
        lines.append(f"{one.name:<{width}}  {values.strip():>22}  {one.verdict}")
        lines += [f"    {text}" for text in ([one.error] if one.error else [remark.text for remark in one.remarks])]
    return lines
