"""An axial fan with an induction motor."""

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


# Spectrum of the noise of the blades' boundary layers and wakes at 20 revolutions per second, after Brooks, Pope and
# Marcolini, "Airfoil self-noise and prediction", NASA RP 1218, 1989: a broad hump that moves up with speed.
SELF_NOISE = ((20, -14.0), (100, -3.0), (400, 0.0), (1500, -5.0), (5000, -16.0), (8000, -24.0))
STALL_NOISE = ((20, -10.0), (80, 0.0), (300, -6.0), (8000, -45.0))


def fan_sound(run: Run) -> np.ndarray:
    """
    Blade-pass tones, turbulence of inflow and wakes, and a motor.

    The parts follow Neise, "Review of fan noise generation mechanisms and control methods" (Fan Noise symposium,
    Senlis, 1992) and Longhouse, "Noise mechanism separation and design considerations for low tip-speed, axial-flow
    fans" (J. Sound Vib. 48, 1976): tones at multiples of the blade-pass frequency whose strength flickers with the
    inflow turbulence, broadband noise that grows with about the fifth power of the speed and swishes with the blades,
    weak tones at multiples of the shaft's speed because no two blades are equal, and the motor's hum at twice the line
    frequency.

    Faults: `imbalance` (a force that turns with the shaft, Jeffcott 1919, and modulates the clearance and with it the
    noise), `blade_crack` (one blade differs: the blade-pass tones get sidebands at the shaft frequency), `rub`
    (blade tips that touch the casing once a turn, Muszynska, "Rotor-to-stationary element rub-related vibration
    phenomena in rotating machinery", Shock Vib. Dig. 21, 1989), `stall` (cells of separated flow that turn at about
    half the shaft's speed, Emmons, Pearson and Grant, "Compressor surge and stall propagation", Trans. ASME 77, 1955),
    `bearing_wear` (impacts at the outer race of the motor's bearing).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    blades, line = int(unit.integers(5, 9)), 100.0
    casing = structure(unit, samples, 150, 4000, 9, 0.06)
    blade_tones = phased(unit, unit.normal([0, -5, -9, -13, -17, -20], 2), every=blades)
    shaft_tones = phased(unit, unit.normal(-16, 3, 3 * blades) - np.arange(3 * blades) * 0.5)
    hum = phased(unit, unit.normal([-2, -8, -12, -16], 2))

    rate = float(run.attributes["spd"]) / 60 * rng.normal(1, 0.02)
    turns = shaft(rng, samples, rate, 0.0025)
    flicker = np.exp(slow(rng, samples, 0.25, 0.22))
    tones = periodic(turns, blade_tones) * flicker
    tones = at_level(tones + periodic(turns, shaft_tones), rng.normal(-2, 1))
    shift = 20 / rate
    curve = tuple((hertz / shift if 20 < hertz < 8000 else hertz, level) for hertz, level in SELF_NOISE)
    noise = shaped_noise(rng, samples, band_gain(samples, tuple(sorted(curve))) * color(rng, samples, 1.0))
    swish = 1 + 0.15 * periodic(turns, phased(unit, [0.0], every=blades)) + slow(rng, samples, 0.4, 0.08)

    if (level := run.grade("imbalance", -8, 9)) is not None:
        tones += at_level(periodic(turns, phased(fault_rng, [0, -8, -14])), level)
        swish += np.float32(10 ** ((level - 10) / 20)) * periodic(turns, phased(fault_rng, [0]))
    if (depth := run.grade("blade_crack", 0.2, 0.9)) is not None:
        # One blade sounds different: a pulse per turn, as wide as a blade.
        width = np.exp(-0.5 * (np.arange(3 * blades) / blades) ** 2)
        pulse = periodic(turns, width * np.exp(-2j * np.pi * fault_rng.random() * np.arange(3 * blades)))
        pulse = np.float32(depth) * pulse / np.abs(pulse).max()
        tones *= 1 - pulse
        swish += pulse
    if (level := run.grade("stall", -8, 6)) is not None:
        cells = shaft(fault_rng, samples, rate * fault_rng.uniform(0.4, 0.6), 0.02)
        roar = shaped_noise(fault_rng, samples, band_gain(samples, STALL_NOISE))
        roar *= 1 + 0.8 * periodic(cells, phased(fault_rng, [-3, -10]))
        tones += at_level(roar, level)
        tones *= np.exp(slow(fault_rng, samples, 0.1, 0.3))

    sound = at_level(noise, 0) * swish + resonate(tones, 0.4 + casing)
    sound += at_level(periodic(np.arange(samples) * (line / 16_000), hum), -14 + rng.normal(0, 1.5))
    if (level := run.grade("rub", -20, -2)) is not None:
        contact = np.exp(40 * (periodic(turns, phased(fault_rng, [-3])) - 1))
        contact *= np.exp(slow(fault_rng, samples, 0.3, 0.6))
        scrape = shaped_noise(fault_rng, samples, band_gain(samples, ((500, -30.0), (2500, 0.0), (8000, -6.0))))
        sound += at_level(scrape * contact, level)
    if (level := run.grade("bearing_wear", -22, -5)) is not None:
        moments = passages(turns, 3.57, fault_rng, slip=0.01)
        hits = impulses(samples, moments, fault_rng.lognormal(0, 0.3, len(moments)))
        race = structure(unit, samples, 2000, 6000, 3, 0.04)
        sound += at_level(resonate(hits, race), level)
    return sound * np.float32((rate / 20) ** 2.5)


FAN = Machine(
    name="fan",
    source={"unit": ("A", "B"), "spd": ("900", "1050", "1200", "1350", "1500")},
    target={"unit": ("A", "B"), "spd": ("1125", "1275")},
    faults=("imbalance", "blade_crack", "rub", "stall", "bearing_wear"),
    sound=fan_sound,
)
