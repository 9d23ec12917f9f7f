"""What a probe found, in sentences and as a table."""

from collections.abc import Mapping

from .faults import PROBE_FAULTS
from .probe import MachineProbe


SENTENCES = {fault.name: fault.sentence for fault in PROBE_FAULTS}
STRENGTHS = {fault.name: fault.strengths for fault in PROBE_FAULTS}


def probe_sentences(found: MachineProbe) -> str:
    """
    In plain sentences, such as "Would be heard in half of the recordings or more: a tone at 1 kHz 9 dB above its band,
    3 dB more noise from 2 to 4 kHz. Would not be heard in half of them: a tone at 60 Hz (up to 15 dB)."
    """
    heard = [_heard(one.fault, one.half_db) for one in found.faults if one.half_db is not None]
    missed = [f"{one.fault} (up to {max(STRENGTHS[one.fault]):g} dB)" for one in found.faults if one.half_db is None]
    text = ""
    if heard:
        text = f"Would be heard in half of the recordings or more: {', '.join(heard)}."
    if missed:
        text += f"{' ' if heard else ''}Would not be heard in half of them: {', '.join(missed)}."
    return text


def probe_basis(found: MachineProbe) -> str:
    """What the probe is based on, in a sentence."""
    text = f"Synthetic faults were put into {found.clips} normal recordings"
    if found.own_clips:
        which = "each" if found.own_clips == found.clips else f"{found.own_clips} of them"
        text += f" ({which} judged by a memory bank without it)"
    return f"{text}; as they are, {100 * found.false_alarms:.0f} % of them raise an alarm."


def probe_rows(found: MachineProbe) -> list[tuple[str, str, str]]:
    """For each fault its name, the strength that is heard in half of the recordings, and what was found when."""
    rows = []
    for one in found.faults:
        least = "-" if one.half_db is None else f"{one.half_db:g} dB {one.unit}"
        tried = ", ".join(f"{db} dB: {100 * share:.0f} %" for db, share in one.found.items())
        rows.append((one.fault, least, tried))
    return rows


def probe_lines(probes: Mapping[str, MachineProbe]) -> list[str]:
    """All of it for a terminal."""
    lines = []
    for machine, found in probes.items():
        lines += [f"{machine}: {probe_basis(found)}", probe_sentences(found), ""]
        rows = [("fault", "heard in half of the recordings", "found at"), *probe_rows(found)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines += [f"  {name:<{widths[0]}}  {least:<{widths[1]}}  {tried}" for name, least, tried in rows]
        lines.append("")
    return lines[:-1]


def _heard(fault: str, db: float) -> str:
    # At the weakest that was tried, weaker ones may be heard as well.
    at_most = "at most " if db == min(STRENGTHS[fault]) else ""
    return SENTENCES[fault].format(db=f"{at_most}{db:g}")
