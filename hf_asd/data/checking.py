"""Unusable recordings of a dataset: all of them named in one error, or left out and listed."""

from collections.abc import Callable, Sequence

import numpy as np
from datasets import DatasetDict

from ..audio.channels import Channel
from ..audio.reading import BadAudioError, OnBadAudio, read_audio
from ..audio.stored_sound import channel_hint
from ..options import check_word
from ..threads import map_clips
from .schema import undecoded_audio


MOST_NAMES = 200  # of recordings with the same fault


def drop_bad_audio(
    dataset: DatasetDict,
    on_bad_audio: OnBadAudio = "error",
    channel: Channel = 0,
    visit: Callable[[dict, np.ndarray], None] | None = None,
) -> tuple[DatasetDict, list[str]]:
    """
    Reads every recording once, and refuses or drops those that cannot be used.

    For training, which reads recordings many times; a detector checks its recordings where it decodes them.

    Args:
        dataset (`datasets.DatasetDict`): splits of the schema; only `audio` is read.
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether bad recordings stop the work
            or are dropped.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        visit (`Callable[[dict, np.ndarray], None]`, *optional*): called with the undecoded `audio` and the samples of
            each usable recording, from several threads.

    Returns:
        `tuple[datasets.DatasetDict, list[str]]`: the usable rows, and one message for every dropped one.

    Raises:
        BadAudioError: with `"error"`, one message that names every bad file.
        ValueError: `on_bad_audio` is neither of the two.
    """
    check_word("on_bad_audio", on_bad_audio, OnBadAudio)

    def read(audio: dict) -> str | None:
        """What is wrong with a recording."""
        try:
            samples = read_audio(audio, channel=channel)
        except BadAudioError as error:
            return str(error)
        if visit is not None:
            visit(audio, samples)
        return None

    usable, messages = {}, []
    for split, rows in dataset.items():
        faults = map_clips(read, undecoded_audio(rows), f"checking {split} recordings")
        good = [row for row, fault in enumerate(faults) if fault is None]
        messages += [fault for fault in faults if fault is not None]
        usable[split] = rows if len(good) == len(rows) else rows.select(good)
    if messages and on_bad_audio == "error":
        raise all_bad_audio(messages, sum(map(len, dataset.values())))
    return DatasetDict(usable), messages


def all_bad_audio(messages: Sequence[str], count: int) -> BadAudioError:
    """
    One error for all unusable recordings.

    Args:
        messages (`Sequence[str]`): one for each of them.
        count (`int`): recordings that were read.
    """
    listed = "\n  ".join(_same_together(messages))
    hint = channel_hint(messages)
    return BadAudioError(
        f"{len(messages)} of {count} recordings cannot be used:\n  {listed}\n{hint + chr(10) if hint else ''}"
        "Repair or remove them, or leave them out with --on-bad-audio skip (on_bad_audio='skip')."
    )


def _same_together(messages: Sequence[str]) -> list[str]:
    """Recordings with the same fault in one line."""
    names: dict[str, list[str]] = {}
    for message in messages:
        name, _, text = message.partition(": ")
        names.setdefault(text, []).append(name)
    return [f"{_listed(own)}: {text}" for text, own in names.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
