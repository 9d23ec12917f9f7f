"""What monitor knows of the sound before: alarms that stand and the days so far. A restart goes on with it."""

import logging
from collections.abc import Iterable, Mapping

from ..events.tracker import EventTracker
from .drift import DayWatch


logger = logging.getLogger(__name__)


class MonitorMemory:
    """
    Gives what changed since the last recording, as plain values for a file, and takes all of it back.

    Args:
        trackers (`Mapping[str, EventTracker]`): by machine.
        days (`Mapping[str, DayWatch]`): by machine.
        version (`str`): of the detector. What was kept with another version is not used: its scores mean something
            else.
    """

    def __init__(self, trackers: Mapping[str, EventTracker], days: Mapping[str, DayWatch], version: str):
        self.trackers, self.days, self.version = trackers, days, version
        self._kept = {machine: tracker.state() for machine, tracker in trackers.items()}
        for day in days.values():
            day.changes = []

    def take(self) -> dict:
        """
        What changed since the last time.

        Returns:
            `dict`: empty, or `version`, `events` (by machine the state of its alarm) and `days` (by machine the
            windows that were added to its days).
        """
        states = {machine: tracker.state() for machine, tracker in self.trackers.items()}
        events = {machine: state for machine, state in states.items() if state != self._kept[machine]}
        self._kept = states
        days = {machine: day.changes for machine, day in self.days.items() if day.changes}
        for day in self.days.values():
            day.changes = []
        if not events and not days:
            return {}
        return {"version": self.version, "events": events, "days": days}

    def restore(self, changes: Iterable[dict]) -> list[dict]:
        """
        Goes on from what was kept.

        Args:
            changes (`Iterable[dict]`): all that [`take`] gave, in its order.

        Returns:
            `list[dict]`: the same in one dictionary, or none.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        events: dict[str, dict] = {}
        days: dict[str, list[dict]] = {}
        others = 0
        for change in changes:
            if change["version"] != self.version:
                others += 1
                continue
            events |= change["events"]
            for machine, windows in change["days"].items():
                days.setdefault(machine, []).extend(windows)
        if others:
            logger.info("alarms and days that were kept with another version of the detector are not used.")
        for machine in events.keys() & self.trackers.keys():
            self.trackers[machine].restore(events[machine])
        for machine in days.keys() & self.days.keys():
            self.days[machine].restore(days[machine])
        self._kept = {machine: tracker.state() for machine, tracker in self.trackers.items()}
        return [{"version": self.version, "events": events, "days": days}] if events or days else []
