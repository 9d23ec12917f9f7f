"""The common style of a report's figures, and how they are embedded."""

import base64
import io
from typing import Any

from matplotlib.figure import Figure


# Okabe and Ito's palette, which color-blind readers can distinguish. Blue is always normal and vermilion anomalous.
NORMAL_COLOR, ANOMALY_COLOR, UNKNOWN_COLOR = "#0072B2", "#D55E00", "#6B6B6B"
CATEGORY_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C510A", "#B8B000", "#5E3C99")
OTHER_COLOR, INK, GRID_COLOR = "#B5BCC2", "#1B2733", "#DFE4E8"

STYLE: dict[Any, Any] = {  # matplotlib's types accept no plain strings here
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
    "svg.hashsalt": "hf_asd",  # the same data give the same file
}


def svg(figure: Figure) -> str:
    """A figure as an SVG data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return data_uri("image/svg+xml", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Content of a media type such as `"image/svg+xml"` as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
