"""What is kept of each normal clip while it is decoded, to compare it with the others."""

from dataclasses import dataclass

import numpy as np

from ...audio.acoustic_features import extract_levels
from ...audio.reading import DecodedClip
from ..explanation.input_checks import InputMeasures
from .copies import digest, fingerprint
from .pieces import Ends


@dataclass(frozen=True)
class ClipMeasures:
    """
    Args:
        sampling_rate (`int`, in Hz), channels (`int`): of the clip as it was stored.
        silent_channels (`tuple[int, ...]`): of the channels that are used, where these are several, those without
            sound.
        decibels (`float`): root mean square, in dB of full scale; a constant under the sound does not count.
        checked ([`~hf_asd.detection.explanation.input_checks.InputMeasures`]): what recordings are checked for.
        digest (`bytes`), fingerprint (`np.ndarray`): of [`~hf_asd.detection.training_clips.copies`].
        ends ([`~hf_asd.detection.training_clips.pieces.Ends`], *optional*): how it begins and ends.
    """

    sampling_rate: int
    channels: int
    silent_channels: tuple[int, ...]
    decibels: float
    checked: InputMeasures
    digest: bytes
    fingerprint: np.ndarray
    ends: Ends | None

    @classmethod
    def of(cls, clip: DecodedClip, levels: dict[str, np.ndarray] | None = None) -> "ClipMeasures":
        """Of a clip; `levels` are its `level` and `spectrum` where these are known."""
        silent = set()
        if clip.stored is not None and not isinstance(clip.stored.channel, int):
            silent = set(range(clip.channels)) - set(clip.stored.channels_with_sound)
        return cls(
            sampling_rate=clip.sampling_rate,
            channels=clip.channels,
            silent_channels=tuple(sorted(silent)),
            decibels=20 * float(np.log10(max(float(clip.samples.std()), 1e-9))),
            checked=InputMeasures.of(clip, extract_levels(clip.samples) if levels is None else levels),
            digest=digest(clip.samples),
            fingerprint=fingerprint(clip.samples),
            ends=Ends.of(clip.stored, clip.sampling_rate) if clip.stored else None,
        )
