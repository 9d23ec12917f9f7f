"""Which recordings of a watched folder were decided, kept in a file for the next start."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ...files import whole_file
from .listing import Stamp


LINE_START = '{"name": '


@dataclass
class Known:
    """
    A recording that was given, or whose fault was.

    Args:
        stamp ([`Stamp`]): how it looked.
        content (`str`, *optional*): what it held; `None` where it was never read.
        unread (`str`, *optional*): why it could not be read the last time it was tried; its content may be good.
    """

    stamp: Stamp
    content: str | None
    unread: str | None = None


class StateFile:
    """
    A file with a line of JSON for each recording that was decided.

    Args:
        path (`str` or `Path`): made where it does not exist.
        folder (`str`): the watched folder; names are kept relative to it, as it may be mounted elsewhere.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | Path, folder: str):
        self.path, self.folder = Path(path), folder
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab"):
            pass  # a place that cannot be written to is an error now, not after the first decision

    def load(self) -> dict[str, Known]:
        """The recordings that were decided, in that order."""
        known = {}
        lines = self.path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        for number, line in enumerate(filter(None, lines), start=1):
            try:
                row = json.loads(line)
                known[os.path.join(self.folder, row["name"])] = Known(Stamp(*row["stamp"]), row["content"])
            except (ValueError, KeyError, TypeError) as error:
                if line == lines[-1] and line.startswith(LINE_START):  # cut off when the computer stopped
                    continue
                found = f"something else in line {number}"
                raise ValueError(f"state is {self.path}, which holds {found}. Give it a file of its own.") from error
        with whole_file(self.path) as partial:
            partial.write_text("".join(self._line(name, one) for name, one in known.items()), encoding="utf-8")
        return known

    def add(self, path: str, known: Known) -> None:
        """Keeps one recording more."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(self._line(path, known))

    def _line(self, path: str, known: Known) -> str:
        name, stamp = os.path.relpath(path, self.folder), known.stamp
        row = {"name": name, "stamp": [stamp.size, stamp.modified, stamp.changed], "content": known.content}
        return json.dumps(row) + "\n"
