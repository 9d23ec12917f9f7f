"""
Replacing what a folder holds as a whole: readers, interruptions and a full disk find the old content or the new one.

The new content is written to a temporary folder. Where the old folder holds nothing else, the two folders exchange
their names, which Linux does at one instant. Otherwise (other files of the user, a mounted folder, another system) the
new content is moved into the folder as `.complete`; from then on it counts, until its files have taken their places.
"""

import ctypes
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from .files import disk_full_named, let_others_read, mode_of, partial_name


logger = logging.getLogger(__name__)

COMPLETE = ".complete"
Content = TypeVar("Content")
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2 in Linux


@dataclass(frozen=True)
class FolderKind:
    """
    What a folder holds that is replaced as a whole.

    Args:
        name (`str`): in words, such as `"detector"`.
        marker (`str`): the file that is written last: with it the content is whole. It differs between two contents.
        owns (`Callable[[str], bool]`): whether a file belongs to it, by its path below the folder; others are kept.
    """

    name: str
    marker: str
    owns: Callable[[str], bool]


@contextmanager
def replaced_folder(path: str | Path, kind: FolderKind) -> Iterator[Path]:
    """
    Gives an empty folder; what was written there takes the place of the old content when the block ends. It does so
    after an error as well if the marker was written: then the content is whole, and only something beside it failed.

    Args:
        path (`str` or `Path`): the folder; made where it does not exist. A link stays.
        kind ([`FolderKind`]): what the folder holds. Its other files are kept.

    Yields:
        `Path`: where to write.

    Raises:
        ValueError: the folder holds something else under a name that would be replaced.
        OSError: the disk is full, or the place cannot be written to; the old content is unchanged.
    """
    path = Path(os.path.realpath(path))
    check_replaceable(path, kind)
    remove_leftovers_of(path)
    with disk_full_named(path), _locked_partial(path, kind) as partial:
        failed = True
        try:
            yield partial
            failed = False
        finally:
            if (partial / kind.marker).is_file():
                if failed:
                    logger.warning("%s: the %s is saved; what follows it failed.", path, kind.name)
                let_others_read(partial)
                _write_through(partial)
                _put(partial, path, kind)


def check_replaceable(path: str | Path, kind: FolderKind) -> None:
    """
    Checks that nothing but older content of the same kind would be replaced.

    Raises:
        ValueError: the path is a file, or the folder holds something else under a name that would be replaced.
    """
    path = Path(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path}: is a file; give a folder for the {kind.name}.")
    if not is_filled(path, kind):
        taken = _owned(path, kind)
        if taken:
            raise ValueError(
                f"{path}: holds {', '.join(sorted(taken)[:3])}, but no {kind.marker}, so it is not a {kind.name}; "
                "these files would be replaced. Give another folder, or remove them."
            )


def current_folder(path: str | Path, kind: FolderKind) -> Path:
    """Where the content of a folder lies: in a subfolder while, or after it was interrupted when, it is replaced."""
    complete = Path(path) / COMPLETE
    return complete if (complete / kind.marker).is_file() else Path(path)


def is_filled(path: str | Path, kind: FolderKind) -> bool:
    """Whether a folder holds content of a kind, also while that is replaced."""
    path = Path(path)
    # While files take their places, the marker is missing in the one folder or in the other, at no moment in both.
    return any((folder / kind.marker).is_file() for folder in (path, path / COMPLETE, path))


def read_whole(path: str | Path, kind: FolderKind, read: Callable[[Path], Content]) -> Content:
    """
    Reads what a folder holds at one moment: once more, if another process replaced it meanwhile.

    Args:
        path (`str` or `Path`): the folder.
        kind ([`FolderKind`]): what the folder holds.
        read (`Callable[[Path], Content]`): reads the content; gets the folder that has it at this moment.

    Returns:
        `Content`: what `read` returns.

    Raises:
        ValueError, OSError: what `read` raises for a folder that nobody replaces.
    """
    while True:
        before = _moment(path, kind)
        try:
            content = read(before.folder)
        except (ValueError, OSError):
            if _moment(path, kind) == before:
                raise
        else:
            if _moment(path, kind).marker == before.marker:
                return content


class _Moment(NamedTuple):
    """Where the content lies, the time of its marker, and the marker, which another content does not share."""

    folder: Path
    time: int | None
    marker: bytes | None


def _moment(path: str | Path, kind: FolderKind) -> _Moment:
    folder = current_folder(path, kind)
    marker = folder / kind.marker
    try:
        return _Moment(folder, marker.stat().st_mtime_ns, marker.read_bytes())
    except OSError:  # none, or it was replaced just now
        return _Moment(folder, None, None)


def finish_replacement(path: str | Path, kind: FolderKind) -> None:
    """Puts the files of an interrupted replacement in their places."""
    path = Path(path)
    complete = path / COMPLETE
    if not (complete / kind.marker).is_file():
        return
    new = sorted(_owned(complete, kind), key=lambda name: name == kind.marker)
    (path / kind.marker).unlink(missing_ok=True)
    for name in _owned(path, kind):
        if name not in new:
            (path / name).unlink()
            if (path / name).parent != path:
                with suppress(OSError):  # holds other files
                    (path / name).parent.rmdir()
    for name in new:
        (path / name).parent.mkdir(exist_ok=True)
        copy = partial_name(complete / name)
        try:
            os.link(complete / name, copy)
        except OSError:  # a file system without hard links
            shutil.copy2(complete / name, copy)
        os.replace(copy, path / name)
    # Its name goes first, so that nobody finds half of it.
    hidden = partial_name(path / path.name)
    os.rename(complete, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def remove_leftovers_of(path: str | Path) -> None:
    """Removes the temporary folders that killed processes left of [`replaced_folder`]."""
    path = Path(path)
    pattern = re.compile(rf"\.{re.escape(path.name[:40])}\.[0-9a-f]{{8}}\.partial")
    for folder in (path.parent, path):
        for leftover in folder.iterdir() if folder.is_dir() else ():
            if pattern.fullmatch(leftover.name) and leftover.is_dir() and not _is_locked(leftover):
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _locked_partial(path: Path, kind: FolderKind) -> Iterator[Path]:
    """A temporary folder, locked as long as this process works on it."""
    partial = partial_name(path)
    if path.exists() and not _is_exchangeable(path, kind):
        partial = path / partial.name
    partial.mkdir(parents=True)
    if path.exists():  # whoever could read and write the old folder can do so with the new one
        with suppress(PermissionError, AttributeError):  # of another group; Windows has none
            os.chown(partial, -1, path.stat().st_gid)
        partial.chmod(mode_of(path))
    lock = _lock(partial)
    try:
        yield partial
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, path: Path, kind: FolderKind) -> None:
    if not path.exists():
        os.rename(partial, path)
        _write_names_through(path.parent)
    elif partial.parent == path.parent and not _others(path, kind) and _exchange(partial, path):
        _write_names_through(path.parent)
    else:
        finish_replacement(path, kind)  # of an interrupted process
        os.rename(partial, path / COMPLETE)
        _write_names_through(path)
        finish_replacement(path, kind)


def _exchange(new: Path, old: Path) -> bool:
    """Exchanges the names of two folders at one instant, where the system and the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) == 0


def _is_exchangeable(path: Path, kind: FolderKind) -> bool:
    return not os.path.ismount(path) and os.access(path.parent, os.W_OK) and not _others(path, kind)


def _owned(folder: Path, kind: FolderKind) -> list[str]:
    return [name for name in _names(folder) if kind.owns(name) and not (folder / name).is_dir()]


def _others(folder: Path, kind: FolderKind) -> list[str]:
    owned = _owned(folder, kind)
    return [name for name in _names(folder) if name not in owned]


def _names(folder: Path) -> list[str]:
    """What lies in a folder and in its subfolders, one level deep, without what replacements left."""
    entries = list(folder.iterdir())
    subfolders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    entries = [entry for entry in entries if entry not in subfolders]
    entries += [
        entry for subfolder in subfolders if not _is_temporary(subfolder.name) for entry in subfolder.iterdir()
    ]
    return [entry.relative_to(folder).as_posix() for entry in entries if not _is_temporary(entry.name)]


def _is_temporary(name: str) -> bool:
    return name == COMPLETE or (name.startswith(".") and name.endswith(".partial"))


def _write_through(folder: Path) -> None:
    """Writes the files of a folder to the disk, so that a power cut after the exchange loses none of them."""
    for file in folder.rglob("*"):
        if file.is_file():
            with open(file, "rb+") as content:
                os.fsync(content.fileno())
    _write_names_through(folder)


def _write_names_through(folder: Path) -> None:
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # not every file system can
            os.fsync(number)
        os.close(number)


def _lock(folder: Path) -> int | None:
    """An open lock on a folder, which ends with the process; `None` where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # of another process, or a file system without locks
        os.close(number)
        return None
    return number


def _is_locked(folder: Path) -> bool:
    lock = _lock(folder)
    if lock is None:
        return True
    os.close(lock)
    return False
