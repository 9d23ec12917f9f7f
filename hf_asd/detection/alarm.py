"""When decisions about windows of sound become an alarm."""

from collections import deque
from dataclasses import dataclass

from ..options import check_options, option


@dataclass
class AlarmPolicy:
    """
    When a series of decisions is an alarm: m of n windows, with hysteresis and a cool-down.

    One anomalous window may be chance (with a false-alarm rate of 1 % and windows of 10 s it occurs 86 times a day);
    three of the last five are not. Counting m out of n is the binary integration of J. V. Harrington, "An analysis of
    the detection of repeated signals in noise by binary integration", IRE Trans. Inf. Theory 1, 1955.

    Args:
        raise_at (`int`, *optional*, defaults to 3): anomalous windows among the last `of_last` that raise an alarm.
        of_last (`int`, *optional*, defaults to 5): how many of the last windows count.
        clear_at (`int`, *optional*, defaults to 0): an alarm ends when at most this many of the last `of_last` windows
            are anomalous. Between the two counts nothing changes.
        cool_down (`int`, *optional*, defaults to 0): windows after the end of an alarm in which no other is raised.

    Raises:
        ValueError: counts that contradict each other.
    """

    raise_at: int = option(3, "raise an alarm when this many of the last windows are anomalous", at_least=1)
    of_last: int = option(5, "number of last windows that count for an alarm", at_least=1)
    clear_at: int = option(0, "end an alarm when at most this many of the last windows are anomalous", at_least=0)
    cool_down: int = option(0, "windows after the end of an alarm in which no other is raised", at_least=0)

    def __post_init__(self):
        check_options(self)
        if not self.clear_at < self.raise_at <= self.of_last:
            raise ValueError(
                f"clear_at is {self.clear_at}, raise_at {self.raise_at} and of_last {self.of_last}; accepted are "
                "clear_at below raise_at, and raise_at up to of_last."
            )
        self.standing = False
        self._last: deque[bool] = deque(maxlen=self.of_last)
        self._quiet_for = self.cool_down

    def update(self, is_anomaly: bool | None) -> str | None:
        """
        Updates the alarm by the decision about the next window.

        Args:
            is_anomaly (`bool`, *optional*): `None` where the detector made no decision: such a window does not count,
                so that a muted microphone neither raises nor ends an alarm.

        Returns:
            `"raised"` or `"cleared"` where the alarm begins or ends with this window, else `None`. `standing` says
            whether an alarm is active.
        """
        if is_anomaly is None:
            return None
        self._last.append(bool(is_anomaly))
        count = sum(self._last)
        if self.standing:
            if count > self.clear_at:
                return None
            self.standing, self._quiet_for = False, 0
            return "cleared"
        self._quiet_for += 1
        if count < self.raise_at or self._quiet_for <= self.cool_down:
            return None
        self.standing = True
        return "raised"

    def state(self) -> dict:
        """Plain values that [`AlarmPolicy.restore`] takes."""
        return {"standing": self.standing, "last": list(self._last), "quiet_for": self._quiet_for}

    def restore(self, state: dict) -> None:
        """Goes on where another policy was; one that looks at fewer windows keeps the latest."""
        self.standing, self._quiet_for = bool(state["standing"]), int(state["quiet_for"])
        self._last = deque(map(bool, state["last"]), maxlen=self.of_last)
