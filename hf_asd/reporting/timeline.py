"""Scores of a machine over time: its sessions, whether they drift, and a slow trend."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from ..data.recording_time import parse_time, recording_start
from ..detection.drift.recordings import UNFIT
from ..detection.drift.watch import Drift, DriftWatch, Session, Trend, find_trend
from ..detection.learning import in_order
from ..detection.memory_bank import MemoryBank
from ..plotting.style import THEMES, styled, svg
from ..plotting.timeline import SessionColumn, TrendLine, timeline_figure
from .machine_rows import MachineRows


UNKNOWN_SESSION = "day not known"


@dataclass(frozen=True)
class Timeline:
    """
    Args:
        image (`str`): an SVG as a data URI.
        num_normal, num_new (`int`): sessions that are shown.
        num_undecided (`int`): recordings without a decision that are drawn.
        drift ([`Drift`], *optional*): `None` where it cannot be told.
        trend ([`Trend`], *optional*): a slow rise of the scores below the threshold.
    """

    image: str
    num_normal: int
    num_new: int
    num_undecided: int
    drift: Drift | None
    trend: Trend | None

    @property
    def sentences(self) -> list[str]:
        """What there is to say about drift and trend."""
        texts = [] if self.drift is None else [replace(self.drift, trend=None).text()]
        texts += [] if self.trend is None else [self.trend.text()]
        return [_sentence(text) for text in texts]

    @property
    def first_sentence(self) -> str | None:
        """What has to be said before all results: that recordings drift or rise; `None` where they do not."""
        is_drift = self.drift is not None and self.drift.is_drift
        return self.sentences[0 if is_drift else -1] if is_drift or self.trend is not None else None


def make_timeline(machine: MachineRows) -> Timeline | None:
    """
    The sessions of a machine, where they are known.

    Args:
        machine ([`~hf_asd.reporting.machine_rows.MachineRows`]): its rows; `session` is read, and `time` where the
            user said when the recording began.

    Returns:
        [`Timeline`] or `None`: the sessions of the recordings are not known, or there is a single one.
    """
    bank = machine.bank
    if bank is None or not len(bank.normal_scores):
        return None
    normal = _normal_columns(bank)
    sessions = _new_sessions(machine.test)
    if (machine.test and all(name == UNKNOWN_SESSION for name, _ in sessions)) or len(normal) + len(sessions) < 2:
        return None
    drift, trend = _changes(machine.name, bank, sessions)
    new = [_new_column(name, rows) for name, rows in sessions]
    names = [name for name, _ in sessions]
    theme = THEMES["light"]
    with styled(theme):
        figure = timeline_figure(
            normal,
            new,
            bank.threshold,
            theme,
            None if trend is None else _trend_line(trend, names),
            names.index(drift.since) if drift is not None and drift.since in names else None,
        )
        image = svg(figure)
    undecided = sum(row["is_anomaly"] is None for _, rows in sessions for row in _counting(rows))
    return Timeline(image, len(normal), len(new), undecided, drift, trend)


def _normal_columns(bank: MemoryBank) -> list[SessionColumn]:
    """The normal recordings by session, each compared with those of the other sessions."""
    names = bank.sessions or [""] * len(bank.normal_scores)
    scores: dict[str, list[float]] = defaultdict(list)
    for name, score in zip(names, bank.normal_scores.tolist(), strict=False):  # a compact bank has further scores
        scores[name].append(score)
    known = in_order([name for name in scores if name])
    order = ([""] if "" in scores else []) + known
    empty = UNKNOWN_SESSION if known else "normal"
    return [SessionColumn(name or empty, np.array(scores[name])) for name in order]


def _new_sessions(rows: Sequence[dict]) -> list[tuple[str, list[dict]]]:
    """The new recordings by session, in the order of time; those of no known session last."""
    groups: dict[str, list[tuple[datetime | None, dict]]] = defaultdict(list)
    for row in rows:
        time = _time(row)
        groups[_session(row, time)].append((time, row))
    ordered = []
    for name, own in groups.items():
        times = [time for time, _ in own if time is not None]
        sort = sorted(range(len(own)), key=lambda place: (own[place][0] is None, own[place][0] or 0, place))
        ordered.append((name == UNKNOWN_SESSION, min(times).timestamp() if times else 0.0, name, sort))
    return [(name, [groups[name][place][1] for place in sort]) for _, _, name, sort in sorted(ordered)]


def _time(row: dict) -> datetime | None:
    """When a recording began: as the user said, by its name, or when it was last changed."""
    if row.get("time") is not None:
        return parse_time(row["time"])
    path = row["audio"]["path"]
    found = recording_start(path, 0.0) if path else None
    return None if found is None else found[0]


def _session(row: dict, time: datetime | None) -> str:
    if row.get("session"):
        return row["session"]
    is_told = row.get("time_from") == "start" and time is not None
    return time.astimezone().date().isoformat() if is_told and time is not None else UNKNOWN_SESSION


def _counting(rows: Sequence[dict]) -> list[dict]:
    """Those that say something about a session: not silent or clipped ones."""
    return [row for row in rows if row["abstain_reason"] is None or not row["abstain_reason"].startswith(UNFIT)]


def _new_column(name: str, rows: Sequence[dict]) -> SessionColumn:
    own = _counting(rows)
    scores = np.array([row["anomaly_score"] for row in own])
    median = float(np.median(scores)) if len(scores) else None
    return SessionColumn(name, scores, [row["is_anomaly"] for row in own], median)


def _changes(
    machine: str, bank: MemoryBank, sessions: Sequence[tuple[str, list[dict]]]
) -> tuple[Drift | None, Trend | None]:
    """
    Drift and trend as `hf-asd drift` tells them. Drift follows from the embeddings of whole recordings; of long ones
    a report has those of their worst windows only, which say nothing about the usual ones.
    """
    known = [(name, _counting(rows)) for name, rows in sessions if name != UNKNOWN_SESSION]
    known = [(name, rows) for name, rows in known if rows]
    is_whole = all(row["num_windows"] == 1 and row.get("embedding") is not None for _, rows in known for row in rows)
    if not (is_whole and known and bank.config.has_statistics):
        medians = [float(np.median([row["anomaly_score"] for row in rows])) for _, rows in known]
        return None, find_trend([name for name, _ in known], medians, bank.threshold)
    watch = DriftWatch(machine, bank)
    for name, rows in known:
        scores = np.array([row["anomaly_score"] for row in rows])
        anomalies = np.array([row["is_anomaly"] is True for row in rows])
        undecided = sum(row["is_anomaly"] is None for row in rows)
        watch.add(Session(name, np.stack([row["embedding"] for row in rows]), scores, anomalies, undecided))
    drift = watch.result()
    return (None if drift.is_drift is None else drift), drift.trend


def _trend_line(trend: Trend, names: Sequence[str]) -> TrendLine:
    """From the middle of the first quarter of the sessions to that of the last one, as its words say."""
    half = (trend.quarter - 1) / 2
    first, last = names.index(trend.since), names.index(trend.until)
    return TrendLine(first + half, last - half, trend.first, trend.last)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith("?") else ".")
