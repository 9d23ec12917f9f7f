"""What every machine of the factory is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Run:
    """
    One machine running for the length of one clip.

    Args:
        samples (`int`): length of the sound, with its lead-in.
        attributes (`dict[str, str]`): the attributes of this run, as published.
        unit (`np.random.Generator`): seeded by machine and unit: constants of the unit's build are drawn from it, in
            the same order for every run.
        rng (`np.random.Generator`): chance of this run while healthy. fault_rng (`np.random.Generator`): chance of the
        fault, apart, so that the same run can be had with and without. fault (`str`, *optional*): one of the machine's
        faults; `None` for a healthy machine. severity (`float`, *optional*, defaults to 0.0): from 0 (about to begin)
        to 1 (severe).
    """

    samples: int
    attributes: dict[str, str]
    unit: np.random.Generator
    rng: np.random.Generator
    fault_rng: np.random.Generator
    fault: str | None = None
    severity: float = 0.0

    def grade(self, fault: str, low: float, high: float) -> float | None:
        """From `low` to `high` with the severity if this run has the fault, else `None`."""
        return low + (high - low) * self.severity if fault == self.fault else None


@dataclass(frozen=True)
class Machine:
    """
    A type of machine.

    Args:
        name (`str`): its folder.
        source (`dict[str, tuple[str, ...]]`), target (`dict[str, tuple[str, ...]]`): by attribute the values that
            occur in the two domains; every combination occurs. The attributes `unit` and `mic` tell which unit of
            the machine and which microphone position was recorded.
        faults (`tuple[str, ...]`): what breaks.
        sound (`Callable[[Run], np.ndarray]`): the sound at the machine of one run, `(samples,)`, float32.
    """

    name: str
    source: dict[str, tuple[str, ...]]
    target: dict[str, tuple[str, ...]]
    faults: tuple[str, ...]
    sound: Callable[[Run], np.ndarray]
