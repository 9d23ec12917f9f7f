"""The common parts of all simulated machines."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Run:
    """
    One run of a machine, for the duration of one clip.

    Args:
        samples (`int`): length of the sound with its lead-in.
        attributes (`dict[str, str]`): the attributes of this run, as published.
        unit (`np.random.Generator`): seeded by machine and unit; the constants of a unit are drawn from it, in the
            same order for every run.
        rng (`np.random.Generator`): random generator of the normal sound.
        fault_rng (`np.random.Generator`): separate random generator of the fault, so that the same run can be
            simulated with and without it.
        fault (`str`, *optional*): one of the machine's faults; `None` for a normal run.
        severity (`float`, *optional*, defaults to 0.0): from 0 (about to begin) to 1 (severe).
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
        name (`str`): name of the machine and its folder.
        source (`dict[str, tuple[str, ...]]`), target (`dict[str, tuple[str, ...]]`): attribute -> values that occur in
            the domain, in every combination. The attributes `unit` and `mic` are the unit of the machine and the
            position of the microphone.
        faults (`tuple[str, ...]`): the faults of this machine.
        sound (`Callable[[Run], np.ndarray]`): from a run to the sound at the machine, `(samples,)`, float32.
    """

    name: str
    source: dict[str, tuple[str, ...]]
    target: dict[str, tuple[str, ...]]
    faults: tuple[str, ...]
    sound: Callable[[Run], np.ndarray]
