"""Drift in what `monitor` decides about, day by day."""

import base64
from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from ..decision import Decision
from ..detector import AnomalyDetector
from ..drift.recordings import UNFIT
from ..drift.session_test import LEVELS
from ..drift.watch import Drift, DriftWatch, Session


SECONDS_APART = 600.0  # between windows that are kept: 144 a day, so that memory stays bounded
SEVERITY = 400  # of drift: medium


class DayWatch:
    """
    Collects the windows of a machine day by day (UTC), and compares each day with those before.

    Args:
        detector ([`AnomalyDetector`]): with band statistics.
        machine (`str`): the machine.

    Attributes:
        changes (`list[dict]`, *optional*): what was added, for [`DayWatch.restore`]; `None`: it is not collected.
    """

    def __init__(self, detector: AnomalyDetector, machine: str):
        self.detector, self.watch = detector, DriftWatch(machine, detector.machines[machine])
        self.changes: list[dict] | None = None
        self._day: date | None = None
        self._last: datetime | None = None
        self._levels: list[np.ndarray] = []
        self._scores: list[float] = []
        self._anomalies: list[bool] = []

    def add(self, decision: Decision, samples: np.ndarray, rate: int, time: datetime) -> Drift | None:
        """
        Args:
            decision ([`Decision`]): about a window.
            samples (`np.ndarray` of shape `(samples,)`): of the channel that was decided about.
            rate (`int`): in Hz.
            time (`datetime`): when the window began.

        Returns:
            [`Drift`] where the day before began to be unlike the earlier ones.
        """
        day = time.date() if self._day is None else max(self._day, time.date())
        found, change = None, {}
        if day != self._day:
            found, change = self._begin(day), {"day": day.isoformat()}
        is_unfit = decision.abstain_reason is not None and decision.abstain_reason.startswith(UNFIT)
        is_soon = self._last is not None and 0 <= (time - self._last).total_seconds() < SECONDS_APART
        if not (is_unfit or is_soon):
            levels = self.detector.encoder([self.detector.read(samples, rate).samples])[0][:LEVELS]
            self._keep(time, levels, decision.anomaly_score, decision.is_anomaly is True)
            change |= {
                "time": time.isoformat(),
                "levels": base64.b64encode(levels.astype("<f4").tobytes()).decode(),
                "score": decision.anomaly_score,
                "is_anomaly": decision.is_anomaly is True,
            }
        if change and self.changes is not None:
            self.changes.append(change)
        return found

    def restore(self, changes: Sequence[dict]) -> None:
        """Goes on where another one was, of which these are all changes; nothing is said again."""
        for change in changes:
            if "day" in change:
                self._begin(date.fromisoformat(change["day"]))
            if "time" in change:
                levels = np.frombuffer(base64.b64decode(change["levels"]), "<f4")
                time = datetime.fromisoformat(change["time"])
                self._keep(time, levels, float(change["score"]), bool(change["is_anomaly"]))

    def close(self) -> Drift | None:
        """Compares the day so far with those before; [`Drift`] where it begins to be unlike them."""
        if not self._levels or self._day is None:
            return None
        name = self._day.isoformat()
        session = Session(name, np.stack(self._levels), np.array(self._scores), np.array(self._anomalies))
        self._levels, self._scores, self._anomalies, self._day = [], [], [], None
        return self.watch.result() if self.watch.add(session) else None

    def _begin(self, day: date) -> Drift | None:
        found = self.close()
        self._day = day
        return found

    def _keep(self, time: datetime, levels: np.ndarray, score: float, is_anomaly: bool) -> None:
        self._last = time
        self._levels.append(levels)
        self._scores.append(score)
        self._anomalies.append(is_anomaly)


def day_watches(detector: AnomalyDetector, machines: list[str]) -> dict[str, DayWatch]:
    """By machine; none where the detector has no band statistics to tell drift by."""
    return {
        machine: DayWatch(detector, machine)
        for machine in machines
        if detector.machines[machine].config.has_statistics
    }


def drift_fields(drift: Drift) -> dict:
    """What a line says about drift."""
    return {
        "drift": drift.text(),
        "drift_since": drift.since,
        "drift_cause": None if drift.change is None else drift.change.cause,
        "severity": SEVERITY,
    }
