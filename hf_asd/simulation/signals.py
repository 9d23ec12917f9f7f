"""
The building blocks of machine sounds: shafts of varying speed, periodic waves, shaped noise, impacts, resonances.

All signals are float32 arrays of one length at 16 kHz. Filters are products of spectra, so the end of a signal wraps
around to its start: every clip is made with a lead-in that is cut off (see [`padded_samples`]).
"""

from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.signal import lfilter

from .fourier import fast_length, irfft, rfft


RATE = 16_000
LEAD_SECONDS = 0.5
KNOT = 160  # samples: slow variations are drawn every 10 ms


def padded_samples(seconds: float) -> int:
    """Number of samples of a clip with its lead-in, rounded up to a length with a fast Fourier transform."""
    samples = fast_length(round((seconds + LEAD_SECONDS) * RATE))
    return samples + samples % 2


def amplitude(decibels: float) -> float:
    """The factor of a level in dB."""
    return 10 ** (decibels / 20)


def at_level(signal: np.ndarray, decibels: float) -> np.ndarray:
    """The signal scaled to a root mean square of `decibels` relative to 1."""
    return signal * np.float32(amplitude(decibels) / max(np.sqrt(np.mean(np.square(signal))), 1e-12))


def slow(rng: np.random.Generator, samples: int, seconds: float, spread: float = 1.0) -> np.ndarray:
    """
    A slow random variation (Ornstein-Uhlenbeck process), for speed under a changing load, gusts or drifting levels.

    Args:
        rng (`np.random.Generator`): random generator.
        samples (`int`): length.
        seconds (`float`): correlation time.
        spread (`float`, *optional*, defaults to 1.0): standard deviation.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, mean 0.
    """
    steps = -(-samples // KNOT)
    keep = np.exp(-KNOT / RATE / seconds)
    draws = rng.standard_normal(steps + 1)
    draws[1:] *= np.sqrt(1 - keep**2)
    knots = (spread * np.asarray(lfilter([1.0], [1.0, -keep], draws))).astype(np.float32)
    return along(knots, samples)


def along(knots: np.ndarray, samples: int) -> np.ndarray:
    """Values every 10 ms, interpolated linearly."""
    ramp = np.arange(KNOT, dtype=np.float32) / KNOT
    return (knots[:-1, None] + np.diff(knots)[:, None] * ramp).reshape(-1)[:samples]


def knot_times(samples: int) -> np.ndarray:
    """Times in seconds of the values that [`along`] interpolates."""
    return np.arange(-(-samples // KNOT) + 1) * (KNOT / RATE)


def shaft(rng: np.random.Generator, samples: int, rate: float, wander: float = 0.002) -> np.ndarray:
    """
    The angle of a shaft whose speed varies slowly.

    Args:
        rng (`np.random.Generator`): random generator.
        samples (`int`): length.
        rate (`float`): mean speed in revolutions per second.
        wander (`float`, *optional*, defaults to 0.002): standard deviation of the speed relative to its mean, with
            a correlation time of a second; a third as much with a tenth of a second (torque ripple).

    Returns:
        `np.ndarray` of shape `(samples,)`, float64, in revolutions.
    """
    speed = slow(rng, samples, 1.0, wander) + slow(rng, samples, 0.1, wander / 3) + np.float32(1)
    turns = speed.astype(np.float64)
    np.cumsum(turns, out=turns)  # three times as fast as with a dtype
    turns *= rate / RATE
    turns += rng.random()
    return turns


def periodic(turns: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """
    A wave that repeats with every turn: the sum of cosines of the integer multiples of an angle.

    Args:
        turns (`np.ndarray` of shape `(samples,)`): the angle in revolutions, float64.
        amplitudes (`np.ndarray` of shape `(harmonics + 1,)`): complex amplitude of each multiple, from 0 on.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32.
    """
    size = max(1024, fast_length(32 * len(amplitudes), real=False))
    table = (irfft(amplitudes, size) * (size / 2)).astype(np.float32)
    table = np.append(table, table[:2])  # rounding may give a position of exactly `size`
    position = np.floor(turns)
    np.subtract(turns, position, out=position)
    position *= size
    cell = position.astype(np.intp)
    position -= cell
    part = position.astype(np.float32)
    # Clipping is never needed, and faster than a check of each place.
    wave = table[1:].take(cell, mode="clip") * part
    wave += table.take(cell, mode="clip") * (1 - part)
    return wave


def phased(rng: np.random.Generator, levels: list[float] | np.ndarray, every: int = 1) -> np.ndarray:
    """
    Complex amplitudes with random phases for [`periodic`].

    Args:
        rng (`np.random.Generator`): random generator of the phases.
        levels (`list[float]`): root mean square of each multiple in dB.
        every (`int`, *optional*, defaults to 1): the multiples are `every`, `2 every`, ... (blades, teeth).
    """
    amplitudes = np.zeros(every * len(levels) + 1, dtype=np.complex64)
    phases = np.exp(2j * np.pi * rng.random(len(levels)))
    amplitudes[every::every] = np.sqrt(2) * 10 ** (np.asarray(levels) / 20) * phases
    return amplitudes


@lru_cache(maxsize=8)
def frequencies(samples: int) -> np.ndarray:
    """Frequency of each bin of a real spectrum in Hz, float32."""
    return fft.rfftfreq(samples, 1 / RATE).astype(np.float32)


@lru_cache(maxsize=8)
def octaves(samples: int) -> np.ndarray:
    """Frequency of each bin as octaves above 1 kHz (from 10 Hz on), float32."""
    return np.log2(np.maximum(frequencies(samples), 10) / 1000)


@lru_cache(maxsize=64)
def band_gain(samples: int, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """
    A magnitude response through given corners, linear in dB over the logarithm of frequency.

    Args:
        samples (`int`): length of the signals to be filtered.
        corners (`tuple[tuple[float, float], ...]`): rising frequencies in Hz, each with its gain in dB.
    """
    hertz, decibels = np.array(corners).T
    curve = np.interp(octaves(samples), np.log2(hertz / 1000), decibels)
    return (10 ** (curve / 20)).astype(np.float32)


def color(rng: np.random.Generator, samples: int, spread: float) -> np.ndarray:
    """A random smooth magnitude response, `spread` dB (standard deviation) at each of eleven octaves."""
    points = np.arange(-6.0, 4.1, 1.0)
    decibels = np.interp(octaves(samples), points, spread * rng.standard_normal(len(points))).astype(np.float32)
    return np.exp(decibels * np.float32(np.log(10) / 20))


def shaped_noise(rng: np.random.Generator, samples: int, gain: np.ndarray) -> np.ndarray:
    """Gaussian noise with the magnitude response `gain`, root mean square 1."""
    spectrum = rng.standard_normal(2 * (samples // 2 + 1), dtype=np.float32).view(np.complex64) * gain
    spectrum[0] = 0
    return at_level(irfft(spectrum, samples), 0)


def resonate(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filters a signal with a complex frequency response, such as that of [`modes`]."""
    return irfft(rfft(signal) * response, len(signal))


def strike(hits: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filters impacts with the response of a structure, scaled so that strength 1 gives a peak of 1."""
    ring = irfft(response, len(hits))
    return resonate(hits, response / np.abs(ring).max())


@lru_cache(maxsize=64)
def modes(samples: int, hertz: tuple[float, ...], damping: tuple[float, ...], gains: tuple[float, ...]) -> np.ndarray:
    """
    Acceleration of a structure with vibration modes per force: each mode rings at its frequency and decays.

    Args:
        samples (`int`): length of the signals to be filtered.
        hertz (`tuple[float, ...]`), damping (`tuple[float, ...]`), gains (`tuple[float, ...]`): frequency, damping
            ratio and peak gain in dB of each mode.

    Returns:
        `np.ndarray` of shape `(samples // 2 + 1,)`, complex64.
    """
    f = frequencies(samples)
    response = np.zeros(len(f), dtype=np.complex64)
    for natural, ratio, gain in zip(hertz, damping, gains, strict=True):
        peak = amplitude(gain) * 2 * ratio
        response += (peak * f**2 / (natural**2 - f**2 + 2j * ratio * natural * f)).astype(np.complex64)
    return response


def structure(unit: np.random.Generator, samples: int, low: float, high: float, count: int, damping: float = 0.03):
    """
    The response of a structure with `count` random modes between two frequencies in Hz (see [`modes`]). Its mean power
    over the band is 1.
    """
    hertz = np.sort(np.exp(unit.uniform(np.log(low), np.log(high), count)))
    ratios = damping * np.exp(unit.normal(0, 0.3, count))
    gains = unit.normal(0, 4, count)
    response = modes(samples, tuple(hertz.tolist()), tuple(ratios.tolist()), tuple(gains.tolist()))
    band = response[int(low * samples / RATE) : int(high * samples / RATE)]
    return response / np.sqrt(np.mean(np.abs(band) ** 2))


def impulses(samples: int, times: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """
    Short forces at given times.

    Args:
        samples (`int`): length.
        times (`np.ndarray`): time of each impulse in samples, with fractions; times outside the signal are dropped.
        strengths (`np.ndarray`): strength of each impulse.
    """
    inside = (times >= 0) & (times < samples - 1)
    times, strengths = times[inside], strengths[inside]
    cell = times.astype(np.int64)
    part = times - cell
    weights = np.concatenate([strengths * (1 - part), strengths * part])
    return np.bincount(np.concatenate([cell, cell + 1]), weights, samples).astype(np.float32)


def passages(turns: np.ndarray, per_turn: float, rng: np.random.Generator, slip: float = 0.0) -> np.ndarray:
    """
    Times, in samples, of an event that happens `per_turn` times per turn.

    Args:
        turns (`np.ndarray` of shape `(samples,)`): angle of the shaft in revolutions.
        per_turn (`float`): events per revolution.
        rng (`np.random.Generator`): random generator of the slip.
        slip (`float`, *optional*, defaults to 0.0): standard deviation of each interval relative to its mean.
            Deviations add up, because rolling elements slip (Antoni and Randall, "A stochastic model for simulation
            and diagnostics of rolling element bearings with localized faults", J. Vib. Acoust. 125, 2003).
    """
    first = turns[0] * per_turn
    count = int((turns[-1] - turns[0]) * per_turn) + 1
    steps = 1 + slip * rng.standard_normal(count)
    angles = (first + rng.random() + np.cumsum(np.maximum(steps, 0.1)) - 1) / per_turn
    return np.interp(angles, turns[::16], np.arange(0, len(turns), 16), right=-1)


def sparse(rng: np.random.Generator, samples: int, per_second: float) -> np.ndarray:
    """Times of independent events (a Poisson process), in samples."""
    return rng.uniform(0, samples, rng.poisson(per_second * samples / RATE))
