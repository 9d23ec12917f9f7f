"""A test rig with a rolling-element bearing."""

import numpy as np

from ..signals import (
    at_level,
    band_gain,
    color,
    impulses,
    passages,
    periodic,
    phased,
    resonate,
    shaft,
    shaped_noise,
    slow,
    sparse,
    structure,
)
from .machine import Machine, Run


# Level of the impacts of a defect relative to the noise of a normal bearing in dB, at lowest and highest severity.
IMPACTS = {"outer_race": (-20, 2), "inner_race": (-20, 2), "ball": (-20, 2), "cage": (-24, -4), "dirt": (-18, 2)}


def bearing_sound(run: Run) -> np.ndarray:
    """
    Rolling noise through the housing's resonances, the drive, and the kinematics of the rolling elements.

    Frequencies per turn of the shaft, for `n` balls of diameter `d` on a pitch circle `D` at contact angle `a`:
    cage `(1 - d/D cos a)/2`, outer race `n` times that, inner race `n (1 + d/D cos a)/2`, ball spin
    `D/(2d) (1 - (d/D cos a)^2)` (Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", Mech. Syst.
    Signal Process. 25, 2011).

    Faults: `outer_race` (equal impacts), `inner_race` (impacts modulated once a turn as the defect passes the loaded
    zone), `ball` (two impacts a spin, modulated by the cage): McFadden and Smith, "Model for the vibration produced by
    a single point defect in a rolling element bearing", J. Sound Vib. 96, 1984, with the slip of Antoni and Randall
    (2003); `cage` (rolling noise that swells with every turn of a broken cage), `dirt` (particles: impacts at random
    times), `dry` (loss of lubricant: more and rougher friction noise).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    balls, ratio = int(unit.integers(7, 13)), unit.uniform(0.18, 0.28)
    cage = (1 - ratio) / 2
    housing = structure(unit, samples, 600, 7000, 10, 0.03)
    drive_tones = phased(unit, unit.normal([0, -3, -8, -9, -13, -16, -18, -19, -22, -24], 2))
    whine = phased(unit, unit.normal([-3, -8, -6], 3), every=int(unit.integers(24, 37)))

    rate = float(run.attributes["vel"]) * rng.normal(1, 0.015)
    turns = shaft(rng, samples, rate, 0.002)
    shape = band_gain(samples, ((40, -16.0), (300, -4.0), (1000 * rate / 15, 0.0), (8000, -10.0)))
    rolling = shaped_noise(rng, samples, shape * (0.3 + np.abs(housing)) * color(rng, samples, 1.0))
    rolling *= np.exp(slow(rng, samples, 0.3, 0.12)) * (1 + 0.1 * periodic(turns, phased(unit, [0, -6])))
    # A normal bearing also ticks a little: every ball of a loaded bearing passes the direction of the load.
    moments = passages(turns, balls * cage, rng, slip=0.01)
    ticks = impulses(samples, moments, rng.lognormal(0, 0.6, len(moments)))
    drive = periodic(turns, drive_tones) + np.float32(0.6) * periodic(turns, whine)
    if (depth := run.grade("cage", 0.2, 1.0)) is not None:
        rolling *= 1 + np.float32(depth) * periodic(turns * cage, phased(fault_rng, [-3, -10]))

    sound = at_level(rolling, -2) + at_level(resonate(ticks, housing), -20 + rng.normal(0, 2))
    sound += at_level(drive, -5 + rng.normal(0, 1.5))
    if run.fault is not None and run.fault in IMPACTS:
        # An impact contains more high frequencies than rolling noise.
        sharp = band_gain(samples, ((200, -18.0), (3000, 0.0)))
        level = run.grade(run.fault, *IMPACTS[run.fault]) or 0.0
        sound += at_level(resonate(_impacts(run, run.fault, turns, balls, ratio), housing * sharp), level)
    if (level := run.grade("dry", -16, 0)) is not None:
        friction = shaped_noise(fault_rng, samples, band_gain(samples, ((800, -24.0), (3000, 0.0), (8000, -3.0))))
        sound += at_level(friction * np.exp(slow(fault_rng, samples, 0.05, 0.5)), level)
    return sound * np.float32(rate / 15)


def _impacts(run: Run, fault: str, turns: np.ndarray, balls: int, ratio: float) -> np.ndarray:
    """The impacts of a defect as forces over time."""
    rng, cage = run.fault_rng, (1 - ratio) / 2
    per_turn = {
        "outer_race": balls * cage,
        "inner_race": balls * (1 - cage),
        "ball": (1 - ratio**2) / ratio,
        "cage": cage,
    }
    if fault == "dirt":
        moments = sparse(rng, run.samples, rng.uniform(4, 15))
        return impulses(run.samples, moments, rng.lognormal(0, 1.0, len(moments)))
    moments = passages(turns, per_turn[fault], rng, slip=0.05 if fault == "cage" else 0.01)
    angle = 2 * np.pi * np.interp(moments, np.arange(run.samples), turns)
    zone = {
        "outer_race": 1.0,
        "inner_race": np.maximum(np.cos(angle), -0.2) + 0.2,
        "ball": 1 + np.cos(cage * angle),
        "cage": 1.0,
    }
    return impulses(run.samples, moments, rng.lognormal(0, 0.2, len(moments)) * zone[fault])


BEARING = Machine(
    name="bearing",
    source={"vel": ("10", "12", "14", "16", "18"), "mic": ("1", "2")},
    target={"vel": ("13", "17"), "mic": ("2",)},
    faults=("outer_race", "inner_race", "ball", "cage", "dirt", "dry"),
    sound=bearing_sound,
)
