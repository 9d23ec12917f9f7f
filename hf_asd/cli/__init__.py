"""The command `hf-asd`. Its modules import what a command needs when it runs, so that help is shown at once."""

import gc
import os
import sys

from .exit_codes import BAD_INPUT, DONE, INTERRUPTED, OUTPUT_CLOSED, OWN_FAULT
from .interruption import Interruption


# What the user can mend. Errors of other packages become one of these where they occur.
EXPECTED = (ValueError, OSError, ImportError)
MEMORY_WORDS = ("out of memory", "can't allocate memory")  # of PyTorch, on a GPU and on a CPU


def main(arguments: list[str] | None = None) -> int:
    """
    Runs one command.

    Args:
        arguments (`list[str]`, *optional*): the words behind `hf-asd`; defaults to those of the process.

    Returns:
        `int`, the exit code; [`~hf_asd.cli.exit_codes.EXIT_CODES`] lists them.
    """
    words = sys.argv[1:] if arguments is None else arguments
    with Interruption(ends_process=arguments is None) as interruption:
        try:
            return _run(words)
        except BrokenPipeError:
            # Python writes what is left when it ends, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OUTPUT_CLOSED
        except (KeyboardInterrupt, Exception) as error:
            # An import that is interrupted may end in another error.
            if interruption.happened or isinstance(error, KeyboardInterrupt):
                print(f"{_command(words)}: stopped by Ctrl+C", file=sys.stderr)
                # Where an import was interrupted in code that it made by `exec`, CPython would end the process by the
                # signal instead of this exit code, unless other code is run by `exec` after it.
                exec("pass")
                return INTERRUPTED
            return _report(words, error)


def _run(words: list[str]) -> int:
    # Imports make many objects that stay; a search of them for garbage at every 700 new ones takes half a second.
    gc.set_threshold(100_000)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may have characters that a terminal or a pipe has not
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        from .parser import parse, prepare

        args = parse(words)
        prepare()
        return args.run(args) or DONE
    finally:
        if sys.stdout is not None:  # it is closed
            sys.stdout.flush()


def _report(words: list[str], error: Exception) -> int:
    """Says in one line what the user can mend; an error that nobody expected comes with where it occurred."""
    text = str(error)
    is_memory = isinstance(error, MemoryError) or any(known in text.lower() for known in MEMORY_WORDS)
    is_expected = is_memory or isinstance(error, EXPECTED)
    if not is_expected or "--traceback" in words:
        import traceback

        traceback.print_exception(error)
    if is_memory:
        text = (
            f"there is not enough memory ({text or type(error).__name__}). Use shorter or fewer recordings at a time."
        )
    elif not is_expected:
        text = (
            f"this is an error of hf-asd itself ({type(error).__name__}: {text}). Please report it, with the lines "
            "above and what you did."
        )
    print(f"{_command(words)}: {text}", file=sys.stderr)
    return BAD_INPUT if is_expected else OWN_FAULT


def _command(words: list[str]) -> str:
    return " ".join(["hf-asd", *[word for word in words if not word.startswith("-")][:1]])
