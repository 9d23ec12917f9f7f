"""A two-shaft spur gearbox with its motor."""

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
    structure,
)
from .machine import Machine, Run


def gearbox_sound(run: Run) -> np.ndarray:
    """
    Gear mesh with sidebands through the casing's resonances, a motor, oil and rolling noise.

    The mesh excites multiples of teeth times speed, modulated in amplitude and phase by both shafts since no gear is
    round (Randall, "A new method of modeling gear faults", J. Mech. Des. 104, 1982); load (weight `wt`) makes the mesh
    louder and lowers the speed that a voltage gives.

    Faults: `chipped_tooth` (once a turn of the pinion an impact and a short loss of mesh stiffness that modulates
    amplitude and phase, McFadden, "Detecting fatigue cracks in gears by amplitude and phase demodulation of the
    meshing vibration", J. Vib. Acoust. Stress Reliab. Des. 108, 1986), `wear` (the profile is gone on all teeth:
    higher mesh multiples), `eccentricity` (deeper modulation at the wheel's speed), `misalignment` (twice the shaft's
    speed and the mesh's second multiple), `dry` (friction noise modulated by the mesh; Akay, "Acoustics of friction",
    J. Acoust. Soc. Am. 111, 2002).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    pinion, wheel = int(unit.integers(17, 24)), int(unit.integers(37, 61))
    casing = structure(unit, samples, 250, 6500, 12, 0.035)
    mesh_levels = unit.normal([0, -4, -7, -12, -15], 2)
    mesh_levels -= 10 * np.log10(np.sum(10 ** (mesh_levels / 10)))
    phases = np.exp(2j * np.pi * unit.random(5))
    eccentric = unit.uniform(0.08, 0.2, 2)
    motor_tones = phased(unit, unit.normal([-2, -6, -12, -14, -18, -20, -22, -24], 2))

    volt, weight = float(run.attributes["volt"]), float(run.attributes["wt"])
    rate = (10.0 * volt - 0.02 * weight) * rng.normal(1, 0.025)
    turns = shaft(rng, samples, rate, 0.003)
    slow_turns = turns * (pinion / wheel) + rng.random()
    if (more := run.grade("wear", 2, 12)) is not None:
        mesh_levels = mesh_levels + more * np.array([0.1, 0.8, 1.0, 1.1, 1.2])
    if (more := run.grade("misalignment", 1, 9)) is not None:
        mesh_levels = mesh_levels + more * np.array([-0.2, 1.0, 0.0, 0.5, 0.0])
    if (depth := run.grade("eccentricity", 0.15, 0.9)) is not None:
        eccentric = eccentric + np.array([0.0, depth])

    pinion_error = np.cos(np.float32(2 * np.pi) * (turns % 1).astype(np.float32))
    wheel_error = np.cos(np.float32(2 * np.pi) * (slow_turns % 1).astype(np.float32))
    sway = np.float32(eccentric[0]) * pinion_error + np.float32(eccentric[1]) * wheel_error
    strength, lag = 1 + sway, 0.08 * sway
    if (depth := run.grade("chipped_tooth", 0.1, 0.7)) is not None:
        gap = np.exp(-0.5 * (((turns + fault_rng.random()) % 1 - 0.5) * pinion) ** 2).astype(np.float32)
        strength, lag = strength * (1 - np.float32(depth) * gap), lag + np.float32(0.15 * depth) * gap
    harmonics = np.zeros(6, dtype=np.complex64)
    harmonics[1:] = np.sqrt(2) * 10 ** (mesh_levels / 20) * phases
    mesh = periodic(turns * pinion + lag, harmonics) * strength
    mesh *= np.exp(slow(rng, samples, 0.4, 0.12)) * np.float32(10 ** ((rng.normal(-4, 1.5) + weight / 50) / 20))
    if (level := run.grade("chipped_tooth", -14, 6)) is not None:
        moments = passages(turns, 1, fault_rng)
        hits = impulses(samples, moments, fault_rng.lognormal(0, 0.25, len(moments)))
        mesh += at_level(resonate(hits, band_gain(samples, ((100, -6.0), (1000, 0.0), (8000, 0.0)))), level)

    rolling = shaped_noise(rng, samples, (0.15 + np.abs(casing)) * color(rng, samples, 1.0))
    rolling *= np.exp(slow(rng, samples, 0.5, 0.1)) * (1 + 0.2 * sway)
    motor = at_level(periodic(turns, motor_tones), rng.normal(-9, 1.5))
    if (level := run.grade("misalignment", -6, 10)) is not None:
        motor += at_level(periodic(turns, phased(fault_rng, [-10, 0, -14, -8])), level - 9)
    sound = resonate(mesh, 0.3 + casing) + at_level(rolling, -4) + motor
    if (level := run.grade("dry", -16, 2)) is not None:
        friction = shaped_noise(fault_rng, samples, band_gain(samples, ((500, -24.0), (2500, 0.0), (6000, -2.0))))
        contact = 1 + 0.7 * periodic(turns * pinion, phased(fault_rng, [-3, -9]))
        sound += at_level(friction * contact * np.exp(slow(fault_rng, samples, 0.2, 0.4)), level)
    return sound * np.float32((rate / 15) ** 1.5)


GEARBOX = Machine(
    name="gearbox",
    source={"volt": ("1.4", "1.7", "2.0", "2.3", "2.6"), "wt": ("0", "50")},
    target={"volt": ("1.85", "2.15"), "wt": ("0", "50")},
    faults=("chipped_tooth", "wear", "eccentricity", "misalignment", "dry"),
    sound=gearbox_sound,
)
