"""The path from a machine to the recording: room, background noise of the factory, microphone."""

import numpy as np
from scipy.signal import lfilter

from .fourier import irfft, rfft
from .sessions import MOVED_DB, OTHERS_CHANGE, Session
from .signals import (
    RATE,
    along,
    amplitude,
    at_level,
    band_gain,
    color,
    frequencies,
    impulses,
    knot_times,
    octaves,
    periodic,
    phased,
    shaft,
    shaped_noise,
    slow,
    sparse,
    structure,
)


# Long-term spectrum of speech at a distance, after Byrne et al., "An international comparison of long-term average
# speech spectra", J. Acoust. Soc. Am. 96, 1994: octave levels relative to 500 Hz.
SPEECH = ((63, -18.0), (125, -3.0), (250, 0.0), (500, 0.0), (1000, -9.0), (2000, -14.0), (4000, -18.0), (8000, -24.0))
CLANKS_PER_SECOND = 0.08
# Distant fans and ducts of a hall: noise that falls with frequency.
VENTILATION = ((20, -6.0), (60, 0.0), (250, -6.0), (1000, -15.0), (4000, -27.0), (8000, -38.0))


def room(
    place: np.random.Generator, rng: np.random.Generator, samples: int, session: Session | None = None
) -> np.ndarray:
    """
    The path from a machine to a microphone nearby: direct sound, a few early reflections, and a tail of decaying noise
    that loses high frequencies with time (Moorer, "About this reverberation business", Computer Music Journal 3,
    1979).

    Args:
        place (`np.random.Generator`): seeded by the position of the microphone, so that each position has the
            same response in all clips.
        rng (`np.random.Generator`): small differences between clips, because a microphone is never placed twice
            at exactly the same point.
        samples (`int`): length of the signals to be filtered.
        session ([`Session`], *optional*): the day: where the microphone stands, and how warm it is.

    Returns:
        `np.ndarray` of shape `(samples // 2 + 1,)`, complex64: a frequency response.
    """
    decay, distance = place.uniform(0.25, 0.6), place.uniform(0.5, 1.5)
    delays = place.uniform(0.001, 0.025, 8) * RATE * (1 + 0.01 * rng.standard_normal(8))
    if session is not None:
        delays *= session.delays
    gains = place.choice([-1, 1], 8) * 0.5 * distance * np.exp(-place.uniform(0, 2, 8))
    length = int(0.4 * RATE)
    time = np.arange(length, dtype=np.float32) / RATE
    tail = place.standard_normal((2, length), dtype=np.float32)
    tail += 0.35 * rng.standard_normal((2, length), dtype=np.float32)
    dark = np.convolve(tail[1], np.hanning(9).astype(np.float32) / 4, mode="same")
    tail = tail[0] * np.exp(-13.8 / decay * time) + dark * np.exp(-6.9 / decay * time)
    tail[: int(0.004 * RATE)] = 0
    response = np.zeros(samples, dtype=np.float32)
    response[:length] = np.float32(0.02 * distance) * tail
    response += impulses(samples, delays, gains)
    response[0] += 1
    path = rfft(response) * color(rng, samples, 0.8)
    if session is None:
        return path
    air = np.float32(amplitude(session.tilt)) ** octaves(samples).clip(0)
    return path * color(session.place, samples, MOVED_DB) * air


def background(
    hall: np.random.Generator,
    corner: np.random.Generator,
    rng: np.random.Generator,
    samples: int,
    session: Session | None = None,
) -> np.ndarray:
    """
    Background noise of a factory: ventilation, two or three other machines, clanks, hissing air, speech-like noise.

    Args:
        hall (`np.random.Generator`): seeded by the hall: ventilation and two other machines.
        corner (`np.random.Generator`): seeded by the part of the hall: a third other machine.
        rng (`np.random.Generator`): random events of this clip.
        samples (`int`): length.
        session ([`Session`], *optional*): the day: which of the other machines run; by default they run in 60 % of
            the clips, whatever the day.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, root mean square 1.
    """
    gain = band_gain(samples, VENTILATION) * color(hall, samples, 3.0) * color(rng, samples, 1.2)
    sound = shaped_noise(rng, samples, gain) * np.exp(slow(rng, samples, 2.0, 0.08))
    for number, site in enumerate((hall, hall, corner)):
        rate, teeth, level = site.uniform(8, 50), int(site.integers(2, 12)), site.uniform(-16, -7)
        tones = phased(site, site.uniform(-12, 0, 8) - 4 * np.arange(8), teeth)
        hull = np.abs(structure(site, samples, 120, 3000, 5, 0.12))
        share, louder = 0.6, 0.0  # other machines do not always run
        if session is not None:
            share = 1 - OTHERS_CHANGE if session.others_run[number] else OTHERS_CHANGE
            louder = session.others_db[number]
        if rng.random() < share:
            turns = shaft(rng, samples, rate * rng.normal(1, 0.02), 0.003)
            gust = np.exp(slow(rng, samples, 0.7, 0.2))
            other = at_level(periodic(turns, tones), 0) + shaped_noise(rng, samples, hull) * gust
            sound += at_level(other, level + louder + rng.normal(0, 2))
    sound += _clanks(rng, samples)
    if rng.random() < 0.25:
        sound += np.float32(amplitude(rng.uniform(-22, 0))) * _hisses(rng, samples)
    if rng.random() < 0.3:
        syllables = np.exp(slow(rng, samples, 0.06, 0.9) + slow(rng, samples, 1.0, 0.6))
        sound += at_level(shaped_noise(rng, samples, band_gain(samples, SPEECH)) * syllables, rng.uniform(-18, -8))
    return at_level(sound, 0)


def _clanks(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Metal on metal somewhere in the hall: impacts with random modes and reverberation."""
    sound = np.zeros(samples, dtype=np.float32)
    for moment in sparse(rng, samples, CLANKS_PER_SECOND).astype(int):
        length = min(samples - moment, int(0.8 * RATE))
        time = np.arange(length, dtype=np.float32) / RATE
        hertz, decay = np.exp(rng.uniform(np.log(200), np.log(5000), 5)), rng.uniform(0.02, 0.1, 5)
        strike = rng.standard_normal(length, dtype=np.float32) * np.exp(time / np.float32(-rng.uniform(0.003, 0.03)))
        for f, d in zip(hertz, decay, strict=True):
            strike += np.float32(0.5) * np.sin(np.float32(2 * np.pi * f) * time) * np.exp(time / np.float32(-d))
        # Reverberation: decaying noise that loses high frequencies first.
        tail = rng.standard_normal(length, dtype=np.float32)
        bright = tail * np.exp(time / np.float32(-0.05))
        dark = np.asarray(lfilter([0.15], [1, -0.85], tail)).astype(np.float32) * np.exp(time / np.float32(-0.14))
        loud = np.float32(rng.lognormal(0.6, 1.0))
        sound[moment : moment + length] += loud * (strike + np.float32(0.4) * bright + dark)
    return sound


def _hisses(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Compressed air of a blow gun or a cylinder, repeated for some time."""
    strength = np.zeros(len(knot_times(samples)), dtype=np.float32)
    time, every = knot_times(samples), rng.uniform(0.7, 3.0)
    length, begin, end = rng.uniform(0.1, 0.6) * every, *np.sort(rng.uniform(-5, samples / RATE + 5, 2))
    for start in np.arange(begin, end, every):
        strength += np.exp(-np.maximum(time - start - length, 0) / 0.05) * (time > start) * rng.lognormal(0, 0.3)
    peak = rng.uniform(1500, 5000)
    gain = band_gain(samples, ((peak / 10, -25.0), (peak, 0.0), (4 * peak, -9.0)))
    return shaped_noise(rng, samples, gain) * along(strength, samples)


def microphone(rng: np.random.Generator, sound: np.ndarray, level: float) -> np.ndarray:
    """
    The recording chain: a high pass at 30 Hz, high frequencies that vary from clip to clip, noise and gain.

    Args:
        rng (`np.random.Generator`): random generator.
        sound (`np.ndarray` of shape `(samples,)`): sound at the microphone.
        level (`float`): root mean square of the recording in dB of full scale.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, below full scale.
    """
    samples = len(sound)
    f = frequencies(samples)
    response = f**2 / (f**2 + 30**2) * np.exp2(octaves(samples) * np.float32(rng.normal(0, 0.05)))
    recorded = at_level(irfft(rfft(sound) * response, samples), level)
    recorded += np.float32(amplitude(-78)) * rng.standard_normal(samples, dtype=np.float32)
    return recorded * np.float32(min(1.0, 0.95 / np.abs(recorded).max()))
