"""A solenoid valve for compressed air that opens and closes."""

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
    shaped_noise,
    slow,
    strike,
    structure,
)
from .machine import Machine, Run


# Period of a pattern in seconds, and the fractions of the period between which the valve is open.
PATTERNS = {
    "00": (1.6, ((0.0, 0.45),)),
    "01": (2.4, ((0.0, 0.2), (0.4, 0.6))),
    "02": (1.1, ((0.0, 0.3),)),
    "03": (2.0, ((0.0, 0.15), (0.3, 0.55))),
    "04": (1.4, ((0.0, 0.36),)),
}


def valve_sound(run: Run) -> np.ndarray:
    """
    A plunger that strikes its stops, air that rushes through the seat, a coil that hums.

    The jet's noise is a broad hump whose frequency goes with speed over diameter and whose power goes with a high
    power of the speed (Lighthill, "On sound generated aerodynamically", Proc. R. Soc. A 211, 1952; IEC 60534-8-3 for
    valves): more pressure is louder and brighter. The coil pulls twice a line period, so an energized valve hums at
    100 Hz.

    Faults: `leak` (a thin jet while closed, brighter than the open one), `sticking` (late and irregular strokes,
    friction noise while the plunger moves, softer strikes), `chatter` (a loose armature strikes at twice the line
    frequency while held), `clogging` (less flow, a narrow passage that whistles; Rossiter 1964), `bounce` (a worn seat
    or broken spring: the plunger strikes several times).
    """
    unit, rng, fault_rng, samples = run.unit, run.rng, run.fault_rng, run.samples
    body = structure(unit, samples, 700, 7500, 9, 0.02)
    pressure = float(run.attributes["pres"])
    peak = 1800 * np.sqrt(pressure / 4) * unit.uniform(0.8, 1.25)
    duct = np.abs(structure(unit, samples, 400, 6000, 6, 0.07))
    hum = phased(unit, unit.normal([0, -6, -10, -13, -15, -18], 2))

    period, opens = PATTERNS[run.attributes["pat"]]
    period *= rng.normal(1, 0.01)
    starts = np.arange(-period * rng.random(), samples / RATE, period)
    spans = np.array([(start + a * period, start + b * period) for start in starts for a, b in opens])
    spans += rng.normal(0, 0.006, spans.shape)
    strikes = np.exp(rng.normal(0, 0.2, spans.shape)) * np.array([1.0, 0.7])
    rise = 0.012
    late = run.grade("sticking", 0.015, 0.25)
    if late is not None:
        delays = fault_rng.exponential(late, spans.shape)
        spans = spans + np.minimum(delays, 0.3 * (spans[:, 1:] - spans[:, :1]))
        strikes, rise = strikes * np.exp(-4 * delays), rise + late / 2

    time = knot_times(samples)
    held = np.zeros(len(time))
    flow = np.zeros(len(time))
    for (begin, end), overshoot in zip(spans, rng.uniform(0.1, 0.5, len(spans)), strict=True):
        inside = (time >= begin) & (time < end)
        held += inside
        since = np.maximum(time - begin, 0)
        flow += np.where(inside, (1 - np.exp(-since / rise)) * (1 + overshoot * np.exp(-since / 0.08)), 0)
        flow += np.where(time >= end, 0.8 * np.exp(-np.maximum(time - end, 0) / 0.025), 0)
    held, flow = along(held.astype(np.float32), samples), along(flow.astype(np.float32), samples)

    bright = band_gain(samples, ((peak / 12, -20.0), (peak / 2, -3.0), (peak, 0.0), (peak * 2, -4.0), (16_000, -26.0)))
    jet = shaped_noise(rng, samples, bright * (0.6 + duct) * color(rng, samples, 1.0))
    jet *= np.exp(slow(rng, samples, 0.05, 0.12)) * np.float32((pressure / 4) ** 1.2 * np.exp(rng.normal(0, 0.15)))
    loss = run.grade("clogging", 2, 12)
    sound = jet * flow * np.float32(10 ** (-(loss or 0) / 20))
    hits = impulses(samples, spans.ravel() * RATE, strikes.ravel())
    coil = periodic(np.arange(samples) * (100.0 / RATE) + rng.random(), hum) * held
    if (echoes := run.grade("bounce", 0.4, 2.0)) is not None:
        for number in (1, 2, 3):
            after = 0.03 * (1 - 0.45 ** np.array(number)) / 0.55 * fault_rng.normal(1, 0.08, spans.shape)
            hits += impulses(samples, (spans + after).ravel() * RATE, (strikes * echoes**number).ravel())
    if (level := run.grade("chatter", 4, 28)) is not None:
        knocks = np.arange(0, samples, RATE / 100) + fault_rng.normal(0, 8, -(-samples // (RATE // 100)))
        force = held[np.clip(knocks.astype(int), 0, samples - 1)] * fault_rng.lognormal(0, 0.5, len(knocks))
        hits += impulses(samples, knocks, 0.02 * 10 ** (level / 20) * force)
        coil *= np.float32(10 ** (level / 40))

    sound += 4 * strike(hits, body)
    sound += np.float32(0.06) * coil
    if (level := run.grade("leak", -28, -6)) is not None:
        slit = band_gain(samples, ((500, -30.0), (2.2 * peak, 0.0), (4 * peak, -2.0), (20_000, -20.0)))
        sound += at_level(shaped_noise(fault_rng, samples, slit), level) * (1 - 0.7 * np.minimum(held, 1))
    if loss is not None:
        whistle = _whistle(fault_rng, samples, peak)
        sound += whistle * flow * np.float32(10 ** ((-30 + 2 * loss) / 20))
    if late is not None:
        moving = np.zeros(len(time))
        for begin, end in spans:
            moving += np.exp(-np.abs(time - begin) / 0.04) + np.exp(-np.abs(time - end) / 0.04)
        scrape = shaped_noise(fault_rng, samples, 0.1 + np.abs(body)) * np.exp(slow(fault_rng, samples, 0.01, 0.8))
        sound += at_level(scrape, -26 + 90 * late) * along(moving.astype(np.float32), samples)
    return sound


def _whistle(rng: np.random.Generator, samples: int, hertz: float) -> np.ndarray:
    """The unsteady tone of a jet at an edge."""
    wobble = 1 + slow(rng, samples, 0.1, 0.01) + slow(rng, samples, 1.0, 0.02)
    return periodic(np.cumsum(wobble, dtype=np.float64) * (1.3 * hertz / RATE), phased(rng, [0, -14]))


VALVE = Machine(
    name="valve",
    source={"pat": ("00", "01", "02"), "pres": ("4", "6")},
    target={"pat": ("03", "04"), "pres": ("5", "6")},
    faults=("leak", "sticking", "chatter", "clogging", "bounce"),
    sound=valve_sound,
)
