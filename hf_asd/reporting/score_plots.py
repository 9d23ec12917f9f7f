"""Figures of anomaly scores: all of a machine, and the receiver operating characteristic (ROC)."""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ..detection.plots import new_rows
from ..plotting.scores import ScoreRow, score_figure
from ..plotting.style import ANOMALY_COLOR, GRID_COLOR, INK, THEMES, styled, svg
from .machine_rows import MachineRows


STRIP_WIDTH = 5.2  # inches


def score_strip(machine: MachineRows) -> str | None:
    """
    Draws the scores of a machine's recordings beside those of its normal clips, as an SVG data URI; `None` where there
    are none.

    Args:
        machine ([`~hf_asd.reporting.machine_rows.MachineRows`]): the machine.
    """
    theme, bank = THEMES["light"], machine.bank
    normal = np.array([]) if bank is None else bank.normal_scores
    rows = [ScoreRow(f"{len(normal)} normal", normal, theme.normal)] if len(normal) else []
    for domain in ("source", "target", "unknown"):
        own = [row for row in machine.test if row["domain"] == domain]
        name = "" if domain == "unknown" else f", {domain}"
        rows += [replace(row, name=f"{row.name}{name}") for row in new_rows(own, theme)]
    if not rows:
        return None
    with styled(theme):
        return svg(score_figure({machine.name: (rows, None if bank is None else bank.threshold)}, theme, STRIP_WIDTH))


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
