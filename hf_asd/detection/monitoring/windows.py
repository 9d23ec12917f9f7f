"""What a source gives: windows of sound, and faults."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...audio.errors import BadAudioError
from ...audio.reading import MINIMUM_SECONDS
from ...audio.recording import open_recording


POLL_SECONDS = 0.5  # between two looks at a file or a folder


@dataclass(frozen=True)
class Window:
    """
    Sound that one decision is about.

    Args:
        source (`str`): file or pipe it comes from.
        start_s (`float`): where it begins, in seconds.
        samples (`np.ndarray` of shape `(samples, channels)`): float32, full scale at 1.
        sampling_rate (`int`): in Hz.
    """

    source: str
    start_s: float
    samples: np.ndarray
    sampling_rate: int


@dataclass(frozen=True)
class Fault:
    """
    Something that cannot be read; the work goes on.

    Args:
        source (`str`): file, folder or pipe.
        error (`str`): what was found, and what happens next or is to be done.
        start_s (`float`, *optional*, defaults to 0): from where on, in seconds.
    """

    source: str
    error: str
    start_s: float = 0.0


def recording_windows(path: str, seconds: float) -> Iterator[Window | Fault]:
    """
    The windows of a recording that is whole.

    Args:
        path (`str`): the file.
        seconds (`float`): length of a window. The rest at the end is one too if it is at least half as long or the
            whole recording; a shorter rest belongs to the window before it, so that nothing remains unheard.
    """
    last: Window | None = None  # it may become longer
    position, rate = 0, 1
    try:
        with open_recording(path) as recording:
            rate = recording.sampling_rate
            for samples in recording.blocks(round(seconds * rate)):
                if last is not None and len(samples) < seconds / 2 * rate:
                    last = replace(last, samples=np.concatenate([last.samples, samples]))
                else:
                    if last is not None:
                        yield last
                    last = Window(path, position / rate, samples, rate)
                position += len(samples)
    except (BadAudioError, OSError) as error:
        yield Fault(path, without_name(error, path), position / rate)
        return
    if last is None or position < MINIMUM_SECONDS * rate:
        yield too_short(path, position / rate)
    else:
        yield last


def is_enough(left_seconds: float, position: float, seconds: float) -> bool:
    """Whether the rest of a recording is a window: half as long as one, or the whole recording."""
    return left_seconds >= (seconds / 2 if position else MINIMUM_SECONDS)


def too_short(source: str, seconds: float) -> Fault:
    """The fault of a recording without a window."""
    return Fault(source, f"is too short, {seconds:.3f} s; at least {MINIMUM_SECONDS} s are needed.")


def without_name(error: Exception, path: str) -> str:
    """The text of an error about a file, whose name stands beside it already."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}."
    return str(error).removeprefix(f"{path}: ")
