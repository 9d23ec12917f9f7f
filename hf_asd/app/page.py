"""The page: its title, its tabs, and how it looks."""

from pathlib import Path

import gradio as gr
from gradio.themes import Base

from . import views
from .checking_tab import CheckingTab
from .learning_tab import LearningTab
from .parts import html
from .sessions import Sessions
from .settings import AppSettings


HERE = Path(__file__).parent
STYLE, SCRIPT = HERE / "page.css", HERE / "page.js"
# No fonts are loaded, neither from elsewhere nor from the server.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
HELP = """
- **Score**: how different a recording is from the normal ones; higher is more unusual. Above the **threshold** it is
  an anomaly.
- **p-value**: the share of normal recordings that score as high.
- An anomaly can be a fault, but also another load, another room or another microphone. That none is found does not
  prove that the machine is healthy. Never let this page alone decide where people can be harmed.
- **Formats**: WAV, FLAC, OGG, MP3 and others; at most {megabytes} MB a file and {files} recordings at a time.{longer}
- {privacy}
"""
LOCAL_PRIVACY = (
    "**Privacy**: everything is computed on the computer that runs this page; nothing is sent anywhere else. What you "
    "drop or record is deleted when you close the page."
)
SPACE_PRIVACY = (
    "**Privacy**: what you drop or record is sent to this Space on the Hub, and deleted there when you close the "
    "page. To keep recordings to yourself, run `hf-asd app` on your own computer."
)


def build_page(sessions: Sessions, settings: AppSettings) -> gr.Blocks:
    """
    Builds the page; [`~hf_asd.app.serving.serve`] serves it.

    Args:
        sessions ([`Sessions`]): what open pages hold.
        settings ([`AppSettings`]): what is offered.
    """
    detector = settings.detector
    names = ", ".join(detector.machines) if detector is not None else "a machine"
    with gr.Blocks(
        analytics_enabled=False, title=f"hf-asd: {names}", delete_cache=(30, 120), fill_width=False
    ) as page:
        title = html(views.title(names))
        with gr.Tabs(selected="check" if detector is not None else "learn"):
            with gr.Tab("Check", id="check"):
                checking = CheckingTab(sessions, settings)
            if settings.learns:
                with gr.Tab("Learn", id="learn"):
                    LearningTab(sessions, settings, checking, title)
            with gr.Tab("Help", id="help"):
                gr.Markdown(_help(settings))
        page.unload(_closing(sessions))
    return page


def _help(settings: AppSettings) -> str:
    longer = " Larger ones are read from a folder." if settings.reads_folders else ""
    privacy = SPACE_PRIVACY if settings.in_space else LOCAL_PRIVACY
    return HELP.format(megabytes=settings.max_upload_mb, files=settings.max_files, longer=longer, privacy=privacy)


def _closing(sessions: Sessions):
    def close(request: gr.Request) -> None:
        sessions.close(request.session_hash)

    return close


def theme() -> gr.Theme:
    """Colors and fonts of gradio's own parts."""
    return Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=("monospace",)
    ).set(
        button_primary_background_fill="#005f9e",
        button_primary_background_fill_dark="#005f9e",
        button_primary_background_fill_hover="#004a7c",
        button_primary_background_fill_hover_dark="#0072b2",
        button_primary_text_color="white",
        slider_color="#0072b2",
    )
