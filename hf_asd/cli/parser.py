"""The parser of all commands, and what has to be set before one of them runs."""

import argparse
import logging
import sys

from ..options import nearest
from ..version import __version__
from . import (
    app,
    challenge,
    check,
    drift,
    export,
    fit,
    monitor,
    probe,
    recipes,
    score,
    shards,
    sharing,
    threshold,
    verdict,
)
from .exit_codes import EXIT_CODES


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser("hf-asd", description="Anomalous sound detection.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"hf-asd {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error occurs")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    own = (fit, check, score, app, monitor, drift, threshold, verdict, probe, export)
    for module in (*own, shards, recipes, sharing, challenge):
        module.add_commands(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def parse(words: list[str]) -> argparse.Namespace:
    """Parses the words behind `hf-asd`; a wrong word ends the process with what is accepted."""
    args, others = make_parser().parse_known_args(words)
    if others and not hasattr(args, "overrides"):
        args.parser.error(_unknown(others, args.parser))
    args.overrides = others
    return args


def prepare() -> None:
    """Shows messages of the library, and hides progress bars of loading."""
    show_messages()
    hide_loading_bars()


class BesideProgress(logging.StreamHandler):
    """Writes a message into a line of its own, where progress bars are shown too."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def show_messages() -> None:
    """Shows what the library logs on standard error; results go to standard output."""
    logger = logging.getLogger("hf_asd")
    for handler in [handler for handler in logger.handlers if handler.name == "hf-asd"]:
        logger.removeHandler(handler)
    handler = BesideProgress(sys.stderr)
    handler.name = "hf-asd"
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def hide_loading_bars() -> None:
    """Hides the progress bars of loading and saving models; the commands show their own."""
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # transformers, which is imported later, hides its own bars as well


def _unknown(words: list[str], command: argparse.ArgumentParser) -> str:
    known = [flag for action in command._actions for flag in action.option_strings]
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    hint = f"; did you mean {nearest(flags[0], known)}?" if flags else "."
    return f"unknown options: {' '.join(words)}{hint}"
