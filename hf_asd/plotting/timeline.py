"""Anomaly scores over time: session by session, with the threshold and a slow trend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .scores import MANY_DOTS, set_score_axis
from .style import Theme


WIDTH, HEIGHT = 8.6, 2.9  # inches
DOTS_WIDTH = 0.72  # of the room of a session
MOST_NAMES = 16  # sessions that are named below the axis
# The shapes of the report's words for decisions, for readers who do not see colors.
SHAPES = {True: "^", False: "o", None: "o"}


@dataclass(frozen=True)
class SessionColumn:
    """
    The recordings of one session.

    Args:
        name (`str`): such as its day.
        scores (`np.ndarray` of shape `(recordings,)`): anomaly scores in the order of time.
        decisions (`Sequence[bool | None]`, *optional*): whether each is an anomaly; `None`: no decision. Normal
            recordings that a detector learned from have no decisions.
        median (`float`, *optional*): of the scores that count for a trend.
    """

    name: str
    scores: np.ndarray
    decisions: Sequence[bool | None] | None = None
    median: float | None = None


@dataclass(frozen=True)
class TrendLine:
    """
    Args:
        first, last (`int`): numbers of the new sessions in whose middle the line begins and ends; may lie between two.
        low, high (`float`): scores there.
    """

    first: float
    last: float
    low: float
    high: float


def timeline_figure(
    normal: Sequence[SessionColumn],
    new: Sequence[SessionColumn],
    threshold: float,
    theme: Theme,
    trend: TrendLine | None = None,
    drift_from: int | None = None,
) -> Figure:
    """
    Scores session by session: first those of the normal recordings, then those of new ones.

    Args:
        normal, new (`Sequence[SessionColumn]`): in the order of time.
        threshold (`float`): scores above it are anomalies.
        theme ([`~hf_asd.plotting.style.Theme`]): the colors.
        trend ([`TrendLine`], *optional*): a slow rise.
        drift_from (`int`, *optional*): number of the first new session that is unlike all before.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    usual = np.concatenate([column.scores for column in normal])
    everything = np.concatenate([usual, *(column.scores for column in new), [threshold]])
    set_score_axis(axes, usual, threshold, everything, is_vertical=True)
    axes.set_xlim(-0.6, len(normal) + len(new) - 0.4)
    is_many = len(everything) > MANY_DOTS
    for place, column in enumerate((*normal, *new)):
        _draw_column(axes, place, column, theme, is_many)
    axes.axhline(threshold, color=theme.ink, linestyle="--", linewidth=1.2, zorder=1)
    _write(axes, 1.006, threshold, f"threshold\n{threshold:.3g}", theme)
    if new:
        border = len(normal) - 0.5
        axes.axvspan(-0.6, border, color=theme.normal, alpha=0.07, linewidth=0, zorder=0)
        _write_above(axes, -0.5, "normal recordings", theme)
        _write_above(axes, border + 0.1, "new recordings", theme)
    if drift_from is not None:
        place = len(normal) + drift_from - 0.5
        axes.axvline(place, color=theme.anomaly, linestyle=":", linewidth=1.6)
        axes.axvspan(place, len(normal) + len(new) - 0.4, color=theme.anomaly, alpha=0.07, linewidth=0, zorder=0)
    if trend is not None:
        _draw_trend(axes, len(normal), trend, theme)
    _name_sessions(axes, [column.name for column in (*normal, *new)])
    axes.set_ylabel("anomaly score")
    return figure


def _draw_column(axes: Axes, place: int, column: SessionColumn, theme: Theme, is_many: bool) -> None:
    count = len(column.scores)
    x = place + DOTS_WIDTH * ((np.arange(count) + 0.5) / max(count, 1) - 0.5)
    decisions: Sequence[bool | None] = column.decisions or [False] * count
    for decision, color in ((False, theme.normal), (None, theme.unknown), (True, theme.anomaly)):
        chosen = np.array([one is decision for one in decisions], dtype=bool)
        if chosen.any():
            axes.scatter(
                x[chosen],
                column.scores[chosen],
                s=22 if decision else 14,
                marker=SHAPES[decision],
                facecolor="none" if decision is None else color,
                edgecolor=color,
                linewidth=0.9 if decision is None else 0,
                alpha=0.75,
                rasterized=is_many,
                zorder=3,
            )
    if column.median is not None:
        half = DOTS_WIDTH / 2 + 0.05
        axes.plot([place - half, place + half], [column.median] * 2, color=theme.ink, linewidth=1.6, zorder=4)


def _draw_trend(axes: Axes, num_normal: int, trend: TrendLine, theme: Theme) -> None:
    start, end = (num_normal + trend.first, trend.low), (num_normal + trend.last, trend.high)
    arrow = {"arrowstyle": "-|>", "color": theme.quieter, "linewidth": 2.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow, zorder=5)
    axes.plot([], [], color=theme.quieter, linewidth=2.2, label="trend")


def _name_sessions(axes: Axes, names: list[str]) -> None:
    """Every session has a tick; where there are many, each second, third, ... is named, the last one always."""
    step = -(-len(names) // MOST_NAMES)
    shown = [name if (len(names) - 1 - place) % step == 0 else "" for place, name in enumerate(names)]
    longest = max(map(len, shown))
    is_slanted = longest * sum(map(bool, shown)) > 96
    rotation: dict = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if is_slanted else {}
    axes.set_xticks(range(len(names)), [name if len(name) <= 20 else f"{name[:18]}…" for name in shown], **rotation)


def _write(axes: Axes, x: float, y: float, text: str, theme: Theme) -> None:
    """Right of the axes, at a score."""
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=theme.ink)


def _write_above(axes: Axes, x: float, text: str, theme: Theme) -> None:
    """Above the axes, at a session."""
    axes.text(x, 1.02, text, transform=axes.get_xaxis_transform(), va="bottom", fontsize=8, color=theme.ink)
