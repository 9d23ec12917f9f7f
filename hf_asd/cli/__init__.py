"""The command `hf-asd`. Its modules import what a command needs when it runs, so that help is shown at once."""

import argparse
import gc
import logging
import sys

from ..options import nearest
from . import challenge, fit, monitor, recipes, score, sharing


def main(arguments: list[str] | None = None) -> int:
    """
    Runs one command.

    Args:
        arguments (`list[str]`, *optional*): the words behind `hf-asd`; defaults to those of the process.

    Returns:
        `int`, the exit code: 0 done (also where anomalies are found), 1 anomalies found with `--fail-on-anomaly`,
        2 bad input.
    """
    # Imports make many objects that stay; a search of them for garbage at every 700 new ones takes half a second.
    gc.set_threshold(100_000)
    parser = make_parser()
    args, others = parser.parse_known_args(arguments)
    if others and not hasattr(args, "overrides"):
        args.parser.error(_unknown(others, args.parser))
    args.overrides = others
    show_messages()
    hide_loading_bars()
    if args.traceback:
        return args.run(args) or 0
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ImportError) as error:
        print(f"hf-asd {args.command}: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser("hf-asd", description="Anomalous sound detection.")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error occurs")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (fit, score, monitor, recipes, sharing, challenge):
        module.add_commands(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def show_messages() -> None:
    """Shows what the library logs on standard error; results go to standard output."""
    logger = logging.getLogger("hf_asd")
    for handler in [handler for handler in logger.handlers if handler.name == "hf-asd"]:
        logger.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
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
