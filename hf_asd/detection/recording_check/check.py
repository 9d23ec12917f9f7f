"""Reads recordings, and measures the quality of each."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
from datasets import Dataset

from ...audio.channels import Channel
from ...audio.reading import BadAudioError
from ...audio.windows import Window, WindowRule, read_windows
from ...data.schema import undecoded_audio
from .quality import SoundQuality, of_recording
from .verdicts import Remark, Verdict, remarks_about, verdict_of


RULE = WindowRule(10.0, 60.0)  # recordings of hours are read in bounded memory
MOST_OF_FIT = 40  # recordings that `fit` looks at: they show what the microphone is like


@dataclass(frozen=True)
class CheckedRecording:
    """
    A recording and what is to be said about it.

    Args:
        name (`str`): its path.
        quality ([`SoundQuality`], *optional*): what was measured; `None` where it cannot be read.
        remarks (`list[Remark]`): what was found, and what to change.
        error (`str`, *optional*): why it cannot be read.
    """

    name: str
    quality: SoundQuality | None
    remarks: list[Remark] = field(default_factory=list)
    error: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Good, usable, or to be recorded again."""
        return "record again" if self.quality is None else verdict_of(self.remarks)

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        texts = [remark.text for remark in self.remarks] or ([] if self.error is None else [self.error])
        measured = {} if self.quality is None else asdict(self.quality)
        return {"file": self.name, "verdict": self.verdict, "remarks": texts, **measured}


def check_recordings(rows: Dataset, channel: Channel = 0) -> Iterator[CheckedRecording]:
    """
    Checks recordings one after the other.

    Args:
        rows (`datasets.Dataset`): only `audio` is read.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].

    Yields:
        [`CheckedRecording`]: one that cannot be read comes with its error.
    """
    for audio in undecoded_audio(rows):
        yield check_recording(audio, channel)


def check_recording(audio: dict, channel: Channel = 0) -> CheckedRecording:
    """
    Checks one recording.

    Args:
        audio (`dict`): a row's undecoded `audio`.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
    """
    parts, starts, name = [], [], str(audio["path"])
    try:
        for window in read_windows(audio, RULE, channel):
            if window.clip is None:
                raise BadAudioError(f"{window.error}")
            parts.append(SoundQuality.of(window.clip, with_voice=True))
            starts.append(0.0 if window.span is None else window.span[0])
    except BadAudioError as error:
        return CheckedRecording(name, None, error=str(error).removeprefix(f"{name}: "))
    quality = of_recording(parts, starts)
    return CheckedRecording(name, quality, remarks_about(quality))


class QualityOfSome:
    """
    Measures some of the recordings that are decoded for something else: their first windows, spread over all rows.

    Args:
        count (`int`): how many rows there are.
    """

    def __init__(self, count: int):
        self._wanted = set(np.linspace(0, max(count - 1, 0), MOST_OF_FIT).astype(int).tolist())
        self._found: dict[int, SoundQuality] = {}

    def __call__(self, row: int, window: Window) -> None:
        if row in self._wanted and row not in self._found and window.clip is not None:
            self._found[row] = SoundQuality.of(window.clip)

    @property
    def qualities(self) -> list[SoundQuality]:
        """Of the recordings that were seen, in the order of their rows."""
        return [quality for _, quality in sorted(self._found.items())]
