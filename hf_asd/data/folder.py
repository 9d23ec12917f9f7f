"""A user's own machines: folders of recordings."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import DatasetDict

from ..audio.errors import BadAudioError
from ..audio.reading import OnBadAudio
from ..options import check_word
from .checking import all_bad_audio
from .days import add_sessions
from .folder_summary import FolderSummary, count
from .folder_tree import FolderReading, Question, read_folders, read_root
from .listing import METADATA_NAMES, NOTES, Listing, list_recordings, printable
from .metadata import Metadata, read_metadata
from .names import FILLERS, Meaning, read_file_name, words_of
from .schema import dataset_from_rows
from .speeds import SpeedError


# Other tables that may say which recordings are faulty.
LABEL_TABLE_WORDS = set(
    "metadata label labels annotation annotations ground truth groundtruth classes targets faults anomalies train "
    "test etiketten etiquetas anotaciones 标签 标注".split()
)
TABLE_SUFFIXES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".xls", ".xlsx", ".ods", ".parquet", ".xml", ".yaml"}
TWICE = "recordings that are there twice, through links"
MAX_QUESTIONS = 6


@dataclass(frozen=True)
class FolderContent:
    """
    Args:
        dataset (`datasets.DatasetDict`): as [`load_folder`] returns it.
        summary ([`FolderSummary`]): what was understood, and what was left out.
    """

    dataset: DatasetDict
    summary: FolderSummary


def load_folder(
    path: str | Path | Sequence[str | Path],
    machine: str | None = None,
    *,
    on_bad_audio: OnBadAudio = "error",
    to_score: bool = False,
) -> DatasetDict:
    """
    Lists recordings of own machines as a dataset of the one schema; none is opened.

    A bare folder of recordings is one machine, named after the folder, running normally. Names of subfolders say more,
    in English, German, Japanese, Chinese or Spanish ([`~hf_asd.data.trade_words`]): `train` and `test` the split;
    `normal`, `OK`, `good`, `gut`, ... and `anomaly`, `NG`, `bad`, `defekt`, ... the condition; a date, `day 2` or
    `session_3` the session; below `test`, names beside `good` are kinds of anomalies. Any other first name is a
    machine, and deeper ones are the attribute `folder`. File names count where no folder says the condition. What may
    mean a fault and is none of these words is an error that says what to write: nothing is learned from it.

    A table (`metadata.csv`, `.tsv`, `.jsonl` or `.parquet`, in the folder, its subfolders, or the folder of `train`)
    overrules the folders. Columns: `file_name` (relative to the table), and any of `machine`, `section`, `domain`,
    `condition` (or `label`, `is_anomaly`, ...), `split` and `session`; further columns are attributes, of which
    `speed` (or `rpm`) holds the speed of the shaft in 1/min. With a column for the condition, every recording that is
    learned from has to be in it.

    Hidden and system files, detectors and files that are not recordings are left out; [`read_folder`] counts them.

    Args:
        path (`str` or `Path`, or a sequence of them): folders or recordings.
        machine (`str`, *optional*): the machine of all recordings, whatever folders and tables say; by default they
            name it, else it is named after the folder.
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether files and folders that cannot
            be opened, or have names that are not UTF-8, are an error or left out.
        to_score (`bool`, *optional*, defaults to `False`): the recordings are to be decided about, not learned from:
            all are `test`, and what is not clear is `unknown` instead of an error.

    Returns:
        `datasets.DatasetDict`: `train` (normal recordings) and, where there are any, `test` (those of a `test` folder,
        every anomaly, and every recording whose condition is `unknown`).

    Raises:
        FileNotFoundError: there is no such folder or it holds no recording.
        BadAudioError: something in it cannot be opened.
        ValueError: it is not clear what the recordings are, or a table cannot be read or is not right.
    """
    return read_folder(path, machine, on_bad_audio=on_bad_audio, to_score=to_score).dataset


def read_folder(
    path: str | Path | Sequence[str | Path],
    machine: str | None = None,
    *,
    on_bad_audio: OnBadAudio = "error",
    to_score: bool = False,
    session: str | None = None,
) -> FolderContent:
    """
    As [`load_folder`], with a summary of what was understood and what was left out; `session` is that of all
    recordings, whatever folders and tables say.
    """
    check_word("on_bad_audio", on_bad_audio, OnBadAudio)
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    listings = list_recordings(paths)
    name = printable(paths[0]) if len(paths) == 1 else f"{len(paths)} files and folders"
    summary = FolderSummary(name)
    questions: dict[Question, list[str]] = defaultdict(list)
    rows = [row for listing in listings for row in _read_listing(listing, machine, to_score, summary, questions)]
    if summary.problems and on_bad_audio == "error":
        raise all_bad_audio(summary.problems, len(rows) + len(summary.problems))
    if not rows:
        raise BadAudioError(f"{name}: holds no recordings that can be used:\n  " + "\n  ".join(summary.problems))
    rows = _each_once(rows, summary, questions)
    if questions and not to_score:
        raise ValueError(_ask(name, questions, listings[0].root))
    if session is not None:
        rows = [row | {"session": session} for row in rows]
    summary.session_sources = add_sessions(rows)
    splits: dict[str, list[dict]] = {"train": [], "test": []}
    for row in rows:
        summary.add_row(row)
        splits[row["split"]].append(row)
    dataset = DatasetDict({split: dataset_from_rows(rows) for split, rows in splits.items() if rows})
    return FolderContent(dataset, summary)


def _read_listing(
    listing: Listing,
    machine: str | None,
    to_score: bool,
    summary: FolderSummary,
    questions: dict[Question, list[str]],
) -> list[dict]:
    """The rows of one folder; what was understood goes into the summary."""
    for kind, names in listing.ignored.items():
        summary.ignored.setdefault(kind, []).extend(names)
    summary.problems += listing.problems
    root, named = read_root(listing.root)
    if root.question is not None and machine is not None:
        root = replace(root, question=None)  # the user says that it is a machine
    files = {os.path.relpath(file, listing.root): file for file in listing.files}
    readings = read_folders({os.path.dirname(name) for name in files}, root, machine)
    is_whole = listing.is_whole and not to_score and not listing.problems
    # Scores of a known machine need no conditions.
    is_known = to_score and machine is not None
    try:
        metadata = read_metadata(_tables(listing, named), listing.root, list(files), is_whole, is_known)
    except SpeedError:
        raise
    except ValueError as error:
        if not is_known:
            raise
        metadata = Metadata(notes=[f"{error} Without it, no session and no speed is known."])
    summary.notes += metadata.notes
    label_table = None if metadata.labeled else _label_table(listing)
    meanings = {name: read_file_name(file.name) for name, file in files.items()}
    schemes = {os.path.dirname(name) for name, meaning in meanings.items() if meaning.is_plain_condition}
    rows = []
    for name, file in files.items():
        folder = os.path.dirname(name)
        hints = _Hints(readings[folder], meanings[name], folder in schemes, metadata, label_table)
        summary.add_words(hints.reading.words)
        row, question = _make_row(name, hints, to_score)
        row["machine"] = machine or row["machine"] or printable(named.name) or "machine"
        if hints.says_condition(name):
            summary.add_words([(name, row["condition"])])
        if question is not None:
            questions[question].append(name)
            row["condition"], row["split"] = "unknown", "test"
        rows.append({**row, "path": file, "clip_id": f"{row['machine']}/{name}"})
    summary.add_words(metadata.words.items())
    listed = {listed.cells.get("machine", machine) for listed in metadata.listed.values()} - {machine}
    if machine is not None and listed:
        summary.notes.append(f"machine {machine} instead of {', '.join(sorted(filter(None, listed)))} of the table")
    return rows


def _tables(listing: Listing, named: Path) -> list[Path]:
    """Tables in the folder, and those between it and the folder that the machine is named after."""
    tables, folder = list(listing.tables), listing.root.resolve()
    while folder != named and named in folder.parents:
        folder = folder.parent
        tables += sorted(path for path in folder.iterdir() if path.name.casefold() in METADATA_NAMES)
    return tables


def _label_table(listing: Listing) -> str | None:
    """Another table in the folder that may say which recordings are faulty."""
    for name in listing.ignored.get(NOTES, ()):
        path = Path(name)
        first, *others = [word for word in words_of(path.stem) if word not in FILLERS] or [""]
        is_about_all = first in LABEL_TABLE_WORDS  # `01_metadata.json` is about one recording
        others = {word for word in others if not word.isdecimal()}
        if path.suffix.lower() in TABLE_SUFFIXES and is_about_all and others <= LABEL_TABLE_WORDS:
            return printable(name)
    return None


@dataclass(frozen=True)
class _Hints:
    """
    What there is to say what one recording is.

    Args:
        reading ([`FolderReading`]): of its folders.
        meaning ([`Meaning`]): of its own name.
        has_scheme (`bool`): whether names of recordings beside it say the condition and nothing else.
        metadata ([`Metadata`]): of all tables.
        label_table (`str`, *optional*): a table that is not read and may say conditions.
    """

    reading: FolderReading
    meaning: Meaning
    has_scheme: bool
    metadata: Metadata
    label_table: str | None

    def says_condition(self, name: str) -> bool:
        """Whether the recording's own name decides about its condition."""
        listed = self.metadata.listed.get(name)
        is_listed = listed is not None and "condition" in listed.cells
        return self.meaning.condition is not None and self.reading.condition is None and not is_listed

    def doubt(self, name: str) -> Question | None:
        """Why the recording should not be taken for a normal one."""
        listed = self.metadata.listed.get(name)
        table = self.metadata.missing_in(name)
        if self.reading.condition == "normal":
            contradicts = self.meaning.condition == "anomaly"
            return Question("the name means anomaly, in a folder that means normal") if contradicts else None
        if table is not None:
            return Question(f"{table} has a column for the condition, and says nothing about them")
        if self.meaning.condition is not None:
            return None
        if listed is not None and listed.question is not None:
            return listed.question
        if self.meaning.may_mean_fault:
            return Question("the name may mean a fault")
        if self.has_scheme:
            return Question("other names beside them say normal or anomaly, these do not")
        if self.label_table is not None:
            return Question(f"{self.label_table} may say which are faulty, and is not read; name it otherwise if not")
        return None


def _make_row(name: str, hints: _Hints, to_score: bool) -> tuple[dict, Question | None]:
    """One recording, and what has to be asked about it."""
    reading, listed = hints.reading, hints.metadata.listed.get(name)
    cells = {} if listed is None else listed.cells
    condition = cells.get("condition") or reading.condition or hints.meaning.condition
    split = cells.get("split") or reading.split or "train"
    if condition in ("anomaly", "unknown") or to_score:
        split = "test"
    question = reading.question
    if question is not None and ("machine" if question.about_machine else "condition") in cells:
        question = None  # the table answers it
    if listed is not None and cells.get("condition") == "normal" and reading.fault_mark is not None:
        table = listed.where.partition(", line ")[0]
        question = Question(f"{table} says normal, the folder {reading.fault_mark} anomaly")
    if question is None and "condition" not in cells and split == "train":
        question = hints.doubt(name)
    attributes = {} if not reading.others else {"folder": "/".join(reading.others)}
    row = {
        "machine": cells.get("machine") or reading.machine,
        "condition": condition or ("normal" if split == "train" else "unknown"),
        "split": split,
        "session": cells.get("session") or reading.session,
        "attributes": attributes if listed is None else attributes | listed.attributes,
    }
    return row | {key: cells[key] for key in ("section", "domain") if key in cells}, question


def _each_once(rows: list[dict], summary: FolderSummary, questions: dict[Question, list[str]]) -> list[dict]:
    """Recordings that links or two arguments name twice, once; names of recordings of several folders differ."""
    folders: dict[Path, str] = {}
    first: dict[str, dict] = {}
    for row in rows:
        path = row["path"]
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        real = os.path.realpath(path) if path.is_symlink() else os.path.join(folders[path.parent], path.name)
        before = first.setdefault(real, row)
        if before is not row:
            summary.ignored.setdefault(TWICE, []).append(str(path))
            if any(before[key] != row[key] for key in ("machine", "condition", "split")):
                questions[Question(f"the same file is {before['path']}, which says something else")].append(str(path))
    once = list(first.values())
    counts = Counter(row["clip_id"] for row in once)
    for row in once:
        if counts[row["clip_id"]] > 1:
            row["clip_id"] = f"{row['machine']}/{row['path'].as_posix().lstrip('/')}"
    return once


def _ask(name: str, questions: dict[Question, list[str]], root: Path) -> str:
    """What is not clear, and what to write."""
    lines = []
    for question, names in list(questions.items())[:MAX_QUESTIONS]:
        some = ", ".join(map(printable, names[:3])) + (", ..." if len(names) > 3 else "")
        about = f"{count(len(names), 'recording')} ({some})"
        if question.folder is not None:
            about = f"{printable(question.folder)} ({count(len(names), 'recording')})"
        lines.append(f"  {about}: {question.reason}")
    if len(questions) > MAX_QUESTIONS:
        lines.append(f"  and {len(questions) - MAX_QUESTIONS} more")
    table = printable(root / "metadata.csv")
    write = f"a table {table} with the columns file_name, machine, condition (normal, anomaly or unknown)"
    if all(question.about_machine for question in questions):
        return (
            f"{name}: it is not clear which machines these are.\n"
            + "\n".join(lines)
            + "\nIf all are of one machine, add --machine NAME (machine='NAME'). Otherwise keep a folder for "
            f"each machine, or write {write}."
        )
    return (
        f"{name}: it is not clear what these recordings are; nothing is learned from what may be faulty.\n"
        + "\n".join(lines)
        + "\nMove them into folders named normal, anomaly or test; or give the folder of a machine alone, with "
        f"--machine NAME (machine='NAME'); or write {write}, one line for each recording."
    )
