"""Which decisions about one machine belong to one event, from raised to cleared, and how severe it is."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import numpy as np

from ...data.recording_time import time_text
from ..alarm import AlarmPolicy
from ..memory_bank import MemoryBank
from .severity import NO_DECISION, NOTHING, UNUSUAL, alarm_severity, anomaly_severity, deviation_part


NAMESPACE = UUID("5f2d7f0c-6a53-4a8e-9a35-0f2b8a0f3c11")  # of this package's events


class EventTracker:
    """
    Follows the decisions about one machine in the order of time.

    Args:
        machine (`str`): its name.
        bank ([`MemoryBank`]): its normal clips, for p-values that go on beyond the highest normal score.
        policy ([`AlarmPolicy`]): when decisions become an alarm.
        version (`str`): of the detector; events of another version have other ids.
    """

    def __init__(self, machine: str, bank: MemoryBank, policy: AlarmPolicy, version: str):
        self.machine, self.bank, self.policy, self.version = machine, bank, policy, version
        self.event_id: str | None = None
        self.since: datetime | None = None
        self._deviation = 0.0
        self._last: deque[datetime | None] = deque(maxlen=policy.of_last)  # when the anomalous ones of the last began

    def update(self, decision: Mapping[str, Any], time: datetime, seconds: float) -> dict:
        """
        Args:
            decision (`Mapping[str, Any]`): the fields of the next [`~hf_asd.detection.decision.Decision`].
            time (`datetime`): when its sound began.
            seconds (`float`): how long its sound is.

        Returns:
            `dict`: `alarm` (whether one is active), `event` (`"raised"`, `"cleared"` or `None`), `event_id` (the same
            from raised to cleared), `since` (when the first of the anomalous sound began that the alarm follows from)
            and `severity` (0 to 1000).
        """
        event = self.policy.update(decision["is_anomaly"])
        if decision["is_anomaly"] is not None:
            self._last.append(time if decision["is_anomaly"] else None)
        deviation = 0.0
        if decision["is_anomaly"]:
            p_value = float(self.bank.tail.p_values(np.array([decision["anomaly_score"]]))[0])
            deviation = deviation_part(p_value, self.bank.false_alarm_rate)
        if event == "raised":
            self.since = next(begun for begun in self._last if begun is not None)
            self.event_id = str(uuid5(NAMESPACE, f"{self.version}/{self.machine}/{time_text(self.since)}"))
            self._deviation = 0.0
        event_id, since = self.event_id, self.since
        self._deviation = max(self._deviation, deviation)
        if event == "cleared":
            self.event_id = self.since = None
        return {
            "alarm": self.policy.standing,
            "event": event,
            "event_id": event_id,
            "since": None if since is None else time_text(since),
            "severity": self._severity(decision, deviation, time + timedelta(seconds=seconds)),
        }

    def _severity(self, decision: Mapping[str, Any], deviation: float, end: datetime) -> int:
        if self.since is not None:
            return alarm_severity(self._deviation, (end - self.since).total_seconds())
        if decision["is_anomaly"] is None:
            return NO_DECISION
        if decision["is_anomaly"]:
            return anomaly_severity(deviation)
        return UNUSUAL if decision["is_unusual"] else NOTHING

    def state(self) -> dict:
        """Plain values that [`EventTracker.restore`] takes."""
        return {
            "policy": self.policy.state(),
            "event_id": self.event_id,
            "since": None if self.since is None else self.since.isoformat(),
            "deviation": self._deviation,
            "last": [None if begun is None else begun.isoformat() for begun in self._last],
        }

    def restore(self, state: dict) -> None:
        """Goes on where another tracker of this machine was, with the same event where an alarm stands."""
        self.policy.restore(state["policy"])
        self.event_id, self._deviation = state["event_id"], float(state["deviation"])
        self.since = None if state["since"] is None else datetime.fromisoformat(state["since"])
        last = [None if begun is None else datetime.fromisoformat(begun) for begun in state["last"]]
        self._last = deque(last, maxlen=self.policy.of_last)
