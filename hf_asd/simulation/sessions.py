"""What differs from one day of recording to the next, and stays the same during a session."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np


REFLECTIONS = 8  # early ones, whose delays change when a microphone is moved
OTHER_MACHINES = 3
USUAL_TEMPERATURE, TEMPERATURE_SPREAD = 20.0, 6.0  # degrees Celsius
MOVED = 0.02  # standard deviation of the reflections' delays: a few centimeters
MOVED_DB, GAIN_DB, LOUDNESS_DB = 0.7, 1.0, 1.0  # standard deviations
OTHERS_RUN, OTHERS_CHANGE = 0.6, 0.1  # share of sessions in which another machine runs; of clips in which it does not


@dataclass(frozen=True)
class Session:
    """
    One day of recording.

    Args:
        number (`int`): of the day, from 0.
        seed (`tuple[int, int]`): of what is drawn anew for each session.
        temperature (`float`): of the hall in degrees Celsius: sound travels faster in warm air, and warm air swallows
            less of its high frequencies.
        delays (`np.ndarray` of shape `(8,)`): factors of the delays of the early reflections: the microphone was
            moved a little, and the temperature changes the speed of sound.
        gain_db (`float`): of the recorder, beside its usual one.
        loudness_db (`float`): of the machine, beside its usual one.
        loads (`tuple[float, ...]`): how often each of up to eight loads of the machine is run that day.
        others_run (`tuple[bool, ...]`): whether each of the three other machines in the hall runs.
        others_db (`tuple[float, ...]`): how loud they are, beside their usual level.
    """

    number: int
    seed: tuple[int, int]
    temperature: float
    delays: np.ndarray
    gain_db: float
    loudness_db: float
    loads: tuple[float, ...]
    others_run: tuple[bool, ...]
    others_db: tuple[float, ...]

    @property
    def place(self) -> np.random.Generator:
        """For the microphone's frequency response where it stands that day; always from the start."""
        return np.random.default_rng(self.seed)

    @property
    def tilt(self) -> float:
        """Change of the level in dB for each octave above 1 kHz."""
        return 0.03 * (self.temperature - USUAL_TEMPERATURE)


def draw_session(seed: int, machine: str, number: int) -> Session:
    """
    Draws what a day of recording is like; days are independent of one another.

    Args:
        seed (`int`): the factory's seed.
        machine (`str`): one of its machines.
        number (`int`): of the day, from 0.
    """
    own = (seed, crc32(f"session/{machine}/{number}".encode()))
    rng = np.random.default_rng((*own, 1))
    temperature = USUAL_TEMPERATURE + TEMPERATURE_SPREAD * rng.standard_normal()
    speed = np.sqrt((273.15 + USUAL_TEMPERATURE) / (273.15 + temperature))
    return Session(
        number=number,
        seed=own,
        temperature=float(temperature),
        delays=speed * (1 + MOVED * rng.standard_normal(REFLECTIONS)),
        gain_db=float(GAIN_DB * rng.standard_normal()),
        loudness_db=float(LOUDNESS_DB * rng.standard_normal()),
        loads=tuple(rng.dirichlet(np.full(8, 0.7)).tolist()),
        others_run=tuple((rng.random(OTHER_MACHINES) < OTHERS_RUN).tolist()),
        others_db=tuple((1.5 * rng.standard_normal(OTHER_MACHINES)).tolist()),
    )
