"""Sound and pictures of single clips: log-mel spectrogram, level profile, MP3."""

import io
from dataclasses import replace

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ..audio.reading import SAMPLING_RATE
from ..plotting.spectrogram import FREQUENCY_TICKS, NUM_BANDS, ClipImage, draw_spectrogram, mel_position
from ..plotting.style import ANOMALY_COLOR, GRID_COLOR, NORMAL_COLOR, THEMES, data_uri, styled, svg


SPECTROGRAM_SECONDS, LISTEN_SECONDS = 60, 12
SMALL_FIGURE, SMALL_AXES = (3.8, 2.3), (0.175, 0.185, 0.805, 0.785)  # inches; shares: left, bottom, width, height


def spectrogram(image: ClipImage, limits: tuple[float, float], is_reference: bool) -> str:
    """
    Draws a log-mel spectrogram, with the score map and marked bands, as an SVG data URI.

    Args:
        image ([`~hf_asd.plotting.spectrogram.ClipImage`]): the clip.
        limits (`tuple[float, float]`): lowest and highest level of the colors in dB, in place of the image's own.
        is_reference (`bool`): a normal clip beside others: without score map.
    """
    theme = THEMES["light"]
    image = replace(image, limits=limits)
    if is_reference:
        image = replace(image, score_map=None, marks=())
    with styled(theme):
        if is_reference:
            figure = Figure(SMALL_FIGURE)
            axes = figure.add_axes(SMALL_AXES)
        else:  # names of marked bands stand beside it
            figure = Figure((4.6, 2.3), layout="constrained")
            axes = figure.subplots()
        draw_spectrogram(axes, image, theme)
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
        figure = Figure(SMALL_FIGURE)
        axes = figure.add_axes(SMALL_AXES)
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
    colors = colormaps[THEMES["light"].levels]
    return f"linear-gradient(to right, {', '.join(to_hex(colors(x)) for x in np.linspace(0, 1, 3))})"


def sound(samples: np.ndarray, gain: float) -> str:
    """
    The beginning of a clip as an MP3 data URI: a tenth of the size of WAV. Opus is no smaller at the same quality, and
    Safari before version 18.4 does not play it.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz; the first 12 s are kept.
        gain (`float`): factor; use the same for all clips of a machine, so that their loudness can be compared.
    """
    buffer = io.BytesIO()
    clip = np.clip(samples[: LISTEN_SECONDS * SAMPLING_RATE] * gain, -1, 1)
    soundfile.write(buffer, clip, SAMPLING_RATE, format="MP3", compression_level=0.7, bitrate_mode="VARIABLE")
    return data_uri("audio/mpeg", buffer.getvalue())
