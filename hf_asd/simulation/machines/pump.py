"""A centrifugal pump."""

import numpy as np

from ..signals import (
    RATE,
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


def pump_sound(run: Run) -> np.ndarray:
    """
    Vane-pass tones, flow noise in the volute and pipes, a motor, some cavitation.

    After Brennen, "Hydrodynamics of Pumps" (1994): vanes that pass the cutwater give tones at multiples of vanes times
    speed, stronger the further the flow is from the design point (here the load, in percent); the flow's noise grows
    with speed; some cavitation is always there and comes in bursts as vanes pass.

    Faults: `cavitation` (more of it: broadband noise of collapsing bubbles above 1 kHz, modulated by vanes and shaft;
    Cudina, "Detection of cavitation phenomenon in a centrifugal pump using audible sound", Mech. Syst. Signal Process.
    17, 2003), `air` (bubbles drawn in, each ringing at the frequency of its radius, Minnaert, "On musical air-bubbles
    and the sounds of running water", Phil. Mag. 16, 1933), `impeller` (a chipped vane: once a turn the vane-pass tone
    differs), `bearing_wear` (inner-race impacts, strongest when the defect passes the loaded zone, McFadden and Smith
    1984), `clogging` (less flow: vane-pass tones up, flow noise darker, slow surging).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    vanes = int(unit.integers(5, 8))
    casing = structure(unit, samples, 200, 5000, 8, 0.04)
    pipe = np.abs(structure(unit, samples, 300, 3500, 6, 0.08))
    vane_tones = phased(unit, unit.normal([0, -4, -8, -11, -14, -17, -20], 2), every=vanes)
    shaft_tones = phased(unit, unit.normal([-4, -8, -12, -15, -18, -20], 2))
    race = structure(unit, samples, 2500, 7000, 3, 0.03)

    rate = float(run.attributes["spd"]) / 60 * rng.normal(1, 0.012)
    load = float(run.attributes["load"])
    turns = shaft(rng, samples, rate, 0.0012)
    off_design = -6 + abs(load - 80) / 8
    tones = periodic(turns, vane_tones) * np.float32(10 ** ((off_design + rng.normal(0, 1.2)) / 20))
    tones += periodic(turns, shaft_tones) * np.float32(0.5)
    tones *= np.float32(0.6) * np.exp(slow(rng, samples, 0.5, 0.1))
    shape = band_gain(samples, ((30, -10.0), (200, 0.0), (1000 * rate / 40, -4.0), (8000, -24.0)))
    flow = shaped_noise(rng, samples, shape * (0.5 + pipe) * color(rng, samples, 1.0))
    surge = np.exp(slow(rng, samples, 0.6, 0.08))
    bursts = np.exp(slow(rng, samples, 0.02, 0.5)) * (1 + 0.4 * periodic(turns, phased(rng, [0], every=vanes)))
    collapse = band_gain(samples, ((300, -30.0), (2000, -4.0), (5000, 0.0), (8000, -3.0)))
    cavitation = at_level(shaped_noise(rng, samples, collapse) * bursts, -24 + 0.08 * (load - 80) + rng.normal(0, 2))

    if (level := run.grade("clogging", 2, 9)) is not None:
        tones *= np.float32(10 ** (level / 20))
        flow = at_level(resonate(flow, band_gain(samples, ((200, 0.0), (1500, -level / 2), (8000, -level)))), 0)
        surge *= np.exp(slow(fault_rng, samples, 0.3, 0.05 * level))
    if (depth := run.grade("impeller", 0.2, 0.95)) is not None:
        width = np.exp(-0.5 * (np.arange(3 * vanes) / vanes) ** 2)
        pulse = periodic(turns, width * np.exp(-2j * np.pi * fault_rng.random() * np.arange(3 * vanes)))
        pulse *= np.float32(depth) / np.abs(pulse).max()
        tones *= 1 - pulse
        surge *= 1 + np.float32(0.6) * pulse
        tones += at_level(periodic(turns, phased(fault_rng, [0, -6])), -18 + 20 * depth)

    sound = at_level(flow, -1) * surge + resonate(tones, 0.3 + casing) + cavitation
    if (level := run.grade("cavitation", -16, 2)) is not None:
        more = np.exp(slow(fault_rng, samples, 0.02, 0.8)) * (1 + 0.6 * periodic(turns, phased(fault_rng, [0, -6])))
        sound += at_level(shaped_noise(fault_rng, samples, collapse) * np.maximum(more, 0), level)
    if (count := run.grade("air", 8, 120)) is not None:
        sound += _bubbles(fault_rng, samples, count)
    if (level := run.grade("bearing_wear", -22, -4)) is not None:
        moments = passages(turns, 5.43, fault_rng, slip=0.01)
        where = np.interp(moments, np.arange(samples), turns) * 2 * np.pi
        hits = impulses(samples, moments, fault_rng.lognormal(0, 0.2, len(moments)) * (1 + np.cos(where)) ** 1.5)
        sound += at_level(resonate(hits, race), level)
    return sound * np.float32((rate / 40) ** 2)


def _bubbles(rng: np.random.Generator, samples: int, per_second: float) -> np.ndarray:
    """Bubbles of 1 to 6 mm: decaying tones at 3.26 m/s over the radius, a little higher as each rises."""
    moments = sparse(rng, samples, per_second).astype(int)
    sound = np.zeros(samples, dtype=np.float32)
    for moment in moments:
        hertz = 3.26 / np.exp(rng.uniform(np.log(0.001), np.log(0.006)))
        time = np.arange(min(samples - moment, int(20 * RATE / hertz)), dtype=np.float32) / RATE
        ring = np.sin(np.float32(2 * np.pi * hertz) * time * (1 + 2 * time)) * np.exp(time * np.float32(-hertz / 4))
        sound[moment : moment + len(time)] += np.float32(1.5 * rng.lognormal(-0.5, 0.6)) * ring
    return sound


PUMP = Machine(
    name="pump",
    source={"spd": ("1450", "1750", "2050", "2350"), "load": ("60", "80", "100")},
    target={"spd": ("1600", "1900"), "load": ("60", "90")},
    faults=("cavitation", "air", "impeller", "bearing_wear", "clogging"),
    sound=pump_sound,
)
