"""Drift in what `monitor` decides about, day by day."""

from datetime import date, datetime

import numpy as np

from ..decision import Decision
from ..detector import AnomalyDetector
from ..drift.recordings import UNFIT
from ..drift.watch import Drift, DriftWatch, Session


SECONDS_APART = 600.0  # between windows that are kept: 144 a day, so that memory stays bounded
SEVERITY = 400  # of drift: medium


class DayWatch:
    """
    Collects the windows of a machine day by day (UTC), and compares each day with those before.

    Args:
        detector ([`AnomalyDetector`]): with band statistics.
        machine (`str`): the machine.
    """

    def __init__(self, detector: AnomalyDetector, machine: str):
        self.detector, self.watch = detector, DriftWatch(machine, detector.machines[machine])
        self._day: date | None = None
        self._last: datetime | None = None
        self._embeddings: list[np.ndarray] = []
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
        found = self.close() if self._day is not None and time.date() > self._day else None
        self._day = time.date() if self._day is None else max(self._day, time.date())
        is_unfit = decision.abstain_reason is not None and decision.abstain_reason.startswith(UNFIT)
        is_soon = self._last is not None and 0 <= (time - self._last).total_seconds() < SECONDS_APART
        if is_unfit or is_soon:
            return found
        self._last = time
        self._embeddings.append(self.detector.encoder([self.detector.read(samples, rate).samples])[0])
        self._scores.append(decision.anomaly_score)
        self._anomalies.append(decision.is_anomaly is True)
        return found

    def close(self) -> Drift | None:
        """Compares the day so far with those before; [`Drift`] where it begins to be unlike them."""
        if not self._embeddings or self._day is None:
            return None
        session = Session(
            self._day.isoformat(), np.stack(self._embeddings), np.array(self._scores), np.array(self._anomalies)
        )
        self._embeddings, self._scores, self._anomalies, self._day = [], [], [], None
        return self.watch.result() if self.watch.add(session) else None


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
