"""Windows of sound from a pipe."""

import logging
from collections.abc import Iterator
from typing import BinaryIO

from ...audio.errors import BadAudioError
from ...audio.pipes.opening import open_stream
from ...audio.reading import MINIMUM_SECONDS
from ..config import MonitorConfig
from .windows import Fault, Window, is_enough, too_short


logger = logging.getLogger(__name__)

PIPE = "-"


def pipe_windows(pipe: BinaryIO, seconds: float, config: MonitorConfig) -> Iterator[Window | Fault]:
    """
    The windows of a pipe until it is closed.

    Args:
        pipe (`BinaryIO`): read without seeking.
        seconds (`float`): length of a window.
        config ([`MonitorConfig`]): the layout of samples without a header.

    Raises:
        ValueError: an option contradicts the header in the pipe.
    """
    try:
        stream = open_stream(pipe, config.sampling_rate, config.channels, config.sample_format)
    except BadAudioError as error:
        yield Fault(PIPE, str(error))
        return
    logger.info("the pipe holds %s", stream)
    position, rate = 0, stream.sampling_rate
    size = round(seconds * rate)
    fault = None
    try:
        for samples in stream.blocks(size):
            if len(samples) == size or is_enough(len(samples) / rate, position, seconds):
                yield Window(PIPE, position / rate, samples, rate)
            position += len(samples)
    except BadAudioError as error:
        fault = Fault(PIPE, str(error), position / rate)
    if fault is not None:
        yield fault
    elif position < MINIMUM_SECONDS * rate:
        yield too_short(PIPE, position / rate)
