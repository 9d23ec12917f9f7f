"""Which recordings of a watched folder were decided, and what was known then, kept in a file for the next start."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files import whole_file
from .listing import Stamp
from .memory import MonitorMemory


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
    A file with a line of JSON for each recording that was decided, and what monitor knew then.

    Both stand in one line, so that what is known always belongs to the recordings that were decided.

    Args:
        path (`str` or `Path`): made where it does not exist.
        folder (`str`): the watched folder; names are kept relative to it, as it may be mounted elsewhere.
        memory ([`MonitorMemory`], *optional*): alarms and days, which are kept as well.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | Path, folder: str, memory: MonitorMemory | None = None):
        self.path, self.folder, self.memory = Path(path), folder, memory
        self._unwritten: list[dict] = []  # changes that a full disk did not take
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab"):
            pass  # a place that cannot be written to is an error now, not after the first decision

    def load(self) -> dict[str, Known]:
        """The recordings that were decided, in that order; the memory goes on from what was known then."""
        known, changes = {}, []
        lines = self.path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        for number, line in enumerate(filter(None, lines), start=1):
            try:
                row = json.loads(line)
                if "name" in row:
                    known[os.path.join(self.folder, row["name"])] = Known(Stamp(*row["stamp"]), row["content"])
                changes += row.get("memory", [])
                if not row.keys() & {"name", "memory"}:
                    raise KeyError("name")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if line == lines[-1] and line.startswith(LINE_START):  # cut off when the computer stopped
                    continue
                raise self._something_else(f"something else in line {number}") from error
        try:
            changes = changes if self.memory is None else self.memory.restore(changes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._something_else("alarms and days that cannot be read") from error
        with whole_file(self.path) as partial:
            rows = [json.dumps({"memory": changes}) + "\n"] if changes else []
            partial.write_text("".join(rows + [self._line(*item) for item in known.items()]), encoding="utf-8")
        return known

    def add(self, path: str, known: Known) -> None:
        """Keeps one recording more."""
        if self.memory is not None and (change := self.memory.take()):
            self._unwritten.append(change)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(self._line(path, known, self._unwritten))
        self._unwritten = []

    def _something_else(self, found: str) -> ValueError:
        return ValueError(f"state is {self.path}, which holds {found}. Give it a file of its own.")

    def _line(self, path: str, known: Known, memory: Sequence[dict] = ()) -> str:
        name, stamp = os.path.relpath(path, self.folder), known.stamp
        row = {"name": name, "stamp": [stamp.size, stamp.modified, stamp.changed], "content": known.content}
        return json.dumps(row | ({"memory": list(memory)} if memory else {})) + "\n"
