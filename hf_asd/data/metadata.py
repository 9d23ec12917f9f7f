"""What tables beside the recordings say about them (`metadata.csv`)."""

import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from .folder_tree import Question
from .listing import printable
from .names import plain, read_name, words_of
from .schema import DOMAINS
from .speeds import check_speed, find_speed_column
from .tables import Table, parse_table


# Names of columns, without case, spaces and underscores.
FILE_COLUMNS = (
    *("filename", "file", "path", "filepath", "recording", "audio", "audiofile", "wav", "wavfile", "clip", "name"),
    *("datei", "dateiname", "archivo", "fichero", "ファイル", "ファイル名", "文件", "文件名"),
)
PLAIN_COLUMNS = {
    "machine": ("machine", "machinename", "machineid", "machinetype", "maschine", "maquina", "機械", "设备", "机器"),
    "section": ("section",),
    "domain": ("domain",),
    "split": ("split", "subset", "partition"),
    "session": ("session", "sessionid", "sitzung", "sesion", "recordingsession"),
}
# Their cells are words: normal, anomaly.
LABEL_COLUMNS = {
    *"condition label labels class classlabel status target y verdict groundtruth truth result health".split(),
    *"zustand ergebnis befund bewertung estado etiqueta clase resultado".split(),
    *(plain(word) for word in ("ラベル", "状態", "判定", "标签", "状态", "类别", "结果")),
}
# Words of a column's name that say nothing: `is_anomaly`, `anomaly_label`.
COLUMN_FILLERS = {*"is ist es has hat flag label class status bool binary value".split()}
TRUE = {"1", "1.0", "true", "yes", "y", "t", "x", "ja", "j", "wahr", "si", "verdadero", "はい", "是"}
FALSE = {"0", "0.0", "false", "no", "n", "f", "nein", "falsch", "falso", "いいえ", "否"}
OPPOSITE = {"normal": "anomaly", "anomaly": "normal"}


@dataclass(frozen=True)
class Listed:
    """
    What a table says about one recording.

    Args:
        where (`str`): the table and the line.
        cells (`dict[str, str]`): any of `machine`, `section`, `domain`, `condition`, `split` and `session`.
        attributes (`dict[str, str]`): further columns.
        question ([`Question`], *optional*): a cell that may mean a fault, where no column says the condition.
    """

    where: str
    cells: dict[str, str]
    attributes: dict[str, str]
    question: Question | None = None


@dataclass
class Metadata:
    """
    What all tables of a folder say.

    Args:
        listed (`dict[str, Listed]`): by the recording's path relative to the folder, with `/`.
        labeled (`list[tuple[str, str]]`): (folder, table) of tables with a column that says the condition: every
            recording below has to be in it.
        words (`dict[str, str]`): (column, cell) in words -> the condition that it means.
        notes (`list[str]`): what had to be assumed.
    """

    listed: dict[str, Listed] = field(default_factory=dict)
    labeled: list[tuple[str, str]] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def missing_in(self, name: str) -> str | None:
        """The table that should say the condition of a recording."""
        return next((table for folder, table in self.labeled if name.startswith(folder)), None)


def read_metadata(
    tables: Sequence[Path], root: Path, names: Collection[str], is_whole: bool = True, is_known: bool = False
) -> Metadata:
    """
    Reads all tables of a folder.

    Args:
        tables (`Sequence[Path]`): in the folder and below, or above it.
        root (`Path`): the folder.
        names (`Collection[str]`): the recordings in it, relative to it, with `/`.
        is_whole (`bool`, *optional*, defaults to `True`): whether these are all recordings of the folder; otherwise
            the tables list others too.
        is_known (`bool`, *optional*, defaults to `False`): what the recordings are is known: only sessions and speeds
            are read, and a table without names of files says nothing.

    Raises:
        ValueError: a table cannot be read, lacks the column of file names, names a recording that is not there, says
            something that is not understood, or says two things about one recording.
    """
    metadata, finder = Metadata(), _Finder(root, names)
    for path in tables:
        table, shown = parse_table(path), printable(path)
        columns = _Columns.of(table, shown, is_known)
        if columns is None:
            continue
        if table.note is not None:
            metadata.notes.append(f"{shown}: {table.note}")
        if columns.labels:
            metadata.labeled.append((finder.folder_of(path), shown))
        for number, cells in table.rows:
            where = f"{shown}, line {number}"
            name = finder.find(cells[columns.file], path, where, is_whole and root in (path.parent, *path.parents))
            if name is None:
                continue
            listed = columns.read(cells, where, metadata.words)
            before = metadata.listed.setdefault(name, listed)
            if (before.cells, before.attributes) != (listed.cells, listed.attributes):
                raise ValueError(f"{where}: contradicts {before.where} about {name}. Keep one of the two.")
    return metadata


def _key(name: str) -> str:
    """Without case, and accents written in one way: Windows and macOS do not distinguish them."""
    return unicodedata.normalize("NFC", name).casefold()


class _Finder:
    """Finds the recording that a cell names."""

    def __init__(self, root: Path, names: Collection[str]):
        self.root, self.names = root, set(names)
        self.by_key: dict[str, list[str]] = {}
        for name in names:
            self.by_key.setdefault(_key(name), []).append(name)

    def folder_of(self, table: Path) -> str:
        """The start of the names of recordings that a table is about."""
        folder = table.parent
        return f"{folder.relative_to(self.root).as_posix()}/" if self.root in folder.parents else ""

    def find(self, cell: str, table: Path, where: str, must_exist: bool) -> str | None:
        if not cell:
            raise ValueError(f"{where}: names no file.")
        name = self._relative(cell, table)
        if name in self.names:
            return name
        found = [] if name is None else self.by_key.get(_key(name), [])
        if len(found) == 1:
            return found[0]
        if not must_exist:
            return None
        raise ValueError(f"{where}: there is no recording {cell!r} below {printable(table.parent)}{self._hint(cell)}.")

    def _relative(self, cell: str, table: Path) -> str | None:
        """The name relative to the root; `None` for files elsewhere."""
        for text in (cell, cell.replace("\\", "/")):
            if text in self.names and table.parent == self.root:
                return text
        text = re.sub(r"^file://", "", cell.replace("\\", "/"))
        path = PurePosixPath(os.path.normpath(Path(os.path.abspath(table.parent), text)))
        for root in (os.path.abspath(self.root), os.path.realpath(self.root)):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return None

    def _hint(self, cell: str) -> str:
        last = _key(PurePosixPath(cell.replace("\\", "/")).name)
        like = [name for name in sorted(self.names) if _key(PurePosixPath(name).name) == last]
        like = like or [name for name in sorted(self.names) if _key(PurePosixPath(name).stem) == last]
        return f"; did you mean {like[0]}? Names are relative to the folder of the table" if like else ""


@dataclass(frozen=True)
class _Columns:
    """
    What the columns of a table are.

    Args:
        file (`str`): names the recording.
        known (`dict[str, str]`): column of the schema -> column of the table.
        labels (`dict[str, str | None]`): column that says the condition -> the condition that "true" means there;
            `None` where the cells are words.
        others (`list[str]`): attributes.
        speed (`str`, *optional*): the one of them that holds speeds in 1/min.
    """

    file: str
    known: dict[str, str]
    labels: dict[str, str | None]
    others: list[str]
    speed: str | None = None

    @classmethod
    def of(cls, table: Table, shown: str, is_known: bool) -> "_Columns | None":
        small = {"".join(words_of(column)): column for column in reversed(table.columns)}
        files = [small[plain(name)] for name in FILE_COLUMNS if plain(name) in small]
        if not files and is_known:
            return None
        if not files:
            found = ", ".join(map(repr, table.columns))
            raise ValueError(f"{shown}: lacks the column file_name; found {found}.")
        known = {}
        for key, names in PLAIN_COLUMNS.items():
            found = [small[plain(name)] for name in names if plain(name) in small]
            known |= {key: found[0]} if found else {}
        others = [column for column in table.columns if column and column not in (files[0], *known.values())]
        speed = find_speed_column(others, [cells for _, cells in table.rows])
        if is_known:
            session = {key: column for key, column in known.items() if key == "session"}
            return cls(files[0], session, {}, [] if speed is None else [speed], speed)
        labels = {column: _true_means(column) for column in others if _says_condition(column)}
        columns = cls(files[0], known, labels, [column for column in others if column not in labels], speed)
        return columns._without_unread(table, shown)

    def _without_unread(self, table: Table, shown: str) -> "_Columns":
        """A label column with other words than conditions is an attribute if another column says the condition."""
        faults = {}
        for column, true_means in self.labels.items():
            cells = dict.fromkeys(cells[column] for _, cells in table.rows if cells[column])
            unread = [cell for cell in cells if _condition(cell, true_means) is None]
            if unread:
                faults[column] = unread
        left = [column for column in self.labels if column not in faults]
        for column, unread in faults.items():
            if not left or self.labels[column] is not None:
                raise ValueError(f"{shown}: {_not_understood(column, unread, self.labels[column])}")
        return replace(self, labels={name: self.labels[name] for name in left}, others=[*self.others, *faults])

    def read(self, cells: dict[str, str], where: str, words: dict[str, str]) -> Listed:
        """One row; empty cells say nothing."""
        known = {key: cells[column] for key, column in self.known.items() if cells[column]}
        attributes = {column: cells[column] for column in self.others if cells[column]}
        if self.speed is not None and cells[self.speed]:
            check_speed(cells[self.speed], self.speed, where)
        if "domain" in known:
            known["domain"] = known["domain"].casefold()
            if known["domain"] not in DOMAINS:
                raise ValueError(f"{where}: domain is {known['domain']!r}; accepted are {', '.join(DOMAINS)}.")
        if "split" in known:
            split = read_name(known["split"]).split
            if split is None:
                raise ValueError(f"{where}: split is {known['split']!r}; accepted are train and test.")
            known["split"] = split
        for column, true_means in self.labels.items():
            cell = cells[column]
            condition = _condition(cell, true_means) if cell else None
            if condition is None:
                continue
            if known.setdefault("condition", condition) != condition:
                raise ValueError(f"{where}: the columns {' and '.join(self.labels)} contradict each other.")
            words[f"{column}={cell}"] = condition
            if read_name(cell).rest and read_name(cell).condition:
                attributes[column] = cell  # the kind of the fault
        question = None if self.labels else _ask_about(attributes, where)
        return Listed(where, known, attributes, question)


def _says_condition(column: str) -> bool:
    return "".join(words_of(column)) in LABEL_COLUMNS or _true_means(column) is not None


def _true_means(column: str) -> str | None:
    """What "true" means in a column: `is_anomaly`, `faulty`, `OK`."""
    words = words_of(column)
    said = [word for word in words if word not in COLUMN_FILLERS]
    meaning = read_name(" ".join(said))
    return meaning.condition if said and meaning.is_plain_condition and meaning.condition != "unknown" else None


def _condition(cell: str, true_means: str | None) -> str | None:
    meaning = read_name(cell)
    if meaning.condition is not None:
        return meaning.condition
    if true_means is None:
        return None
    small = plain(cell).casefold()
    return true_means if small in TRUE else OPPOSITE[true_means] if small in FALSE else None


def _not_understood(column: str, cells: list[str], true_means: str | None) -> str:
    some = ", ".join(map(repr, cells[:5])) + (", ..." if len(cells) > 5 else "")
    if true_means is not None:
        return f"{column} is {some}; accepted are 1 and 0, yes and no, normal, anomaly and unknown."
    if all(plain(cell).casefold() in TRUE | FALSE for cell in cells):
        return (
            f"{column} is {some}, which does not say which of them is a fault. Name the column is_anomaly (1 is an "
            "anomaly) or is_normal, or write normal, anomaly or unknown."
        )
    return (
        f"{column} is {some}; accepted are normal, anomaly and unknown. Write those, or give the column another name "
        "if it says nothing about faults."
    )


def _ask_about(attributes: dict[str, str], where: str) -> Question | None:
    """A column or a cell that may mean a fault, where no column says the condition."""
    table = where.partition(", line ")[0]
    for column, cell in attributes.items():
        named, said = read_name(column), read_name(cell)
        if named.may_mean_fault or named.condition == "anomaly":
            return Question(f"the column {column} of {table} may mean a fault")
        if said.may_mean_fault or said.condition == "anomaly":
            return Question(f"{column} is {cell!r} in {table}, which may mean a fault")
    return None
