"""What the page shows and plays of a recording: its picture in light and dark colors, and its sound at one volume."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..audio.errors import BadAudioError
from ..audio.reading import SAMPLING_RATE
from ..detection.decision import Decision
from ..detection.detector import AnomalyDetector
from ..detection.plots import clip_image, decision_color, judged_clip, worst_window
from ..plotting.scores import ScoreRow, draw_scores
from ..plotting.spectrogram import ClipImage, draw_spectrogram, level_limits, log_mel
from ..plotting.style import THEMES, Theme, ThemeName, data_uri, styled, svg
from .judging import JudgedClip
from .normal_recordings import NormalRecordings


PLAYED_PEAK = 0.5  # of full scale: of a normal recording as it is played, so that a louder one is not cut off
PLAYED_SECONDS = 120
WIDTH = 4.6  # in inches; wider pictures could not be read on a phone


@dataclass(frozen=True)
class SoundView:
    """
    A recording that can be looked at and listened to.

    Args:
        pictures (`dict[str, str]`): data URIs by theme.
        left, right, top, bottom (`float`): where the spectrogram lies within a picture, in percent from the left and
            from the top.
        seconds (`float`): how long it is.
        sound (`str`): a data URI; its first two minutes at most.
    """

    pictures: dict[ThemeName, str]
    left: float
    right: float
    top: float
    bottom: float
    seconds: float
    sound: str


def in_both_themes(height: float, draw: Callable[[Axes, Theme], None]) -> tuple[dict[ThemeName, str], Axes]:
    """
    Draws a figure for light and dark pages.

    Args:
        height (`float`): in inches.
        draw (`Callable[[Axes, Theme], None]`): draws it.

    Returns:
        `tuple[dict[str, str], Axes]`: data URIs by theme, and where the drawing lies in them.
    """
    pictures: dict[ThemeName, str] = {}
    axes = Figure().subplots()
    for name, theme in THEMES.items():
        with styled(theme):
            axes = Figure(figsize=(WIDTH, height), layout="constrained").subplots()
            draw(axes, theme)
            pictures[name] = svg(axes.figure)  # pyright: ignore[reportArgumentType]
    return pictures, axes


def sound_view(image: ClipImage, samples: np.ndarray, volume: float) -> SoundView:
    """
    What is shown and played of a recording.

    Args:
        image ([`~hf_asd.plotting.spectrogram.ClipImage`]): what is drawn.
        samples (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.
        volume (`float`): factor for the samples that are played.
    """
    pictures, axes = in_both_themes(2.4, lambda axes, theme: draw_spectrogram(axes, image, theme))
    box = axes.get_position()
    left, right, top, bottom = (round(100 * share, 2) for share in (box.x0, box.x1, 1 - box.y1, 1 - box.y0))
    return SoundView(pictures, left, right, top, bottom, image.seconds, _sound(samples, volume))


def _sound(samples: np.ndarray, volume: float) -> str:
    buffer = io.BytesIO()
    played = np.clip(samples[: PLAYED_SECONDS * SAMPLING_RATE] * volume, -1, 1)
    soundfile.write(buffer, played, SAMPLING_RATE, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE")
    return data_uri("audio/mpeg", buffer.getvalue())


def volume_for(samples: np.ndarray) -> float:
    """The factor with which a recording is played at the usual volume."""
    return PLAYED_PEAK / max(float(np.abs(samples).max()), 1e-5)


def sound_views(
    detector: AnomalyDetector,
    clip: JudgedClip,
    decision: Decision,
    normal: NormalRecordings,
    volumes: dict[str, float],
) -> tuple[SoundView | None, SoundView | None]:
    """
    A recording, and beside it the most similar normal one.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): that decided.
        clip ([`JudgedClip`]): the recording.
        decision ([`~hf_asd.detection.decision.Decision`]): about it.
        normal ([`NormalRecordings`]): where the most similar one is looked for.
        volumes (`dict[str, float]`): by machine; set by the first recording that is played, a normal one where there
            is one, and the same for all that follow.

    Returns:
        `tuple[SoundView | None, SoundView | None]`: `None` for one that cannot be read or is not at hand.
    """
    try:
        samples = judged_clip(detector, decision, clip.path).samples
    except BadAudioError:  # the user moved it
        return None, None
    nearest = normal.read(decision.nearest_clip_id, detector.config.channel)
    volume = volumes.setdefault(decision.machine, volume_for(samples if nearest is None else nearest))
    limits = level_limits([log_mel(one) for one in (samples, nearest) if one is not None])
    span = worst_window(decision)
    reasons = () if decision.abstain_reason is not None else decision.reasons or ()
    start = 0.0 if span is None else span[0]
    shown = clip_image(detector, decision.machine, samples, reasons=reasons, limits=limits, start_s=start)
    view = sound_view(shown, samples, volume)
    if nearest is None:
        return view, None
    beside = clip_image(detector, decision.machine, nearest, limits=limits)
    return view, sound_view(beside, nearest, volume)


def score_pictures(detector: AnomalyDetector, decision: Decision) -> dict[ThemeName, str]:
    """A score beside those of the normal recordings, with the threshold; data URIs by theme."""
    scores = detector.machines[decision.machine].normal_scores

    def draw(axes: Axes, theme: Theme) -> None:
        color = decision_color(decision.is_anomaly, theme)
        rows: Sequence[ScoreRow] = [
            ScoreRow(f"{len(scores)} normal", scores, theme.normal),
            ScoreRow("this one", np.array([decision.anomaly_score]), color, is_single=True),
        ]
        draw_scores(axes, rows, decision.threshold, theme)

    return in_both_themes(1.5, draw)[0]
