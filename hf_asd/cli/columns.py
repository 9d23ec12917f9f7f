"""What `hf-asd score` prints and writes about each recording."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..audio.clock import span_text
from ..detection.decision_rows import FILE
from ..detection.decision_words import UNUSUAL, as_high, reason_texts


if TYPE_CHECKING:
    from ..detection.events.plant import MachineSummary


@dataclass(frozen=True)
class Column:
    """
    A column of the printed table.

    Args:
        heading (`str`): printed above it.
        field (`str`): of [`~hf_asd.detection.decision.Decision`].
        width (`int`): in characters.
        format (`str`): of the value, as for `format`.
    """

    heading: str
    field: str
    width: int
    format: str


# To add a column that is printed, add a line; CSV and JSON have every field of a decision, behind `file`.
PRINTED = (
    Column("score", "anomaly_score", 9, ".4g"),
    Column("threshold", "threshold", 9, ".4g"),
    Column("p-value", "p_value", 7, ".3f"),
)
DECISION_WORDS = {True: "ANOMALY", False: "normal"}


def table_lines(rows: list[dict], explain: bool) -> list[str]:
    """
    The printed table.

    Args:
        rows (`list[dict]`): fields of decisions, and `file`.
        explain (`bool`): whether reasons were asked for; they are printed below each recording.
    """
    width = max([len(row[FILE]) for row in rows] + [len(FILE)])
    headings = "  ".join(f"{column.heading:>{column.width}}" for column in PRINTED)
    lines = [f"{FILE:<{width}}  {headings}  decision"]
    for row in rows:
        values = "  ".join(f"{row[column.field]:{column.width}{column.format}}" for column in PRINTED)
        abstains = row["abstain_reason"] is not None
        lines.append(f"{row[FILE]:<{width}}  {values}  {_decision_text(row)}")
        if explain and not abstains:
            lines += [f"    {line}" for line in _reason_lines(row)]
    return lines


def machine_lines(machines: "Sequence[MachineSummary]") -> list[str]:
    """The machines of a run, the most urgent first."""
    has_rate = any(one.adjusted_p_value is not None for one in machines)
    width = max([len(one.machine) for one in machines] + [len("machine")])
    heading = f"{'severity':>8}  {'machine':<{width}}  {'anomalous':>11}" + ("  adjusted p" if has_rate else "")
    lines = ["machines, the most urgent first:", f"{heading}  since (UTC)           worst recording"]
    for one in machines:
        share = f"{one.num_anomalies} of {one.num_recordings}"
        rate = "" if one.adjusted_p_value is None else f"  {one.adjusted_p_value:10.2g}"
        since = "" if one.since is None else one.since[:19].replace("T", " ")
        text = f"{one.severity:8d}  {one.machine:<{width}}  {share:>11}{rate}  {since:<20}  {one.worst_file}"
        undecided = f", {one.num_undecided} without a decision" if one.num_undecided else ""
        lines.append(text + ("  FOUND" if one.is_discovery else "") + undecided)
    return lines


def _decision_text(row: dict) -> str:
    """The decision in words; of a recording in windows with the worst of an anomaly, and what was not looked at."""
    if row["abstain_reason"] is not None:
        return f"no decision, {row['abstain_reason']}"
    text = DECISION_WORDS[row["is_anomaly"]] + (" (unusual)" if row["is_unusual"] else "")
    if row["like_fault"] is not None:
        text += f", like the {row['like_fault']}"
    if row["worst_window_start_s"] is None:
        return text
    if row["is_anomaly"]:
        text += f" at {span_text((row['worst_window_start_s'], row['worst_window_end_s']))}"
    text += f" ({row['num_windows']} windows)"
    if row["num_unfit_windows"]:
        text += f"; {row['num_unfit_windows']} of them are unfit, the first at {row['unfit_windows_reason']}"
    return text


def _reason_lines(row: dict) -> list[str]:
    lines = reason_texts(row)
    if row["is_anomaly"]:
        return [*lines, f"nearest normal recording: {row['nearest_clip_id']}"]
    return [f"{UNUSUAL if row['is_unusual'] else 'nothing unusual'}: {as_high(row)}", *lines]
