"""What the folders of a tree say about the recordings in them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .names import Meaning, read_name, words_of


Parts = tuple[str, ...]
MAX_WORDS = 3  # of a name that the user gave: a longer one is a sentence, which says too much to be understood


@dataclass(frozen=True)
class Question:
    """
    What has to be asked before something is learned.

    Args:
        reason (`str`): why it is not clear.
        folder (`str`, *optional*): which folder it is about; by default about single recordings.
        about_machine (`bool`): whether the machine is not clear, rather than whether the recordings are normal.
        is_open (`bool`): whether a folder `normal` or `anomaly` further down answers it.
    """

    reason: str
    folder: str | None = None
    about_machine: bool = False
    is_open: bool = False


@dataclass(frozen=True)
class FolderReading:
    """
    What the names of folders say about the recordings in the last one; `None` where they say nothing.

    Args:
        machine, split, condition, session (`str`, *optional*): as in the schema.
        others (`Parts`): names that say nothing of this: kinds of faults, operating states.
        fault_mark (`str`, *optional*): the folder whose name means an anomaly and nothing else.
        question ([`Question`], *optional*): what is not clear.
        words (`tuple[tuple[str, str], ...]`): (name, what it means) of every folder that means something.
    """

    machine: str | None = None
    split: str | None = None
    condition: str | None = None
    session: str | None = None
    others: Parts = ()
    fault_mark: str | None = None
    question: Question | None = None
    words: tuple[tuple[str, str], ...] = ()

    def ask(self, question: Question) -> "FolderReading":
        """Whether recordings are normal is asked before whose they are; else the first question stays."""
        before = self.question
        if before is None or (before.about_machine and not question.about_machine):
            return replace(self, question=question)
        return self

    def means(self, name: str, meaning: str | None) -> "FolderReading":
        """Keeps what a name means, for the summary."""
        return self if meaning is None else replace(self, words=(*self.words, (name, meaning)))


@dataclass(frozen=True)
class _Level:
    """The folders beside a folder: in the same one, or in `train` and `test` beside each other; with their meaning."""

    here: dict[str, Meaning]
    names: dict[str, Meaning]
    has_loose: bool  # recordings beside the folders
    forced: str | None  # the machine that the user named

    def beside(self, name: str) -> dict[str, Meaning]:
        return {other: meaning for other, meaning in self.names.items() if other != name}


def read_root(root: Path) -> tuple[FolderReading, Path]:
    """
    What a folder's own name says: `pump/2026-11-01/bad` holds anomalies of the pump.

    Returns:
        `tuple[FolderReading, Path]`: without a machine, and the folder that is named like the machine.
    """
    reading, folder = FolderReading(), root.resolve()
    while folder.name:
        date, size = _nested_date(folder)
        meaning = Meaning(session=date) if date else read_name(folder.name)
        if len([word for word in words_of(folder.name) if not word.isdecimal()]) > MAX_WORDS:
            break
        if meaning.may_mean_fault:
            question = Question("the name may mean a fault", str(root), is_open=True)
            return (reading if reading.condition else reading.ask(question)), folder
        if meaning.is_unclear or meaning == Meaning() or (meaning.rest and meaning.condition is None):
            break
        if meaning.condition is not None and reading.condition not in (None, meaning.condition):
            reading = reading.ask(Question(f"{folder.name} means {meaning.condition}", str(root)))
        session = "/".join(filter(None, (meaning.session, reading.session))) or None
        reading = replace(reading, condition=reading.condition or meaning.condition, session=session)
        reading = reading.means(folder.name, meaning.condition)
        if meaning.condition == "anomaly" and meaning.is_plain_condition:
            reading = replace(reading, fault_mark=folder.name)
        if meaning.rest:  # `reference_pump`
            break
        folder = folder.parents[size - 1]
    return reading, folder


def _nested_date(folder: Path) -> tuple[str | None, int]:
    """The date of folders such as `2026/11/01`, and how many folders it takes."""
    for size in (3, 2):
        parts = folder.parts[-size:]
        if len(parts) == size and all(part.isdecimal() for part in parts) and read_name("-".join(parts)).session:
            return "/".join(parts), size
    return None, 1


def read_folders(holding: Iterable[str], root: FolderReading, forced: str | None) -> dict[str, FolderReading]:
    """
    Reads the names of all folders, each with those beside it.

    Args:
        holding (`Iterable[str]`): the folders that hold recordings, relative to the root; `""` is the root.
        root ([`FolderReading`]): of [`read_root`].
        forced (`str`, *optional*): the machine that the user named.

    Returns:
        `dict[str, FolderReading]`: for each of these folders.
    """
    with_recordings: dict[Parts, str] = {Path(folder).parts: folder for folder in holding}
    folders = {parts[:size] for parts in with_recordings for size in range(1, len(parts) + 1)}
    folders = sorted(folders, key=lambda parts: (len(parts), parts))
    here, beside = defaultdict(dict), defaultdict(dict)
    readings: dict[Parts, FolderReading] = {(): replace(root, machine=forced)}
    for folder in folders:
        meaning = read_name(folder[-1])
        here[folder[:-1]][folder[-1]] = beside[_without_splits(folder[:-1])][folder[-1]] = meaning
    for folder in folders:
        parent = folder[:-1]
        level = _Level(here[parent], beside[_without_splits(parent)], parent in with_recordings, forced)
        readings[folder] = _read(readings[parent], folder, level)
    return {name: _loose(readings[folder], folder, here[folder]) for folder, name in with_recordings.items()}


def _without_splits(folders: Parts) -> Parts:
    return tuple(name for name in folders if not _is_split(read_name(name)))


def _is_split(meaning: Meaning) -> bool:
    return meaning.split is not None and meaning.condition is None and not meaning.is_unclear


def _is_name(meaning: Meaning) -> bool:
    """Whether it is a name of something: a machine, a fault, an operating state."""
    return bool(meaning.rest) and meaning.condition is None and meaning.session is None


def _read(parent: FolderReading, folder: Parts, level: _Level) -> FolderReading:
    """What one more folder says."""
    name, path = folder[-1], "/".join(folder)
    meaning = read_name(name, below_date=parent.session is not None)
    reading = parent
    if meaning.session is not None:
        session = name if meaning.rest and meaning.condition is None else meaning.session
        reading = replace(reading, session="/".join(filter(None, (parent.session, session))))
    if meaning.split is not None and not meaning.is_unclear:
        if parent.split not in (None, meaning.split):
            reading = reading.ask(Question(f"{meaning.split} inside {parent.split}", path))
        reading = replace(reading, split=meaning.split).means(name, meaning.split)
    if meaning.condition is not None:
        return _with_condition(reading, folder, meaning)
    if parent.condition == "anomaly":
        return _with_other(reading, name) if meaning.rest or meaning.is_unclear else reading
    is_named = _is_name(meaning) or (meaning.may_mean_fault and meaning.session is None)
    if is_named and parent.split == "test" and any(other.condition == "normal" for other in level.here.values()):
        return _with_other(replace(reading, condition="anomaly"), name).means(name, "anomaly")  # a kind of fault
    if meaning.may_mean_fault:
        question = Question("the name may mean a fault", path, is_open=True)
        reading = reading.ask(question)
    if is_named:
        return _with_name(reading, folder, level)
    if reading.condition is None and reading.split != "test":
        normal = [other for other, said in level.beside(name).items() if said.condition == "normal"]
        if normal and not _is_split(meaning):
            reading = reading.ask(Question(f"lies beside {normal[0]}, which means normal", path, is_open=True))
    if meaning.session is not None:
        return _check_sessions(reading, folder, meaning, level)
    return _with_unclear(reading, folder, meaning, level) if meaning.is_unclear else reading


def _with_condition(reading: FolderReading, folder: Parts, meaning: Meaning) -> FolderReading:
    name, before = folder[-1], reading.condition
    if before == "anomaly" and meaning.condition != "anomaly" and meaning.rest:
        return _with_other(reading, name)  # `bad/normal_speed`
    if before not in (None, "unknown", meaning.condition):
        reason = f"it means {meaning.condition}, inside a folder that means {before}"
        return reading.ask(Question(reason, "/".join(folder)))
    if reading.question is not None and reading.question.is_open:
        reading = replace(reading, question=None)
    reading = replace(reading, condition=meaning.condition).means(name, meaning.condition)
    if meaning.condition == "anomaly" and meaning.is_plain_condition:
        reading = replace(reading, fault_mark=name)
    return _with_other(reading, name) if meaning.rest else reading


def _with_other(reading: FolderReading, name: str) -> FolderReading:
    return replace(reading, others=(*reading.others, name))


def _with_name(reading: FolderReading, folder: Parts, level: _Level) -> FolderReading:
    """A name that is none of the known words: a machine, if nothing beside it says that it may be something else."""
    name, path = folder[-1], "/".join(folder)
    if reading.condition is not None:
        if reading.condition == "normal" and reading.machine is None:
            reading = reading.ask(Question("a machine, or an operating state of one?", path, about_machine=True))
        return _with_other(reading, name)
    beside = level.beside(name)
    for other, meaning in beside.items():
        if meaning.condition is not None:
            reading = reading.ask(Question(f"lies beside {other}, which means {meaning.condition}", path))
        elif _is_split(meaning) and reading.split is None:
            reading = reading.ask(Question(f"lies beside {other}, which means {meaning.split}", path))
    if {name, *beside} == {"0", "1"}:
        reading = reading.ask(Question("0 and 1 may mean normal and anomaly", path))
    if level.forced is not None:
        if level.forced.casefold() in {other.casefold() for other in beside}:
            reason = f"lies beside {level.forced}, and all would be taken for that machine; give that folder instead"
            reading = reading.ask(Question(reason, path))
        return _with_other(reading, name)
    if reading.machine is not None:
        return _with_other(reading, name)
    sessions = [other for other, meaning in beside.items() if meaning.session is not None]
    if sessions or level.has_loose:
        reason = f"lies beside {f'{sessions[0]}, which means a session' if sessions else 'recordings'}"
        reading = reading.ask(Question(f"{reason}: another machine?", path, about_machine=True))
    return replace(reading, machine=name)


def _check_sessions(reading: FolderReading, folder: Parts, meaning: Meaning, level: _Level) -> FolderReading:
    """`2026-11-01_fan` beside `2026-11-01_pump` are not two days of one machine."""
    name = folder[-1]
    others = {other.rest for other in level.beside(name).values() if other.session is not None and other.rest}
    if meaning.rest and reading.machine is None and reading.condition is None and others - {meaning.rest}:
        reason = f"the name says more than a date, and another beside it says something else: {name}"
        return reading.ask(Question(reason, "/".join(folder), about_machine=True))
    return reading


def _with_unclear(reading: FolderReading, folder: Parts, meaning: Meaning, level: _Level) -> FolderReading:
    name, path = folder[-1], "/".join(folder)
    if meaning.split is not None:
        return reading.ask(Question(f"a part of the {meaning.split} recordings, or a session?", path))
    if reading.machine is not None or reading.condition is not None:
        return _with_other(reading, name)
    if any(other.is_unclear for other in level.beside(name).values()):
        return reading.ask(Question("machines, or sessions of one machine?", path, about_machine=True))
    return reading


def _loose(reading: FolderReading, folder: Parts, inside: dict[str, Meaning]) -> FolderReading:
    """Recordings beside folders: those beside `normal` or `train` are neither; those beside `anomaly` are normal."""
    if reading.condition is not None or reading.split is not None:
        return reading
    for name, meaning in inside.items():
        said = "normal" if meaning.condition == "normal" else meaning.split
        if said in ("normal", "train") and meaning.split != "test":
            reason = f"they lie beside the folder {name}, which means {said}"
            return reading.ask(Question(reason, "/".join(folder) or "."))
    return reading
