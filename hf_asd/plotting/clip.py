"""The figure of one clip: what was decided, where it differs, and its score beside those of the normal clips."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from .scores import ScoreRow, draw_scores
from .spectrogram import ClipImage, draw_spectrogram
from .style import Theme


LINE_LENGTH = 105  # characters


@dataclass(frozen=True)
class ClipText:
    """
    What is written above a clip.

    Args:
        verdict (`str`): the decision in words.
        reasons (`Sequence[str]`): what is unusual, a line each.
        is_alarm (`bool`): whether the verdict has the color of anomalies.
    """

    verdict: str
    reasons: Sequence[str]
    is_alarm: bool


def clip_figure(
    text: ClipText, image: ClipImage, scores: Sequence[ScoreRow], threshold: float | None, theme: Theme
) -> Figure:
    """
    Draws a clip.

    Args:
        text ([`ClipText`]): written above it.
        image ([`~hf_asd.plotting.spectrogram.ClipImage`]): its spectrogram with the score map and marked bands.
        scores (`Sequence[ScoreRow]`): of the normal clips, then of this one.
        threshold (`float`): drawn into the scores.
        theme ([`~hf_asd.plotting.style.Theme`]): the colors.

    Returns:
        `matplotlib.figure.Figure`.
    """
    lines = [textwrap.fill(text.verdict, LINE_LENGTH - 25)]
    reasons = [textwrap.fill(reason, LINE_LENGTH, subsequent_indent="    ") for reason in text.reasons]
    height = 0.26 * (lines[0].count("\n") + 1) + 0.17 * sum(reason.count("\n") + 1 for reason in reasons) + 0.15
    figure = Figure(figsize=(8.2, 4.3 + height), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=[height, 3.0, 1.3])
    words, sound, below = parts
    color = theme.anomaly if text.is_alarm else theme.ink
    words.text(0.012, 0.93, lines[0], va="top", fontsize=12, fontweight="bold", color=color)
    if reasons:
        words.text(0.012, 0.04, "\n".join(reasons), va="bottom", fontsize=8.5, linespacing=1.35)
    axes = sound.subplots()
    draw_spectrogram(axes, image, theme)
    draw_scores(below.subplots(), scores, threshold, theme)
    return figure
