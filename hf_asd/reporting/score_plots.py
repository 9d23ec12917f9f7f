"""Figures of anomaly scores: histogram and receiver operating characteristic (ROC)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ..plotting.style import ANOMALY_COLOR, GRID_COLOR, INK, NORMAL_COLOR, UNKNOWN_COLOR, styled, svg


CONDITION_COLORS = {"normal": NORMAL_COLOR, "anomaly": ANOMALY_COLOR, "unknown": UNKNOWN_COLOR}


def histogram(scores: dict[str, dict[str, np.ndarray]], threshold: float | None) -> str:
    """
    Draws scores of normal and anomalous clips over common bins, one panel per domain.

    Args:
        scores (`dict[str, dict[str, np.ndarray]]`): by domain and condition, each of shape `(clips,)`.
        threshold (`float`, *optional*): the threshold, drawn as a line.

    Returns:
        `str`: an SVG as a data URI.
    """
    all_scores = np.concatenate([values for domain in scores.values() for values in domain.values()])
    low, high, cut = _score_range(all_scores, threshold)
    edges = np.linspace(low, high, 37)
    with styled():
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        panels = figure.subplots(len(scores), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, (domain, by_condition) in zip(panels, scores.items(), strict=True):
            for condition, values in by_condition.items():
                panel.hist(
                    np.minimum(values, high),
                    edges,
                    histtype="stepfilled",
                    facecolor=to_hex(CONDITION_COLORS[condition]) + "55",
                    edgecolor=CONDITION_COLORS[condition],
                    hatch="////" if condition == "anomaly" else None,
                    linewidth=1.1,
                    label=f"{'new' if condition == 'unknown' else condition} ({len(values)})",
                )
            if threshold is not None:
                panel.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {threshold:.3g}")
            panel.set_ylabel("clips" if domain == "unknown" else f"{domain} clips")
            panel.grid(axis="y", color=GRID_COLOR, linewidth=0.8)
            panel.yaxis.get_major_locator().set_params(integer=True, nbins=4)
            panel.legend(fontsize=8, loc="best")
        panels[-1].set_xlim(low, high)
        if cut:
            panels[-1].set_xlabel(f"anomaly score (the last bar contains {cut} higher scores)", loc="right")
        else:
            panels[-1].set_xlabel("anomaly score")
        return svg(figure)


def _score_range(scores: np.ndarray, threshold: float | None) -> tuple[float, float, int]:
    """Lowest and highest score of the axis, without a few very high scores, and the number of scores above it."""
    low, high = float(scores.min()), float(scores.max())
    quartiles = np.percentile(scores, [25, 75])
    bound = max(quartiles[1] + 5 * (quartiles[1] - quartiles[0]), 0 if threshold is None else threshold * 1.2)
    if np.sum(scores > bound) > 0 and bound > low:
        high = bound
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    margin = 0.02 * (high - low) or 0.5
    return low - margin, high + margin, int(np.sum(scores > high + margin))


def roc(
    condition: np.ndarray, domain: np.ndarray, scores: np.ndarray, alarms: np.ndarray, max_fpr: float = 0.1
) -> str:
    """
    Draws the receiver operating characteristic (ROC) with the region of the partial AUC shaded.

    Args:
        condition (`np.ndarray` of shape `(clips,)`): `"normal"` or `"anomaly"`, both present.
        domain (`np.ndarray` of shape `(clips,)`): where there are several domains, a curve for each is added: its
            normal clips against all anomalous clips, as in the official score.
        scores (`np.ndarray` of shape `(clips,)`): anomaly scores.
        alarms (`np.ndarray` of shape `(clips,)`): decisions, `bool`; their rates are drawn as a point.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-alarm rate of the partial AUC.

    Returns:
        `str`: an SVG as a data URI.
    """
    anomalous = condition == "anomaly"
    with styled():
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        domains = sorted(set(domain[~anomalous]))
        for name, style in zip(domains if len(domains) > 1 else (), ("-", "--", ":"), strict=False):
            chosen = anomalous | (domain == name)
            false, true, _ = roc_curve(anomalous[chosen], scores[chosen])
            axes.plot(false, true, style, color="#7A8791", linewidth=1, label=f"{name} normals")
        false, true, _ = roc_curve(anomalous, scores, drop_intermediate=False)
        axes.plot(false, true, color=ANOMALY_COLOR, linewidth=1.8, label="all clips")
        _shade_partial_auc(axes, false, true, max_fpr)
        axes.plot([0, 1], [0, 1], color=GRID_COLOR, linewidth=1.2, label="chance")
        at_threshold = alarms[~anomalous].mean(), alarms[anomalous].mean()
        axes.plot(*at_threshold, marker="D", markersize=6, color=INK, linestyle="none", label="at the threshold")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=1)
        axes.set_xlabel("false-alarm rate")
        axes.set_ylabel("share of anomalies found")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
        return svg(figure)


def _shade_partial_auc(axes: Axes, false: np.ndarray, true: np.ndarray, max_fpr: float) -> None:
    inside = np.append(false[false < max_fpr], max_fpr)
    height = np.append(true[false < max_fpr], np.interp(max_fpr, false, true))
    label = f"pAUC (rate ≤ {max_fpr:g})"
    axes.fill_between(inside, height, color=ANOMALY_COLOR, alpha=0.22, linewidth=0, label=label)
    axes.axvline(max_fpr, color=ANOMALY_COLOR, linewidth=0.8, linestyle=":")
