"""The figures and sounds of a report, each as a data URI."""

import base64
import io
from collections import Counter
from functools import cache

import numpy as np
import soundfile
import torch
from matplotlib import colormaps, rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from sklearn.decomposition import PCA
from sklearn.metrics import roc_curve
from transformers.audio_utils import mel_filter_bank

from ..audio.reading import SAMPLING_RATE


# Okabe and Ito's palette, told apart by color-blind readers. Blue is always normal and vermilion always anomalous.
NORMAL, ANOMALY, UNKNOWN = "#0072B2", "#D55E00", "#6B6B6B"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C510A", "#B8B000", "#5E3C99")
OTHER, INK, GRID = "#B5BCC2", "#1B2733", "#DFE4E8"
DOMAIN_MARKERS = {"source": "o", "target": "^", "unknown": "o"}

BANDS, COLUMNS, WINDOW, HOP = 64, 250, 1024, 256
LEVELS = 40  # shades of a spectrogram: more could not be told apart and would only make the file larger
LOUDNESS = colormaps["magma_r"].resampled(LEVELS)  # dark is loud, so that a printed page stays mostly white
SPECTROGRAM_SECONDS, LISTEN_SECONDS = 60, 12
FREQUENCY_TICKS = {100: "0.1", 500: "0.5", 1000: "1", 2000: "2", 4000: "4"}  # Hz, kHz

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # attribute names come from file names and may hold a dollar sign
    "axes.edgecolor": "#8A96A0",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "hf_asd",  # the same data gives the same file
}


def histogram(scores: dict[str, dict[str, np.ndarray]], threshold: float | None) -> str:
    """
    Scores of normal and anomalous clips, one row of bars a domain, over common bins.

    Args:
        scores (`dict[str, dict[str, np.ndarray]]`): by domain and condition, each of shape `(clips,)`.
        threshold (`float`, *optional*): drawn as a line.

    Returns:
        `str`: an SVG as a data URI.
    """
    everything = np.concatenate([values for domain in scores.values() for values in domain.values()])
    low, high, cut = _score_range(everything, threshold)
    edges = np.linspace(low, high, 37)
    colors = {"normal": NORMAL, "anomaly": ANOMALY, "unknown": UNKNOWN}
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        panels = figure.subplots(len(scores), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, (domain, by_condition) in zip(panels, scores.items(), strict=True):
            for condition, values in by_condition.items():
                panel.hist(
                    np.minimum(values, high),
                    edges,
                    histtype="stepfilled",
                    facecolor=to_hex(colors[condition]) + "55",
                    edgecolor=colors[condition],
                    hatch="////" if condition == "anomaly" else None,
                    linewidth=1.1,
                    label=f"{condition} ({len(values)})",
                )
            if threshold is not None:
                panel.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {threshold:.3g}")
            panel.set_ylabel("clips" if domain == "unknown" else f"{domain} clips")
            panel.grid(axis="y", color=GRID, linewidth=0.8)
            panel.yaxis.get_major_locator().set_params(integer=True, nbins=4)
            panel.legend(fontsize=8, loc="upper right")
        panels[-1].set_xlim(low, high)
        if cut:
            panels[-1].set_xlabel(f"anomaly score (the last bar holds all {cut} above it)", loc="right")
        else:
            panels[-1].set_xlabel("anomaly score")
        return _svg(figure)


def _score_range(scores: np.ndarray, threshold: float | None) -> tuple[float, float, int]:
    """Where the axis ends, so that a few huge scores do not press all others into one bar."""
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
    Receiver operating characteristic with the region of the partial AUC shaded.

    Args:
        condition (`np.ndarray` of shape `(clips,)`): `"normal"` or `"anomaly"`, both present.
        domain (`np.ndarray` of shape `(clips,)`): a curve a domain is added where there are several: its normal clips
            against all anomalous clips, as the official score takes them.
        scores (`np.ndarray` of shape `(clips,)`): anomaly scores.
        alarms (`np.ndarray` of shape `(clips,)`): decisions; the share of each condition is drawn as a point.
        max_fpr (`float`, *optional*, defaults to 0.1): where the partial AUC ends.

    Returns:
        `str`: an SVG as a data URI.
    """
    anomalous = condition == "anomaly"
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        domains = sorted(set(domain[~anomalous]))
        for name, style in zip(domains if len(domains) > 1 else (), ("-", "--", ":"), strict=False):
            chosen = anomalous | (domain == name)
            false, true, _ = roc_curve(anomalous[chosen], scores[chosen])
            axes.plot(false, true, style, color="#7A8791", linewidth=1, label=f"{name} normals")
        false, true, _ = roc_curve(anomalous, scores, drop_intermediate=False)
        axes.plot(false, true, color=ANOMALY, linewidth=1.8, label="all clips")
        inside = np.append(false[false < max_fpr], max_fpr)
        height = np.append(true[false < max_fpr], np.interp(max_fpr, false, true))
        axes.fill_between(inside, height, color=ANOMALY, alpha=0.22, linewidth=0, label=f"pAUC (rate ≤ {max_fpr:g})")
        axes.axvline(max_fpr, color=ANOMALY, linewidth=0.8, linestyle=":")
        axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.2, label="chance")
        axes.plot(
            alarms[~anomalous].mean(),
            alarms[anomalous].mean(),
            marker="D",
            markersize=6,
            color=INK,
            linestyle="none",
            label="at the threshold",
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=1)
        axes.set_xlabel("false-alarm rate")
        axes.set_ylabel("share of anomalies found")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
        return _svg(figure)


def embedding_maps(
    train: np.ndarray,
    train_labels: list[str | None],
    train_domains: list[str],
    test: np.ndarray | None = None,
    test_conditions: list[str] | None = None,
    test_domains: list[str] | None = None,
) -> list[str]:
    """
    The clips in the plane of the first two principal components of the normal training clips.

    Principal components rather than t-SNE: distances and directions mean something, nothing is random, and clips can
    be added without moving the others.

    Args:
        train (`np.ndarray` of shape `(clips, dimensions)`): embeddings of normal training clips.
        train_labels (`list[str | None]`): attributes or pseudo-attributes, one a training clip, `None` where unknown.
        train_domains, test_domains (`list[str]`): drawn as the marker.
        test (`np.ndarray` of shape `(clips, dimensions)`, *optional*): embeddings of new clips.
        test_conditions (`list[str]`, *optional*): drawn as the color.

    Returns:
        `list[str]`: SVGs as data URIs: training clips by label, then (with `test`) new clips by condition.
    """
    plane = PCA(n_components=2, random_state=0).fit(train)
    points, share = plane.transform(train), plane.explained_variance_ratio_
    counts = Counter(label for label in train_labels if label is not None)
    shown = [label for label, _ in counts.most_common(len(CATEGORIES))]
    groups = []
    rest = [row for row, label in enumerate(train_labels) if label not in shown]
    if rest:
        name = "normal" if not shown else f"{len(set(counts) - set(shown))} more" if counts else "other"
        groups.append((f"{len(rest)} × {name}", OTHER if shown else NORMAL, rest))
    for label, color in zip(shown, CATEGORIES, strict=False):
        rows = [row for row, found in enumerate(train_labels) if found == label]
        # The count first: matplotlib leaves out names that begin with an underscore.
        groups.append((f"{len(rows)} × {label if len(label) < 27 else label[:25] + '…'}", color, rows))
    maps = [_map(points, groups, train_domains, share, None)]
    if test is not None:
        groups = []
        for condition, color in (("unknown", UNKNOWN), ("normal", NORMAL), ("anomaly", ANOMALY)):
            rows = [row for row, found in enumerate(test_conditions) if found == condition]
            if rows:
                groups.append((f"{len(rows)} × {'new' if condition == 'unknown' else condition}", color, rows))
        maps.append(_map(plane.transform(test), groups, test_domains, share, points))
    return maps


def _map(points, groups, domains, share, background) -> str:
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        if background is not None:
            axes.scatter(*background.T, s=9, color=OTHER, alpha=0.5, linewidth=0, rasterized=True)
            axes.plot([], [], "o", markersize=4, color=OTHER, label="training clips")
        domains = np.array(domains)
        for name, color, rows in groups:
            rows = np.array(rows)
            for domain in sorted(set(domains[rows])):
                chosen = rows[domains[rows] == domain]
                axes.scatter(
                    *points[chosen].T,
                    s=30 if domain == "target" else 15,
                    marker=DOMAIN_MARKERS[domain],
                    color=color,
                    alpha=0.8,
                    linewidth=0.5,
                    edgecolor="white",
                    rasterized=True,
                )
            axes.plot([], [], "o", markersize=5, color=color, label=name)
        if "target" in domains:
            axes.plot([], [], "^", markersize=6, color="white", markeredgecolor=INK, label="target domain")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"first component ({share[0]:.0%} of variance)")
        axes.set_ylabel(f"second component ({share[1]:.0%})")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)


def dendrogram(merges: np.ndarray, num_clusters: int, most: int = 40) -> str:
    """
    The upper part of a dendrogram with its cut.

    Args:
        merges (`np.ndarray` of shape `(leaves - 1, 4)`): scipy's linkage matrix.
        num_clusters (`int`): where it is cut.
        most (`int`, *optional*, defaults to 40): branches that are drawn, or the clusters where they are more.

    Returns:
        `str`: an SVG as a data URI.
    """
    heights = merges[::-1, 2]  # of the merges to 1, 2, ... clusters
    above = heights[num_clusters - 2] if num_clusters > 1 else heights[0] * 1.1
    below = heights[num_clusters - 1] if num_clusters <= len(heights) else 0.0
    cut = (above + below) / 2
    with rc_context({**STYLE, "lines.linewidth": 1.0}):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        hierarchy.set_link_color_palette(list(CATEGORIES))
        hierarchy.dendrogram(
            merges,
            p=max(most, num_clusters),
            truncate_mode="lastp",
            color_threshold=cut,
            above_threshold_color=UNKNOWN,
            no_labels=len(merges) >= most and num_clusters > most,
            leaf_rotation=90,
            leaf_font_size=6,
            ax=axes,
        )
        axes.axhline(cut, color=INK, linestyle="--", linewidth=1.0)
        axes.set_ylabel("distance")
        return _svg(figure)


@cache
def _mel_filters() -> torch.Tensor:
    return torch.from_numpy(mel_filter_bank(WINDOW // 2 + 1, BANDS, 0, SAMPLING_RATE / 2, SAMPLING_RATE)).float()


def log_mel(samples: np.ndarray) -> np.ndarray:
    """
    The log-mel spectrogram that the report draws.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz; at most the first 60 s are used.

    Returns:
        `np.ndarray` of shape `(64, columns)`, float32: power of each mel band in dB, where a sine of full scale is
        about 0; at most 250 columns, neighboring frames are averaged.
    """
    clip = torch.from_numpy(samples[: SPECTROGRAM_SECONDS * SAMPLING_RATE])
    window = torch.hann_window(WINDOW)
    power = torch.stft(clip, WINDOW, HOP, window=window, return_complex=True).abs() / (window.sum() / 2)
    mel = _mel_filters().T @ power.square()
    columns = torch.nn.functional.adaptive_avg_pool1d(mel, min(COLUMNS, mel.shape[1]))
    return (10 * (columns + 1e-12).log10()).numpy()


def _mel_position(hertz: float) -> float:
    """Where a frequency lies on an axis of mel bands."""
    return BANDS * np.log1p(hertz / 700) / np.log1p(SAMPLING_RATE / 2 / 700)


def spectrogram(levels: np.ndarray, seconds: float, limits: tuple[float, float]) -> str:
    """
    A log-mel spectrogram as an SVG data URI.

    Args:
        levels (`np.ndarray` of shape `(64, columns)`): of [`log_mel`], in dB.
        seconds (`float`): what the columns cover.
        limits (`tuple[float, float]`): lowest and highest level of the colors in dB.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(3.8, 2.3), layout="constrained")
        axes = figure.subplots()
        axes.imshow(
            levels,
            origin="lower",
            aspect="auto",
            interpolation="none",  # the image keeps its own small size
            cmap=LOUDNESS,
            vmin=limits[0],
            vmax=limits[1],
            extent=(0, seconds, 0, BANDS),
        )
        axes.set_yticks([_mel_position(hertz) for hertz in FREQUENCY_TICKS], FREQUENCY_TICKS.values())
        axes.set_xlabel("seconds")
        axes.set_ylabel("kHz")
        return _svg(figure)


def level_profile(levels: np.ndarray, nearest: np.ndarray | None, normal: np.ndarray) -> str:
    """
    A clip's mean level in every mel band against those of normal clips: which pitch is louder or softer than it was.

    Args:
        levels (`np.ndarray` of shape `(64,)`): of the clip, in dB.
        nearest (`np.ndarray` of shape `(64,)`, *optional*): of the nearest normal clip.
        normal (`np.ndarray` of shape `(clips, 64)`): of normal clips; their lowest to highest level is a band.

    Returns:
        `str`: an SVG as a data URI.
    """
    bands = np.arange(BANDS) + 0.5
    with rc_context(STYLE):
        figure = Figure(figsize=(3.8, 2.3), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(bands, normal.min(0), normal.max(0), color=NORMAL, alpha=0.25, linewidth=0)
        axes.fill_between([], [], color=NORMAL, alpha=0.25, linewidth=0, label=f"range of {len(normal)} normal")
        if nearest is not None:
            axes.plot(bands, nearest, color=NORMAL, linewidth=1.1, label="nearest normal")
        axes.plot(bands, levels, color=ANOMALY, linewidth=1.6, label="this clip")
        axes.set_xticks([_mel_position(hertz) for hertz in FREQUENCY_TICKS], FREQUENCY_TICKS.values())
        axes.set_xlim(0, BANDS)
        axes.set_xlabel("kHz")
        axes.set_ylabel("mean level, dB")
        axes.grid(color=GRID, linewidth=0.8)
        axes.legend(fontsize=7.5, loc="best", borderaxespad=0.2)
        return _svg(figure)


def color_bar() -> str:
    """The colors of a spectrogram from soft to loud, as a CSS gradient."""
    return f"linear-gradient(to right, {', '.join(to_hex(LOUDNESS(x)) for x in np.linspace(0, 1, 9))})"


def sound(samples: np.ndarray, gain: float) -> str:
    """
    A clip to listen to, as an MP3 data URI.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz; the first 12 s are kept.
        gain (`float`): one for all clips of a machine, so that they can be compared by ear.
    """
    buffer = io.BytesIO()
    clip = np.clip(samples[: LISTEN_SECONDS * SAMPLING_RATE] * gain, -1, 1)
    soundfile.write(buffer, clip, SAMPLING_RATE, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE")
    return _data_uri("audio/mpeg", buffer.getvalue())


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return _data_uri("image/svg+xml", buffer.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
