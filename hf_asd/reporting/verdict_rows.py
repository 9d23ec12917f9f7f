"""What people found out about recordings of a machine, and what that says about its new recordings."""

from collections.abc import Sequence
from pathlib import Path

from ..audio.clock import span_text
from ..data.folder_summary import count
from ..data.names import cut_date, date_in
from ..detection.verdicts import Verdict, faults_text, found_faults, is_learned, wrong_alarms
from .machine_rows import MachineRows


MOST_NAMED = 5  # new recordings that are like a fault


def verdict_content(machine: MachineRows) -> dict | None:
    """
    What the template shows about verdicts.

    Args:
        machine ([`~hf_asd.reporting.machine_rows.MachineRows`]): the machine.

    Returns:
        `dict` or `None`: `sentences`, and `rows` of the verdicts, the latest day first: `day`, `finding`, `words`,
        `file`, `then` and `now` (what was and what would be decided) and `alike` (other new recordings that are like
        the fault); `None` where there are no verdicts.
    """
    detector = machine.detector
    if detector is None or machine.bank is None:
        return None
    verdicts = [verdict for verdict in detector.verdicts if verdict.machine == machine.name]
    if not verdicts:
        return None
    faults, normal = found_faults(detector, machine.name), wrong_alarms(detector, machine.name)
    now = {id(verdict): _decided(is_found, score) for verdict, score, is_found in (*faults, *normal)}
    sentences = [_capital(faults_text(faults))] if faults else []
    if normal:
        learned = sum(is_learned(detector, verdict) for verdict, _, _ in normal)
        sentences.append(_normal_text(len(normal), learned))
    rows = []
    for verdict in verdicts:
        day, words = _day_and_words(verdict)
        then = _decided(verdict.is_anomaly, verdict.anomaly_score)
        decided = now.get(id(verdict), "not known: another encoder")
        rows.append(
            {
                "day": day,
                "is_fault": verdict.finding == "fault",
                "finding": _finding(verdict),
                "words": words,
                "file": verdict.file + _window(verdict),
                "then": then,
                "now": "the same" if decided == then else decided,
                "alike": _alike(verdict, machine.test) if verdict.finding == "fault" else "",
            }
        )
    rows.sort(key=lambda row: row["day"], reverse=True)
    return {"sentences": sentences, "rows": rows, "has_new": bool(machine.test)}


def _day_and_words(verdict: Verdict) -> tuple[str, str]:
    """The day that the words name, else that of the recording; and the words without it."""
    day = date_in(verdict.words)
    return (verdict.session, verdict.words) if day is None else (day.isoformat(), cut_date(verdict.words))


def _finding(verdict: Verdict) -> str:
    if verdict.finding == "fault":
        return "confirmed fault"
    return "wrong alarm" if verdict.is_anomaly else "normal"


def _window(verdict: Verdict) -> str:
    if verdict.start_s is None or verdict.end_s is None:
        return ""
    return f" at {span_text((verdict.start_s, verdict.end_s))}"


def _decided(is_anomaly: bool, score: float) -> str:
    return f"{'alarm' if is_anomaly else 'no alarm'}, score {score:.3g}"


def _normal_text(number: int, learned: int) -> str:
    what = f"{count(number, 'recording')} {'was' if number == 1 else 'were'} said to be normal"
    if learned == number:
        return f"{what}; the detector has learned from {'it' if number == 1 else 'them'}."
    rest = "it counts" if number - learned == 1 else f"{number - learned} of them count"
    if learned == 0 and number > 1:
        rest = "they count"
    return f"{what}; {rest} as normal at the next hf-asd fit --add."


def _alike(verdict: Verdict, rows: Sequence[dict]) -> str:
    """The new recordings that are like a fault, in the order of urgency, without that of the verdict."""
    files = [Path(row["audio"]["path"] or row["clip_id"]).name for row in rows if row["like_fault"] == verdict.name]
    files = [file for file in files if file != verdict.file]
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return ", ".join(files[:MOST_NAMED]) + more if files else "none"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
