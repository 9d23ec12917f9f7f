"""Sound and pictures of single clips: log-mel spectrogram, level profile, MP3."""

import io

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ..audio.reading import SAMPLING_RATE
from ..plotting.spectrogram import FREQUENCY_TICKS, NUM_BANDS, NUM_SHADES, mel_position
from ..plotting.style import ANOMALY_COLOR, GRID_COLOR, NORMAL_COLOR, data_uri, styled, svg


LEVEL_COLORS = colormaps["magma_r"].resampled(NUM_SHADES)  # dark is loud, so that a printed page stays mostly white
SPECTROGRAM_SECONDS, LISTEN_SECONDS = 60, 12


def spectrogram(levels: np.ndarray, seconds: float, limits: tuple[float, float]) -> str:
    """
    Draws a log-mel spectrogram as an SVG data URI.

    Args:
        levels (`np.ndarray` of shape `(64, columns)`): the result of [`log_mel`], in dB.
        seconds (`float`): duration of all columns.
        limits (`tuple[float, float]`): lowest and highest level of the color scale in dB.
    """
    with styled():
        figure = Figure(figsize=(3.8, 2.3), layout="constrained")
        axes = figure.subplots()
        axes.imshow(
            levels,
            origin="lower",
            aspect="auto",
            interpolation="none",  # the image keeps its own small size
            cmap=LEVEL_COLORS,
            vmin=limits[0],
            vmax=limits[1],
            extent=(0, seconds, 0, NUM_BANDS),
        )
        axes.set_yticks([mel_position(hertz) for hertz in FREQUENCY_TICKS], FREQUENCY_TICKS.values())
        axes.set_xlabel("seconds")
        axes.set_ylabel("kHz")
        return svg(figure)


def level_profile(
    levels: np.ndarray, reference: np.ndarray | None, normal: np.ndarray, reference_name: str = "nearest normal"
) -> str:
    """
    Draws the mean level of a clip in every mel band beside those of normal clips.

    Args:
        levels (`np.ndarray` of shape `(64,)`): levels of the clip in dB.
        reference (`np.ndarray` of shape `(64,)`, *optional*): levels of the normal clip beside it.
        normal (`np.ndarray` of shape `(clips, 64)`): levels of normal clips; their range is shaded.
        reference_name (`str`, *optional*, defaults to `"nearest normal"`): name of the reference in the legend.

    Returns:
        `str`: an SVG as a data URI.
    """
    bands = np.arange(NUM_BANDS) + 0.5
    with styled():
        figure = Figure(figsize=(3.8, 2.3), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(bands, normal.min(0), normal.max(0), color=NORMAL_COLOR, alpha=0.25, linewidth=0)
        axes.fill_between([], [], color=NORMAL_COLOR, alpha=0.25, linewidth=0, label=f"range of {len(normal)} normal")
        if reference is not None:
            axes.plot(bands, reference, color=NORMAL_COLOR, linewidth=1.1, label=reference_name)
        axes.plot(bands, levels, color=ANOMALY_COLOR, linewidth=1.6, label="this clip")
        axes.set_xticks([mel_position(hertz) for hertz in FREQUENCY_TICKS], FREQUENCY_TICKS.values())
        axes.set_xlim(0, NUM_BANDS)
        axes.set_xlabel("kHz")
        axes.set_ylabel("mean level, dB")
        axes.grid(color=GRID_COLOR, linewidth=0.8)
        axes.legend(fontsize=7.5, loc="best", borderaxespad=0.2)
        return svg(figure)


def color_bar() -> str:
    """The color scale of a spectrogram from quiet to loud, as a CSS gradient."""
    return f"linear-gradient(to right, {', '.join(to_hex(LEVEL_COLORS(x)) for x in np.linspace(0, 1, 9))})"


def sound(samples: np.ndarray, gain: float) -> str:
    """
    The beginning of a clip as an MP3 data URI.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz; the first 12 s are kept.
        gain (`float`): factor; use the same for all clips of a machine, so that their loudness can be compared.
    """
    buffer = io.BytesIO()
    clip = np.clip(samples[: LISTEN_SECONDS * SAMPLING_RATE] * gain, -1, 1)
    soundfile.write(buffer, clip, SAMPLING_RATE, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE")
    return data_uri("audio/mpeg", buffer.getvalue())
