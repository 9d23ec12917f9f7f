"""Figures of embeddings: maps of clips, and the dendrogram of their clusters."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from sklearn.decomposition import PCA

from ..plotting.style import (
    ANOMALY_COLOR,
    CATEGORY_COLORS,
    INK,
    NORMAL_COLOR,
    OTHER_COLOR,
    UNKNOWN_COLOR,
    styled,
    svg,
)


DOMAIN_MARKERS = {"source": "o", "target": "^", "unknown": "o"}


@dataclass(frozen=True)
class MapClips:
    """
    Clips of one map.

    Args:
        embeddings (`np.ndarray` of shape `(clips, dimensions)`): float32.
        labels (`list[str | None]`): drawn as color: attributes or pseudo-attributes of normal training clips (`None`
            where unknown), conditions of new clips.
        domains (`list[str]`): drawn as marker.
    """

    embeddings: np.ndarray
    labels: list[str | None]
    domains: list[str]


@dataclass(frozen=True)
class Group:
    """Clips of one color: its entry in the legend, the color, and the rows."""

    name: str
    color: str
    rows: list[int]


def embedding_maps(train: MapClips, test: MapClips | None = None) -> list[str]:
    """
    Draws clips in the plane of the first two principal components of the normal training clips.

    Principal components are used and not t-SNE, because distances and directions have a meaning, nothing is random,
    and added clips do not move the others.

    Args:
        train ([`MapClips`]): normal training clips.
        test ([`MapClips`], *optional*): new clips.

    Returns:
        `list[str]`: SVGs as data URIs: training clips by label, then (with `test`) new clips by condition.
    """
    plane = PCA(n_components=2, random_state=0).fit(train.embeddings)
    points, share = plane.transform(train.embeddings), plane.explained_variance_ratio_
    maps = [_map(points, _label_groups(train.labels), train.domains, share)]
    if test is not None:
        new = plane.transform(test.embeddings)
        maps.append(_map(new, _condition_groups(test.labels), test.domains, share, background=points))
    return maps


def _label_groups(labels: list[str | None]) -> list[Group]:
    """A group for each of the most frequent labels; all other clips are one group, drawn first."""
    counts = Counter(label for label in labels if label is not None)
    shown = [label for label, _ in counts.most_common(len(CATEGORY_COLORS))]
    groups = []
    rest = [row for row, label in enumerate(labels) if label not in shown]
    if rest:
        name = "normal" if not shown else f"{len(set(counts) - set(shown))} more" if counts else "other"
        groups.append(Group(f"{len(rest)} × {name}", OTHER_COLOR if shown else NORMAL_COLOR, rest))
    for label, color in zip(shown, CATEGORY_COLORS, strict=False):
        rows = [row for row, found in enumerate(labels) if found == label]
        # The count first: matplotlib leaves out names that begin with an underscore.
        groups.append(Group(f"{len(rows)} × {label if len(label) < 27 else label[:25] + '…'}", color, rows))
    return groups


def _condition_groups(conditions: list[str | None]) -> list[Group]:
    groups = []
    for condition, color in (("unknown", UNKNOWN_COLOR), ("normal", NORMAL_COLOR), ("anomaly", ANOMALY_COLOR)):
        rows = [row for row, found in enumerate(conditions) if found == condition]
        if rows:
            groups.append(Group(f"{len(rows)} × {'new' if condition == 'unknown' else condition}", color, rows))
    return groups


def _map(
    points: np.ndarray,
    groups: list[Group],
    domains: list[str],
    share: np.ndarray,
    background: np.ndarray | None = None,
) -> str:
    with styled():
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        if background is not None:
            axes.scatter(*background.T, s=9, color=OTHER_COLOR, alpha=0.5, linewidth=0, rasterized=True)
            axes.plot([], [], "o", markersize=4, color=OTHER_COLOR, label="training clips")
        domain_array = np.array(domains)
        for group in groups:
            rows = np.array(group.rows)
            for domain in sorted(set(domain_array[rows])):
                axes.scatter(
                    *points[rows[domain_array[rows] == domain]].T,
                    s=30 if domain == "target" else 15,
                    marker=DOMAIN_MARKERS[domain],
                    color=group.color,
                    alpha=0.8,
                    linewidth=0.5,
                    edgecolor="white",
                    rasterized=True,
                )
            axes.plot([], [], "o", markersize=5, color=group.color, label=group.name)
        if "target" in domains:
            axes.plot([], [], "^", markersize=6, color="white", markeredgecolor=INK, label="target domain")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"first component ({share[0]:.0%} of variance)")
        axes.set_ylabel(f"second component ({share[1]:.0%})")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)


def dendrogram(merges: np.ndarray, num_clusters: int, max_branches: int = 40) -> str:
    """
    Draws the upper part of a dendrogram with its cut.

    Args:
        merges (`np.ndarray` of shape `(leaves - 1, 4)`): scipy's linkage matrix.
        num_clusters (`int`): number of clusters that the cut gives.
        max_branches (`int`, *optional*, defaults to 40): largest number of branches, unless there are more clusters.

    Returns:
        `str`: an SVG as a data URI.
    """
    heights = merges[::-1, 2]  # of the merges to 1, 2, ... clusters
    above = heights[num_clusters - 2] if num_clusters > 1 else heights[0] * 1.1
    below = heights[num_clusters - 1] if num_clusters <= len(heights) else 0.0
    cut = (above + below) / 2
    with styled(), rc_context({"lines.linewidth": 1.0}):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        hierarchy.set_link_color_palette(list(CATEGORY_COLORS))
        hierarchy.dendrogram(
            merges,
            p=max(max_branches, num_clusters),
            truncate_mode="lastp",
            color_threshold=cut,
            above_threshold_color=UNKNOWN_COLOR,
            no_labels=len(merges) >= max_branches and num_clusters > max_branches,
            leaf_rotation=90,
            leaf_font_size=6,
            ax=axes,
        )
        axes.axhline(cut, color=INK, linestyle="--", linewidth=1.0)
        axes.set_ylabel("distance")
        return svg(figure)
