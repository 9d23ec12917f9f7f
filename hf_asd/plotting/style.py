"""The common style of all figures, for light and dark pages, and how they are embedded in a page."""

import base64
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from ..options import check_word


ThemeName = Literal["light", "dark"]

# Okabe and Ito's palette, which color-blind readers can distinguish. Blue is always normal and vermilion anomalous.
NORMAL_COLOR, ANOMALY_COLOR, UNKNOWN_COLOR = "#0072B2", "#D55E00", "#6B6B6B"
CATEGORY_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C510A", "#B8B000", "#5E3C99")
OTHER_COLOR, INK, GRID_COLOR = "#B5BCC2", "#1B2733", "#DFE4E8"


@dataclass(frozen=True)
class Theme:
    """
    The colors of a figure.

    Args:
        paper, ink, frame, grid (`str`): of the ground, of text, of axes, of grid lines.
        normal, anomaly, unknown (`str`): of clips.
        quieter (`str`): of what is quieter than normal.
        levels (`str`): matplotlib's name of the color map of spectrograms; quiet has the color of the paper.
    """

    paper: str
    ink: str
    frame: str
    grid: str
    normal: str
    anomaly: str
    unknown: str
    quieter: str
    levels: str


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        paper="#FFFFFF",
        ink=INK,
        frame="#8A96A0",
        grid=GRID_COLOR,
        normal=NORMAL_COLOR,
        anomaly=ANOMALY_COLOR,
        unknown=UNKNOWN_COLOR,
        quieter="#7A3FB0",
        levels="gray_r",
    ),
    "dark": Theme(
        paper="#12181F",
        ink="#E6EAED",
        frame="#7C8894",
        grid="#2C3640",
        normal="#56B4E9",
        anomaly="#FF8B3D",
        unknown="#A3A3A3",
        quieter="#C39BF5",
        levels="gray",
    ),
}
PNG_IMAGE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
WEBP_QUALITY = 75
URI_CHARACTERS = " !\"$&'()*+,-./:;<=>?@[]_{|}~"  # browsers take them as they are; a quarter smaller than base64
# The settings of matplotlib are one for all threads.
_SETTINGS = threading.RLock()


def get_theme(name: ThemeName) -> Theme:
    """
    The colors of a theme.

    Raises:
        ValueError: there is no theme of this name.
    """
    check_word("theme", name, ThemeName)
    return THEMES[name]


@contextmanager
def styled(theme: Theme = THEMES["light"]) -> Iterator[None]:
    """Draws figures in the common style; matplotlib's own settings are unchanged afterwards."""
    settings: dict[Any, Any] = {  # matplotlib's types accept no plain strings here
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
        "font.size": 9,
        "text.color": theme.ink,
        "text.parse_math": False,  # names of files and attributes may hold a dollar sign
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.frame,
        "axes.labelcolor": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "svg.fonttype": "none",
        "svg.hashsalt": "hf_asd",  # the same data give the same file
    }
    with _SETTINGS, rc_context(settings):
        yield


def svg(figure: Figure) -> str:
    """A figure as an SVG data URI, without a ground. Images in it become WebP, a fifth of the size of PNG."""
    buffer = io.StringIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_facecolor("none")
    figure.set_dpi(150)
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # `savefig` draws twice
    text = PNG_IMAGE.sub(lambda found: data_uri("image/webp", _as_webp(base64.b64decode(found[1]))), buffer.getvalue())
    return f"data:image/svg+xml,{quote(text, safe=URI_CHARACTERS)}"


def _as_webp(png: bytes) -> bytes:
    image, buffer = Image.open(io.BytesIO(png)).convert("RGBA"), io.BytesIO()
    is_opaque = image.getchannel("A").getextrema() == (255, 255)
    image.save(buffer, "WEBP", lossless=not is_opaque, quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Content of a media type such as `"image/svg+xml"` as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
