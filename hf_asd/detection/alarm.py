"""From decisions about windows to alarms that somebody has to answer."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class AlarmPolicy:
    """
    When a series of decisions is an alarm: m of n windows, with hysteresis and a cool-down.

    One window too many is chance (with a false-alarm rate of 1 % and windows of 10 s it comes 86 times a day); three
    of the last five are not. Counting m out of n is the binary integration of J. V. Harrington, "An analysis of the
    detection of repeated signals in noise by binary integration", IRE Trans. Inf. Theory 1, 1955.

    Args:
        raise_at (`int`, *optional*, defaults to 3): anomalous windows among the last `windows` that raise an alarm.
        windows (`int`, *optional*, defaults to 5): how many of the last windows count.
        clear_at (`int`, *optional*, defaults to 0): a standing alarm ends when as few of the last `windows` are
            anomalous. Between the two counts nothing changes.
        cool_down (`int`, *optional*, defaults to 0): windows after the end of an alarm in which no other is raised.

    Raises:
        ValueError: counts that contradict each other.
    """

    raise_at: int = 3
    windows: int = 5
    clear_at: int = 0
    cool_down: int = 0
    standing: bool = field(default=False, init=False)

    def __post_init__(self):
        if not 0 <= self.clear_at < self.raise_at <= self.windows or self.cool_down < 0:
            raise ValueError(
                f"raise_at is {self.raise_at}, windows {self.windows}, clear_at {self.clear_at}, cool_down "
                f"{self.cool_down}; accepted are 0 <= clear_at < raise_at <= windows and a cool_down of 0 or more."
            )
        self._last = deque(maxlen=self.windows)
        self._quiet_for = self.cool_down

    def update(self, is_anomaly: bool | None) -> str | None:
        """
        Takes the decision about the next window.

        Args:
            is_anomaly (`bool`, *optional*): `None` where the detector made no decision: such a window is as if it had not
                been recorded, so that a muted microphone neither raises nor ends an alarm.

        Returns:
            `"raised"` or `"cleared"` where the alarm begins or ends with this window, else `None`. `standing` says
            whether it stands.
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
