"""Follows the sessions of one machine, and says since when they are unlike the earlier ones, and in what."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...data.folder_summary import count
from ..memory_bank import MemoryBank
from .change import Change, describe_change
from .session_test import FEWEST_SESSIONS, PERIOD, RATE, SessionTest, clip_levels


TREND_SESSIONS, TREND_LEVEL = 8, 0.01


@dataclass(frozen=True)
class Session:
    """
    Args:
        name (`str`): such as its day.
        embeddings (`np.ndarray` of shape `(clips, dimensions)`): of its recordings.
        scores (`np.ndarray` of shape `(clips,)`): their anomaly scores.
        are_anomalies (`np.ndarray` of shape `(clips,)`): the decisions, bool.
        num_undecided (`int`, *optional*, defaults to 0): of them without a decision.
    """

    name: str
    embeddings: np.ndarray
    scores: np.ndarray
    are_anomalies: np.ndarray
    num_undecided: int = 0


@dataclass(frozen=True)
class Trend:
    """
    A slow rise of the scores.

    Args:
        since, until (`str`): the first and the last session.
        first, last (`float`): mean over the first and over the last quarter of the sessions of their median scores.
        quarter (`int`): how many sessions that is.
        threshold (`float`): of the machine.
    """

    since: str
    until: str
    first: float
    last: float
    quarter: int
    threshold: float

    def text(self) -> str:
        """In a sentence, with how often it is wrong."""
        place = "below" if self.last <= self.threshold else "up to"
        return (
            f"A slow TREND {place} the threshold: the median score of a session rises from {self.first:.2g} to "
            f"{self.last:.2g} (threshold {self.threshold:.3g}) from {self.since} to {self.until}; wear, dirt or the "
            f"season? (said of at most {100 * TREND_LEVEL:g} % of machines whose scores do not rise)"
        )


@dataclass(frozen=True)
class Drift:
    """
    What is said about the sessions of one machine.

    Args:
        machine (`str`): its name.
        num_earlier (`int`): sessions that the first one without drift was compared with.
        num_sessions, num_recordings (`int`): that were looked at.
        is_drift (`bool`, *optional*): whether some are unlike all before; `None` where there are too few to tell.
        since (`str`, *optional*): the first of them.
        num_sessions_since, num_since, num_anomalies_since, num_undecided_since (`int`): sessions and recordings from
            then on, how many of these are anomalous, and how many have no decision.
        p_value (`float`, *optional*): of the session that raised it, or the lowest one.
        change ([`Change`], *optional*): in what they are unlike.
        trend ([`Trend`], *optional*): a slow rise of the scores.
    """

    machine: str
    num_earlier: int
    num_sessions: int
    num_recordings: int
    is_drift: bool | None
    since: str | None = None
    num_sessions_since: int = 0
    num_since: int = 0
    num_anomalies_since: int = 0
    num_undecided_since: int = 0
    p_value: float | None = None
    change: Change | None = None
    trend: Trend | None = None

    def text(self) -> str:
        """All of it in a sentence or two; what concerns a whole batch comes first."""
        if self.is_drift is None:
            text = (
                f"too few sessions to tell drift: {self.num_earlier} before the last one, at least "
                f"{FEWEST_SESSIONS + 1} are needed"
            )
        elif self.is_drift and self.change is not None:
            undecided = f" and {self.num_undecided_since} without a decision" if self.num_undecided_since else ""
            text = (
                f"DRIFT since {self.since}: {count(self.num_since, 'recording')} of "
                f"{count(self.num_sessions_since, 'session')}, {self.num_anomalies_since} of them anomalous"
                f"{undecided}, are unlike the {self.num_earlier} sessions before: {self.change.text}"
            )
        else:
            text = (
                f"no drift in {count(self.num_sessions, 'session')}, {count(self.num_recordings, 'recording')} "
                f"(without drift it is raised in at most {100 * RATE:g} % of installations in {PERIOD} sessions)"
            )
        if self.trend is None:
            return text
        return f"{text}{'' if text.endswith('?') else '.'} {self.trend.text()}"

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        trend = None if self.trend is None else self.trend.text()
        return asdict(self) | {"trend": trend, "text": self.text()}


class DriftWatch:
    """
    Takes the sessions of a machine in the order of time.

    Args:
        machine (`str`): its name.
        bank ([`MemoryBank`]): its normal clips.

    Raises:
        ValueError: as for [`SessionTest`].
    """

    def __init__(self, machine: str, bank: MemoryBank):
        self.machine, self.threshold = machine, bank.threshold
        self._test = SessionTest(bank)
        self._before = [np.concatenate(self._test.training)]
        self._after: list[Session] = []  # from the drift on
        self._names: list[str] = []
        self._medians: list[float] = []
        self._num_recordings = 0
        self._earlier = self._test.num_sessions
        self._p_value: float | None = None
        self._is_tested = False
        self._last: Session | None = None

    def add(self, session: Session) -> bool:
        """Takes the next session; returns whether drift begins to be raised with it."""
        self._names.append(session.name)
        self._medians.append(float(np.median(session.scores)))
        self._num_recordings += len(session.scores)
        if self._after:
            self._after.append(session)
            return False
        earlier = self._test.num_sessions
        result = self._test.add(clip_levels(session.embeddings))
        self._is_tested = self._is_tested or result.p_value is not None
        if result.p_value is not None and (self._p_value is None or result.p_value < self._p_value):
            self._p_value = result.p_value
        if not result.is_drift:
            if self._last is not None:
                self._before.append(clip_levels(self._last.embeddings))
            self._last, self._earlier = session, earlier
            return False
        begun = [self._last] if result.num_sessions == 2 and self._last is not None else []
        if not begun and self._last is not None:
            self._before.append(clip_levels(self._last.embeddings))
        self._after, self._earlier = [*begun, session], earlier + 1 - result.num_sessions
        return True

    def result(self) -> Drift:
        """What the sessions so far say."""
        after = self._after
        anomalous = sum(int(one.are_anomalies.sum()) for one in after)
        change = None
        if after:
            levels = np.concatenate([clip_levels(one.embeddings) for one in after])
            change = describe_change(np.concatenate(self._before), levels)
        return Drift(
            machine=self.machine,
            num_earlier=self._earlier,
            num_sessions=len(self._names),
            num_recordings=self._num_recordings,
            is_drift=True if after else False if self._is_tested else None,
            since=after[0].name if after else None,
            num_sessions_since=len(after),
            num_since=sum(len(one.scores) for one in after),
            num_anomalies_since=anomalous,
            num_undecided_since=sum(one.num_undecided for one in after),
            p_value=self._p_value,
            change=change,
            trend=find_trend(self._names, self._medians, self.threshold),
        )


def find_trend(names: Sequence[str], medians: Sequence[float], threshold: float) -> Trend | None:
    """
    A rise of the scores from session to session, below the threshold (H. B. Mann 1945, "Nonparametric tests against
    trend": Kendall's tau with time, at 1 %); `None` where there is none.

    Args:
        names (`Sequence[str]`): of the sessions, in the order of time.
        medians (`Sequence[float]`): of the scores of each session.
        threshold (`float`): of the machine.
    """
    if len(medians) < TREND_SESSIONS or medians[-1] > threshold:
        return None
    from scipy.stats import kendalltau

    found: Any = kendalltau(np.arange(len(medians)), medians, alternative="greater")
    if not (found.statistic > 0 and found.pvalue < TREND_LEVEL):
        return None
    quarter = max(1, len(medians) // 4)
    first, last = float(np.mean(medians[:quarter])), float(np.mean(medians[-quarter:]))
    return Trend(names[0], names[-1], first, last, quarter, threshold)
