"""Results that a command writes where the user says: to a file, a device, a FIFO or standard output."""

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

from ..files import check_writable, write_text


STANDARD_OUTPUT = "-"


def check_results(args: argparse.Namespace, *names: str) -> None:
    """
    Checks before the work that the results can be written.

    Args:
        args (`argparse.Namespace`): holds the options.
        names (`str`): those that name a file, such as `"csv"`.

    Raises:
        ValueError: a place cannot be written to, or two results have one place; names the option.
    """
    given = {f"--{name.replace('_', '-')}": getattr(args, name) for name in names if getattr(args, name) is not None}
    for flag, path in given.items():
        if standard_stream(path) is None:
            check_writable(flag, path, is_folder=False)
    places = [os.path.realpath(path) if standard_stream(path) is None else STANDARD_OUTPUT for path in given.values()]
    if len(set(places)) < len(places):
        raise ValueError(f"{' and '.join(given)} name the same place; give each its own.")


def check_detector_place(option: str, folder: Path) -> None:
    """
    Checks before the work that a detector can be written.

    Raises:
        ValueError: the folder cannot be written to, or it holds other files that would be replaced; names the option.
    """
    from ..folders import check_replaceable
    from ..hub.manifest import DETECTOR_FOLDER

    check_writable(option, folder, is_folder=True)
    check_replaceable(folder, DETECTOR_FOLDER)


def write_result(path: Path, text: str) -> None:
    """
    Writes a result.

    Args:
        path (`Path`): a file, which is written whole or not at all; a device or a FIFO; or `-` for standard output.
        text (`str`): the content.

    Raises:
        OSError: it cannot be written.
    """
    stream = standard_stream(path)
    if stream is None:
        write_text(path, text)
    else:
        stream.write(text)
        stream.flush()


def standard_stream(path: Path | None) -> TextIO | None:
    """Standard output or error where a path means it: `-`, `/dev/stdout`, or the file that the shell writes it to."""
    if path is None:
        return None
    if str(path) == STANDARD_OUTPUT:
        return sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if path.exists() and _is_same(path, stream):
            return stream
    return None


def _is_same(path: Path, stream: TextIO | None) -> bool:
    try:
        return stream is not None and os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except (OSError, ValueError):  # a stream that is no file, or is closed
        return False
