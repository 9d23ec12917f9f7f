"""Writing files and folders whole or not at all: an interruption never leaves half of one under its name."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """
    Gives a temporary name beside a file; what was written there gets the file's name when the block ends without
    error.

    Args:
        path (`str` or `Path`): the file; its folder is made where it does not exist, an older file is replaced.

    Yields:
        `Path`: where to write.

    Example:

    ```python
    with whole_file("scores.csv") as partial:
        partial.write_text("file,score")
    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, so that what a killed process leaves is not taken for a recording. Each writer has a name of its own.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> None:
    """Removes what killed processes left of [`whole_file`] in a folder and below; no process may be writing there."""
    for leftover in Path(folder).rglob(".*.partial"):
        leftover.unlink()


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """
    As [`whole_file`] for a folder, which must not exist yet. What an interrupted run left under the temporary name is
    removed first.

    Args:
        path (`str` or `Path`): the folder.

    Yields:
        `Path`: an empty folder to write into.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    os.replace(partial, path)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file (UTF-8, line ends as they are) whole or not at all; returns its path."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    return Path(path)


def write_json(path: str | Path, content: object) -> Path:
    """Writes a JSON file whole or not at all; returns its path."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def read_json(path: str | Path):
    """The content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
