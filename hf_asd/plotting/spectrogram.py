"""One clip over time and frequency: its levels, where it differs from the normal clips, and the bands that do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from transformers.audio_utils import mel_filter_bank

from ..audio.reading import SAMPLING_RATE
from .style import Theme


NUM_BANDS, MAX_COLUMNS, WINDOW, HOP = 64, 250, 1024, 256
NUM_SHADES = 40  # more could not be distinguished and would only make a file larger
LEVEL_RANGE = (5.0, 99.8)  # percentiles of the levels that the colors span
FREQUENCY_TICKS = {100: "0.1", 500: "0.5", 1000: "1", 2000: "2", 4000: "4"}  # Hz: label in kHz
# Standard deviations beyond the usual range at which the score map is fullest.
FULLEST, LARGEST_ALPHA = 1.0, 0.8
FAINTEST_SHARE = 0.9  # of a map without a scale: the share of its values that stay invisible
LEAST_APART = 0.085  # labels of bands, as a share of the height
BRACKET_WIDTH = 0.016  # as a share of the width


@dataclass(frozen=True)
class BandMark:
    """
    A band that is marked, and perhaps when.

    Args:
        low_hz, high_hz (`float`, *optional*): the band; `None`: all of them.
        start_s, end_s (`float`, *optional*): the time in seconds within the clip; `None`: all of it.
        label (`str`, *optional*, defaults to `""`): before the frequencies.
    """

    low_hz: float | None = None
    high_hz: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    label: str = ""


@dataclass(frozen=True)
class ScoreMap:
    """
    Where a clip differs from the normal ones.

    Args:
        values (`np.ndarray` of shape `(times, bands)`): of [`~hf_asd.AnomalyDetector.score_map`].
        edges (`tuple[float, float]`): where the lowest band begins and the highest one ends, as shares of the mel
            scale from 0 to 8 kHz.
        usual (`np.ndarray` of shape `(2, bands)`, *optional*): the lowest and highest value that is usual for normal
            clips; `None` where only larger values differ more.
    """

    values: np.ndarray
    edges: tuple[float, float]
    usual: np.ndarray | None = None


@dataclass(frozen=True)
class ClipImage:
    """
    What is drawn of a clip.

    Args:
        levels (`np.ndarray` of shape `(64, columns)`): of [`log_mel`], in dB.
        seconds (`float`): duration of all columns.
        limits (`tuple[float, float]`): lowest and highest level of the colors in dB.
        score_map ([`ScoreMap`], *optional*): laid over the levels.
        marks (`Sequence[BandMark]`, *optional*): bands that are marked.
        start_s (`float`, *optional*, defaults to 0): where the clip begins in its recording.
    """

    levels: np.ndarray
    seconds: float
    limits: tuple[float, float]
    score_map: ScoreMap | None = None
    marks: Sequence[BandMark] = field(default_factory=tuple)
    start_s: float = 0.0


@cache
def _mel_filters() -> torch.Tensor:
    return torch.from_numpy(mel_filter_bank(WINDOW // 2 + 1, NUM_BANDS, 0, SAMPLING_RATE / 2, SAMPLING_RATE)).float()


def log_mel(samples: np.ndarray) -> np.ndarray:
    """
    Computes the log-mel spectrogram that is drawn.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz.

    Returns:
        `np.ndarray` of shape `(64, columns)`, float32: power of each mel band in dB, where a sine of full scale is
        about 0; at most 250 columns, neighboring frames are averaged.
    """
    window = torch.hann_window(WINDOW)
    clip = torch.from_numpy(samples)
    clip = torch.nn.functional.pad(clip, (0, max(WINDOW - len(clip), 0)))
    power = torch.stft(clip, WINDOW, HOP, window=window, return_complex=True).abs() / (window.sum() / 2)
    mel = _mel_filters().T @ power.square()
    return (10 * (_columns(mel) + 1e-12).log10()).numpy()


def _columns(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.adaptive_avg_pool1d(rows, min(MAX_COLUMNS, rows.shape[1]))


def level_limits(levels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest level of the colors, for clips that are to be compared."""
    low, high = np.percentile(np.concatenate(list(levels), axis=1), LEVEL_RANGE)
    return float(low), float(max(high, low + 1))


def mel_position(hertz: float) -> float:
    """Position of a frequency on an axis of mel bands."""
    return NUM_BANDS * float(np.log1p(hertz / 700) / np.log1p(SAMPLING_RATE / 2 / 700))


def draw_spectrogram(axes: Axes, image: ClipImage, theme: Theme) -> None:
    """
    Draws levels in gray and the score map over them: in the color of anomalies where a clip is louder than normal (or
    just different), in violet where it is quieter.
    """
    start, end = image.start_s, image.start_s + image.seconds
    axes.imshow(
        image.levels,
        origin="lower",
        aspect="auto",
        interpolation="none",  # the image keeps its own small size
        cmap=colormaps[theme.levels].resampled(NUM_SHADES),
        vmin=image.limits[0],
        vmax=image.limits[1],
        extent=(start, end, 0, NUM_BANDS),
    )
    if image.score_map is not None:
        low, high = (edge * NUM_BANDS for edge in image.score_map.edges)
        colors = _map_colors(image.score_map, theme)
        axes.imshow(
            colors, origin="lower", aspect="auto", interpolation="none", extent=(start, end, low, high), zorder=1
        )
    axes.set_yticks([mel_position(hertz) for hertz in FREQUENCY_TICKS], list(FREQUENCY_TICKS.values()))
    axes.set_xlim(start, end)
    axes.set_ylim(0, NUM_BANDS)
    axes.set_xlabel("seconds")
    axes.set_ylabel("kHz")
    draw_marks(axes, image, theme)


def _map_colors(score_map: ScoreMap, theme: Theme) -> np.ndarray:
    """Colors with their opacity, of shape `(bands, columns, 4)`."""
    values = _columns(torch.from_numpy(np.ascontiguousarray(score_map.values.T, dtype=np.float32))).numpy()
    if score_map.usual is not None:
        low, high = score_map.usual[:, :, None]
        quieter, strength = values < low, np.maximum(values - high, 0) + np.maximum(low - values, 0)
        faintest, fullest = 0.0, FULLEST
    else:
        quieter, strength = np.zeros_like(values, dtype=bool), values
        faintest, fullest = np.quantile(values, [FAINTEST_SHARE, 1.0])
    opacity = LARGEST_ALPHA * np.clip((strength - faintest) / max(fullest - faintest, 1e-9), 0, 1)
    opacity = np.round(opacity * NUM_SHADES) / NUM_SHADES
    colors = np.where(quieter[..., None], to_rgb(theme.quieter), to_rgb(theme.anomaly))
    colors[opacity == 0] = 0  # equal pixels make a smaller file
    return np.concatenate([colors, opacity[..., None]], axis=2)


def draw_marks(axes: Axes, image: ClipImage, theme: Theme) -> None:
    """Marks bands with a bracket and their frequencies on the right, and moments with a frame."""
    outside = axes.get_yaxis_transform()  # x as a share of the width
    banded = [mark for mark in image.marks if mark.low_hz is not None and mark.high_hz is not None]
    bands = [_band(mark) for mark in banded]
    columns = _bracket_columns(bands)
    heights = _label_heights([(low + high) / 2 / NUM_BANDS for low, high in bands])
    text_at = 1.02 + BRACKET_WIDTH * (max(columns, default=0) + 1)
    for mark, (low, high), column, height in zip(banded, bands, columns, heights, strict=True):
        line = {"color": theme.anomaly, "clip_on": False, "transform": outside}
        if mark.start_s is None and high - low < NUM_BANDS / 3:
            axes.hlines([low, high], 0, 1, transform=outside, color=theme.anomaly, linewidth=0.8, linestyle=":")
        tip = 1.005 + BRACKET_WIDTH * column
        edge, y = tip + 0.7 * BRACKET_WIDTH, NUM_BANDS * height
        axes.plot([tip, edge, edge, tip], [low, low, high, high], linewidth=1.4, **line)
        axes.plot([edge, text_at - 0.005], [(low + high) / 2, y], linewidth=0.8, **line)
        text = band_text(mark.low_hz or 0, mark.high_hz or 0)
        text = f"{mark.label}: {text}" if mark.label else text
        axes.text(text_at, y, text, transform=outside, va="center", fontsize=8, color=theme.ink, clip_on=False)
    for mark in image.marks:
        if mark.start_s is not None and mark.end_s is not None:
            _frame_moment(axes, mark, (mark.start_s, mark.end_s), image, theme)


def _bracket_columns(bands: Sequence[tuple[float, float]]) -> list[int]:
    """Brackets of bands that overlap stand side by side, the narrowest band first."""
    columns: dict[int, int] = {}
    for number in sorted(range(len(bands)), key=lambda number: bands[number][1] - bands[number][0]):
        low, high = bands[number]
        taken = {columns[other] for other in columns if bands[other][0] <= high and low <= bands[other][1]}
        columns[number] = next(column for column in range(len(bands)) if column not in taken)
    return [columns[number] for number in range(len(bands))]


def _frame_moment(axes: Axes, mark: BandMark, span: tuple[float, float], image: ClipImage, theme: Theme) -> None:
    low, high = _band(mark) if mark.low_hz is not None else (0.3, NUM_BANDS - 0.3)
    width = max(span[1] - span[0], 0.025 * image.seconds)  # a knock is narrower than a pixel
    start = image.start_s + sum(span) / 2 - width / 2
    axes.add_patch(Rectangle((start, low), width, high - low, fill=False, edgecolor=theme.anomaly, linewidth=1.3))
    if mark.low_hz is None and mark.label:  # no bracket names it
        axes.text(start + width, NUM_BANDS * 0.93, f" {mark.label}", va="center", fontsize=8, color=theme.ink)


def _band(mark: BandMark) -> tuple[float, float]:
    low, high = mel_position(mark.low_hz or 0), mel_position(mark.high_hz or SAMPLING_RATE / 2)
    missing = max(1.2 - (high - low), 0)  # a line is narrower than a pixel
    return max(low - missing / 2, 0), min(high + missing / 2, NUM_BANDS)


def _label_heights(wanted: Sequence[float]) -> list[float]:
    """Heights of labels as shares of the axis: where they belong, moved apart where they would overlap."""
    order = np.argsort(wanted, kind="stable")
    heights = np.asarray(wanted, dtype=float)[order]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + LEAST_APART)
    if len(heights):
        heights -= max(heights[-1] - 0.98, 0)
    for number in range(len(heights) - 1, 0, -1):
        heights[number - 1] = min(heights[number - 1], heights[number] - LEAST_APART)
    result = np.empty(len(heights))
    result[order] = heights
    return result.tolist()


def band_text(low_hz: float, high_hz: float) -> str:
    """A band for a label: `"4.3–5.6 kHz"`, of a line its middle: `"1.0 kHz"`."""
    divisor, unit = (1, "Hz") if high_hz < 995 else (1000, "kHz")
    if high_hz < 1.1 * low_hz:
        return f"{_short((low_hz * high_hz) ** 0.5 / divisor)} {unit}"
    return f"{_short(low_hz / divisor)}–{_short(high_hz / divisor)} {unit}"


def _short(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
