"""One clip of the factory: which machine runs how, what breaks, and what the microphone hears."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy import fft

from .acoustics import background, microphone, room
from .machines import MACHINES
from .machines.machine import Run
from .signals import RATE, amplitude, at_level, padded_samples


@dataclass(frozen=True)
class Clip:
    """
    What is recorded.

    Args:
        machine (`str`): one of the factory's machines.
        split (`str`): `"train"` or `"test"`.
        domain (`str`): `"source"` or `"target"`.
        condition (`str`): `"normal"` or `"anomaly"`.
        number (`int`): counted from 0 within the above.
        attributes (`dict[str, str]`): how the machine runs.
        fault (`str`, *optional*): what is broken.
        severity (`float`, *optional*, defaults to 0.0): from 0 (about to begin) to 1 (severe).
    """

    machine: str
    split: str
    domain: str
    condition: str
    number: int
    attributes: dict[str, str]
    fault: str | None = None
    severity: float = 0.0


def generator(seed: int, *words: object) -> np.random.Generator:
    """A random generator that depends on the factory's seed and on words, and on nothing else."""
    return np.random.default_rng((seed, crc32("/".join(map(str, words)).encode())))


def draw_clip(seed: int, machine: str, split: str, domain: str, condition: str, number: int) -> Clip:
    """
    Decides how a machine runs in one clip.

    Attributes are drawn from those of the domain; faults take turns, their severity is uniform.

    Args:
        seed (`int`): the factory's seed.
        machine, split, domain, condition, number: as for [`Clip`].
    """
    rng = generator(seed, "plan", machine, split, domain, condition, number)
    kind = MACHINES[machine]
    attributes = {key: str(rng.choice(values)) for key, values in getattr(kind, domain).items()}
    if condition == "normal":
        return Clip(machine, split, domain, condition, number, attributes)
    fault = kind.faults[number % len(kind.faults)]
    return Clip(machine, split, domain, condition, number, attributes, fault, float(rng.random()))


def record_clip(
    clip: Clip, seed: int, seconds: float, snr_db: tuple[float, float], is_running: bool = True
) -> np.ndarray:
    """
    What the microphone hears.

    Args:
        clip ([`Clip`]): what is recorded.
        seed (`int`): the factory's seed.
        seconds (`float`): length.
        snr_db (`tuple[float, float]`): lowest and highest level of the machine above the factory's background in dB
            over the clip; each clip's is drawn between them.
        is_running (`bool`, *optional*, defaults to `True`): `False` switches the machine off: the same moment at the
            same gain with the factory alone.

    Returns:
        `np.ndarray` of shape `(seconds * 16000,)`, float32, full scale at 1.
    """
    samples, words = padded_samples(seconds), (clip.machine, clip.split, clip.domain, clip.condition, clip.number)
    rng = generator(seed, "recording", *words)
    snr = rng.uniform(*snr_db)
    level = -36 + rng.standard_normal()
    run = Run(
        samples,
        clip.attributes,
        unit=generator(seed, "unit", clip.machine, clip.attributes.get("unit", "A")),
        rng=generator(seed, "healthy", *words),
        fault_rng=generator(seed, "fault", *words),
        fault=clip.fault,
        severity=clip.severity,
    )
    place = generator(seed, "place", clip.machine, clip.attributes.get("mic", "1"))
    hall, corner = generator(seed, "hall", clip.machine), generator(seed, "corner", clip.machine, clip.domain)
    machine = MACHINES[clip.machine].sound(run)
    machine = fft.irfft(fft.rfft(machine) * room(place, rng, samples), samples)
    around = np.float32(amplitude(-snr)) * background(hall, corner, rng, samples)
    heard = at_level(machine, 0) + around
    if not is_running:
        level += 20 * np.log10(np.sqrt(np.mean(np.square(around)) / np.mean(np.square(heard))))
        heard = around
    return microphone(rng, heard, level)[-round(seconds * RATE) :]
