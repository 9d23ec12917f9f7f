"""Parts of the page that both tabs use."""

import logging
from pathlib import Path
from typing import Literal

import gradio as gr

from ..audio.formats import READABLE_SUFFIXES
from .settings import AppSettings
from .work import Stopped


logger = logging.getLogger(__name__)

TABLE_JS = "window.hfAsd.table(element, trigger, watch)"  # calls trigger('select') and trigger('input')
CLIP_JS = "window.hfAsd.clip(element, watch)"


def html(value: str = "", js: str | None = None) -> gr.HTML:
    """A part of the page that is written by [`views`][hf_asd.app.views]."""
    return gr.HTML(value, elem_classes=["hf-asd"], js_on_load=js, apply_default_css=False)


def file_drop(label: str) -> gr.File:
    """Where recordings are dropped or chosen."""
    suffixes = sorted(READABLE_SUFFIXES | {suffix.upper() for suffix in READABLE_SUFFIXES})
    return gr.File(label=label, file_count="multiple", file_types=suffixes, height=150, min_width=300)


def folder_box(example: str, action: str, variant: Literal["primary", "secondary"]) -> tuple[gr.Textbox, gr.Button]:
    """Where a folder of the computer that the app runs on is named, and the button beside it."""
    with gr.Row(elem_classes=["folder-row"]):
        label = "Or a folder on this computer"
        folder = gr.Textbox(label=label, placeholder=example, max_lines=1, scale=1, min_width=220)
        button = gr.Button(action, variant=variant, scale=0, elem_classes=["beside"])
    return folder, button


def check_count(count: int, settings: AppSettings, present: int = 0) -> None:
    """
    Refuses more recordings than one page takes.

    Args:
        count (`int`): how many are given.
        settings ([`AppSettings`]): say how many are taken.
        present (`int`, *optional*, defaults to 0): how many are on the page already.

    Raises:
        ValueError: there are too many.
    """
    if count + present > settings.max_files:
        beside = f" beside the {present} that are here; remove these first" if present else ""
        raise ValueError(
            f"{count} recordings were given; at most {settings.max_files} are taken{beside}. Whole folders are for "
            "the commands hf-asd score and hf-asd fit; --max-files of hf-asd app takes more here."
        )


def named_folder(text: str) -> Path:
    """
    The folder or recording that the user typed.

    Raises:
        ValueError: there is none of this name.
    """
    path = Path(text.strip().strip('"')).expanduser()
    if not text.strip() or not path.exists():
        raise ValueError(f"There is no folder or recording {text.strip() or '(nothing was typed)'} on this computer.")
    return path


def error_text(error: BaseException) -> str:
    """What went wrong, for the page; what nobody expected goes to the log as well."""
    if isinstance(error, Stopped):
        return "Stopped."
    if isinstance(error, ValueError | OSError):
        return str(error)
    logger.error("the app failed", exc_info=error)
    return f"This is an error of hf-asd itself ({type(error).__name__}: {error}). The terminal shows where."
