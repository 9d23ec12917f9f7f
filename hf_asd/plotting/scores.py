"""Anomaly scores of recordings beside those of the normal clips, with the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import Theme


LEAST_TICKS_APART, LEAST_LINES_APART = 0.06, 0.12  # of the width and of the height of the axes
GOLDEN_RATIO = 0.6180339887
MANY_DOTS = 100  # are drawn as pixels, which are smaller than as many shapes


@dataclass(frozen=True)
class ScoreRow:
    """
    Scores that are drawn as dots in one row.

    Args:
        name (`str`): written beside it.
        scores (`np.ndarray` of shape `(clips,)`): anomaly scores.
        colors (`str` or `list[str]`): of all dots, or of each.
        is_single (`bool`, *optional*, defaults to `False`): one score, which is drawn large and written out.
    """

    name: str
    scores: np.ndarray
    colors: str | list[str]
    is_single: bool = False


def draw_scores(axes: Axes, rows: Sequence[ScoreRow], threshold: float | None, theme: Theme) -> None:
    """
    Draws rows of scores over one axis, from the bottom up. The axis is linear as far as scores of normal clips reach,
    and logarithmic far above.

    Args:
        axes (`matplotlib.axes.Axes`): where to draw.
        rows (`Sequence[ScoreRow]`): the normal clips first: the axis follows from them.
        threshold (`float`, *optional*): drawn as a line; scores to the right of it are anomalies.
        theme ([`~hf_asd.plotting.style.Theme`]): the colors.
    """
    scores = np.concatenate([row.scores for row in rows] + ([] if threshold is None else [[threshold]]))
    set_score_axis(axes, rows[0].scores, threshold, scores)
    for height, row in enumerate(rows):
        axes.axhline(height, color=theme.grid, linewidth=0.8, zorder=0)
        if row.is_single:
            axes.plot(row.scores, [height], "D", color=row.colors, markersize=8)
            continue
        jitter = np.arange(1, len(row.scores) + 1) * GOLDEN_RATIO % 1 - 0.5
        axes.scatter(
            row.scores,
            height + 0.55 * jitter,
            s=16,
            c=row.colors,
            alpha=0.65,
            linewidth=0,
            rasterized=len(row.scores) > MANY_DOTS,
        )
    if threshold is not None:
        axes.axvline(threshold, color=theme.ink, linestyle="--", linewidth=1.2, zorder=1)
        axes.text(
            threshold,
            len(rows) - 0.45,
            f"threshold {threshold:.3g}",
            ha="center",
            va="bottom",
            fontsize=8,
            color=theme.ink,
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.5, len(rows) - 0.45)
    axes.set_xlabel("anomaly score")


def set_score_axis(
    axes: Axes, normal: np.ndarray, threshold: float | None, scores: np.ndarray, is_vertical: bool = False
) -> None:
    """
    Sets an axis for scores: linear as far as scores of normal clips reach, and logarithmic far above.

    Args:
        axes (`matplotlib.axes.Axes`): whose axis it is.
        normal (`np.ndarray` of shape `(clips,)`): scores of normal clips.
        threshold (`float`, *optional*): of the machine.
        scores (`np.ndarray` of shape `(clips,)`): all that is to be seen.
        is_vertical (`bool`, *optional*, defaults to `False`): whether it is the axis from the bottom up.
    """
    low, high = float(scores.min()), float(scores.max())
    middle = float(np.median(normal))
    usual = max(float(normal.max()), middle if threshold is None else threshold)
    width = max(usual - middle, 1e-6 * max(abs(usual), 1.0))

    def forward(score):
        return np.arcsinh((np.asarray(score, dtype=float) - middle) / width)

    def backward(place):
        return middle + width * np.sinh(np.asarray(place, dtype=float))

    set_scale = axes.set_yscale if is_vertical else axes.set_xscale
    set_limits = axes.set_ylim if is_vertical else axes.set_xlim
    set_ticks = axes.set_yticks if is_vertical else axes.set_xticks
    set_scale("function", functions=(forward, backward))
    first, last = float(forward(low)), float(forward(high))
    margin = 0.04 * (last - first) or 0.5
    set_limits(float(backward(first - margin)), float(backward(last + margin)))
    ticks = [tick for tick in MaxNLocator(3).tick_values(low, usual) if low <= tick <= high]
    ticks += [tick for tick in _round_numbers(high) if tick > usual]
    least_apart = LEAST_LINES_APART if is_vertical else LEAST_TICKS_APART
    kept: list[float] = []
    for tick in ticks:
        if not kept or forward(tick) - forward(kept[-1]) >= least_apart * (last - first):
            kept.append(tick)
    set_ticks(kept, [f"{tick:g}" for tick in kept])
    axes.minorticks_off()


def _round_numbers(high: float) -> list[float]:
    """1, 2, 5, 10, 20, ... up to a number."""
    powers = range(-3, int(np.floor(np.log10(high))) + 1) if high > 1e-3 else ()
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if step * 10.0**power <= high]


def score_figure(
    machines: dict[str, tuple[Sequence[ScoreRow], float | None]], theme: Theme, width: float = 7.0
) -> Figure:
    """
    A panel of scores for each machine.

    Args:
        machines (`dict[str, tuple[Sequence[ScoreRow], float | None]]`): for each its rows and its threshold.
        theme ([`~hf_asd.plotting.style.Theme`]): the colors.
        width (`float`, *optional*, defaults to 7): in inches.

    Returns:
        `matplotlib.figure.Figure`.
    """
    heights = [0.42 * len(rows) + 0.75 for rows, _ in machines.values()]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    panels = figure.subplots(len(machines), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (machine, (rows, threshold)) in zip(panels, machines.items(), strict=True):
        draw_scores(panel, rows, threshold, theme)
        if len(machines) > 1:
            panel.set_title(machine, loc="left", fontsize=10, fontweight="bold")
        if panel is not panels[-1]:
            panel.set_xlabel("")
    return figure
