"""A slide rail: a carriage on linear ball bearings, driven back and forth by a ball screw."""

import numpy as np

from ..signals import (
    RATE,
    along,
    at_level,
    band_gain,
    color,
    impulses,
    knot_times,
    periodic,
    phased,
    resonate,
    shaped_noise,
    slow,
    strike,
    structure,
)
from .machine import Machine, Run


STROKE, LEAD, BALL_PITCH = 0.30, 0.010, 0.0065  # meters: travel, screw lead, distance of balls in the guide


def slider_sound(run: Run) -> np.ndarray:
    """
    Strokes back and forth: motor and screw tones that follow the speed, balls that run in and out of the loaded zone,
    rolling noise, a knock at every reversal.

    After Ohta and Hayashi, "Vibration of linear guideway type recirculating linear ball bearings" (J. Sound Vib. 235,
    2000): the balls pass at speed over pitch and excite rigid-body and bending modes of the carriage; rolling noise
    grows with speed. The carriage follows a speed profile with limited acceleration (`acc`).

    Faults: `rail_damage` (an impact each time a spot of the rail is passed, in both directions), `dry` (friction noise
    and stick-slip squeal at low speed; Akay, "Acoustics of friction", J. Acoust. Soc. Am. 111, 2002), `loose` (the
    carriage rattles when the force changes its sign), `screw_wear` (sound modulated by every turn of the screw),
    `debris` (balls that run over particles: impacts at random places).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    carriage = structure(unit, samples, 250, 6000, 11, 0.035)
    motor_tones = phased(unit, unit.normal([0, -4, -9, -10], 2), every=int(unit.integers(4, 7)))
    screw_tones = phased(unit, unit.normal(-10, 3, 40) - np.arange(40) * 0.4)
    ball_tones = phased(unit, unit.normal([0, -5, -10, -13], 2))

    velocity = float(run.attributes["vel"]) / 1000 * rng.normal(1, 0.02)
    ramp = float(run.attributes["acc"])
    pause = 0.12
    moving = STROKE / velocity + ramp
    cycle = 2 * (moving + pause)
    time = knot_times(samples)
    phase = (time + rng.random() * cycle) % cycle
    within = np.minimum(phase % (cycle / 2), moving)
    forward = np.where(phase < cycle / 2, 1, -1)
    profile = np.clip(np.minimum(within, moving - within) / ramp, 0, 1)
    knots = velocity * profile * np.where(within < moving, 1, 0)
    speed = along(knots.astype(np.float32), samples)
    signed = along((knots * forward).astype(np.float32), samples)
    speed *= 1 + slow(rng, samples, 0.2, 0.004)
    travel = np.cumsum(speed, dtype=np.float64) / RATE
    # Between two samples of zero speed the carriage is at rest or reverses.
    place = np.cumsum(signed, dtype=np.float64) / RATE
    place -= place.min()
    share = speed / np.float32(velocity)

    screw = travel / LEAD
    tones = periodic(screw, screw_tones) + periodic(screw, motor_tones) + periodic(travel / BALL_PITCH, ball_tones)
    tones = at_level(tones * share * np.exp(slow(rng, samples, 0.3, 0.12)), rng.normal(-4, 1.5))
    shape = band_gain(samples, ((60, -12.0), (400, 0.0), (2500, -4.0), (8000, -16.0)))
    rolling = shaped_noise(rng, samples, shape * (0.25 + np.abs(carriage)) * color(rng, samples, 1.0))
    rolling = at_level(rolling * share**1.5 * np.exp(slow(rng, samples, 0.1, 0.15)), -3)
    turns_round = np.flatnonzero(np.diff((knots > 0).astype(int)) == -1) * 160.0 + rng.uniform(0, 160)
    hits = impulses(samples, turns_round, rng.lognormal(0, 0.25, len(turns_round)))

    if (depth := run.grade("screw_wear", 0.2, 1.0)) is not None:
        turn = periodic(screw, phased(fault_rng, [-3, -8, -12]))
        tones *= (1 + np.float32(depth)) * (1 + np.float32(depth) * turn)
        rolling *= 1 + np.float32(depth) * turn
    if (force := run.grade("rail_damage", 0.3, 5.0)) is not None:
        spot = fault_rng.uniform(0.1, 0.9) * place.max()
        passed = np.flatnonzero(np.diff(place > spot)).astype(float)
        for number in range(3):  # several balls, one after the other
            later = passed + number * BALL_PITCH / velocity * RATE
            hits += impulses(samples, later, np.full(len(passed), force * 0.8**number))
    if (force := run.grade("loose", 0.15, 2.5)) is not None:
        changes = np.flatnonzero(np.abs(np.diff(knots, 2)) > 0.3 * velocity * 0.01 / ramp) * 160.0
        for change in changes:
            knocks = change + np.cumsum(fault_rng.exponential(0.015 * RATE, 6))
            hits += impulses(samples, knocks, force * 0.75 ** np.arange(6))
    if (count := run.grade("debris", 8, 80)) is not None:
        places = fault_rng.uniform(0, travel[-1], fault_rng.poisson(count * samples / RATE))
        moments = np.interp(places, travel[::16], np.arange(0, samples, 16))
        hits += impulses(samples, moments, 0.5 * fault_rng.lognormal(-0.5, 0.8, len(moments)))

    sound = resonate(tones, 0.3 + carriage) + rolling + 3 * strike(hits, carriage)
    if (level := run.grade("dry", -14, 2)) is not None:
        friction = shaped_noise(fault_rng, samples, band_gain(samples, ((600, -24.0), (2500, 0.0), (8000, -4.0))))
        sound += at_level(friction * share * np.exp(slow(fault_rng, samples, 0.05, 0.5)), level)
        pitch = fault_rng.uniform(900, 2400) * (1 + slow(fault_rng, samples, 0.1, 0.01))
        squeal = periodic(np.cumsum(pitch, dtype=np.float64) / RATE, phased(fault_rng, [0, -7, -14]))
        stick = np.exp(-0.5 * ((share - 0.35) / 0.15) ** 2)
        sound += squeal * stick * np.float32(10 ** ((level - 2) / 20))
    return sound * np.float32(velocity / 0.4)


SLIDER = Machine(
    name="slider",
    source={"vel": ("200", "250", "300", "350", "400"), "acc": ("0.05", "0.15")},
    target={"vel": ("250", "325"), "acc": ("0.10",)},
    faults=("rail_damage", "dry", "loose", "screw_wear", "debris"),
    sound=slider_sound,
)
