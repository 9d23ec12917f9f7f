"""One clip of the factory: operating condition, fault, and the recording."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from .acoustics import background, microphone, room
from .fourier import irfft, rfft
from .machines import MACHINES
from .machines.machine import Run
from .sessions import Session
from .signals import RATE, amplitude, at_level, padded_samples


@dataclass(frozen=True)
class Clip:
    """
    A planned clip.

    Args:
        machine (`str`): one of the factory's machines.
        split (`str`): `"train"` or `"test"`.
        domain (`str`): `"source"` or `"target"`.
        condition (`str`): `"normal"` or `"anomaly"`.
        number (`int`): counted from 0 for each combination of the above.
        attributes (`dict[str, str]`): operating condition.
        fault (`str`, *optional*): the fault of an anomalous clip.
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
    """A random generator that depends only on the factory's seed and on words."""
    return np.random.default_rng((seed, crc32("/".join(map(str, words)).encode())))


def draw_clip(
    seed: int, machine: str, split: str, domain: str, condition: str, number: int, session: Session | None = None
) -> Clip:
    """
    Draws operating condition and fault of a clip.

    Attributes are drawn from those of the domain. Each fault is used in turn, with a uniform severity.

    Args:
        seed (`int`): the factory's seed.
        machine, split, domain, condition, number: as for [`Clip`].
        session ([`Session`], *optional*): the day, on which some loads are run more often than others. Unit and
            microphone are then the first ones: an installation is one machine.
    """
    rng = generator(seed, "plan", machine, split, domain, condition, number)
    kind = MACHINES[machine]
    attributes = {key: str(rng.choice(values)) for key, values in getattr(kind, domain).items()}
    if session is not None:
        attributes |= _load(rng, getattr(kind, domain), session)
    if condition == "normal":
        return Clip(machine, split, domain, condition, number, attributes)
    fault = kind.faults[number % len(kind.faults)]
    return Clip(machine, split, domain, condition, number, attributes, fault, float(rng.random()))


def _load(rng: np.random.Generator, values: dict[str, tuple[str, ...]], session: Session) -> dict[str, str]:
    """The attributes of a clip of a session."""
    attributes = {}
    for key, choices in values.items():
        often = np.array(session.loads[: len(choices)])
        attributes[key] = choices[0] if key in ("unit", "mic") else str(rng.choice(choices, p=often / often.sum()))
    return attributes


def record_clip(
    clip: Clip,
    seed: int,
    seconds: float,
    snr_db: tuple[float, float],
    is_running: bool = True,
    session: Session | None = None,
) -> np.ndarray:
    """
    Simulates the recording of a clip.

    Args:
        clip ([`Clip`]): the planned clip.
        seed (`int`): the factory's seed.
        seconds (`float`): duration.
        snr_db (`tuple[float, float]`): lowest and highest signal-to-noise ratio, the level of the machine above
            the background in dB over the clip; drawn for each clip.
        is_running (`bool`, *optional*, defaults to `True`): `False` switches the machine off: only the background
            remains, with the same gain.
        session ([`Session`], *optional*): the day on which it is recorded; by default clips differ among themselves
            alone.

    Returns:
        `np.ndarray` of shape `(seconds * 16000,)`, float32, full scale at 1.
    """
    samples, words = padded_samples(seconds), (clip.machine, clip.split, clip.domain, clip.condition, clip.number)
    rng = generator(seed, "recording", *words)
    snr = rng.uniform(*snr_db)
    level = -36 + rng.standard_normal()
    if session is not None:
        snr, level = snr + session.loudness_db, level + session.gain_db
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
    machine = irfft(rfft(machine) * room(place, rng, samples, session), samples)
    around = np.float32(amplitude(-snr)) * background(hall, corner, rng, samples, session)
    recorded = at_level(machine, 0) + around
    if not is_running:
        level += 20 * np.log10(np.sqrt(np.mean(np.square(around)) / np.mean(np.square(recorded))))
        recorded = around
    return microphone(rng, recorded, level)[-round(seconds * RATE) :]
