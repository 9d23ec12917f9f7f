"""Which recordings lie in a folder and its subfolders, and what a look at them costs."""

import os
import stat
from dataclasses import dataclass, field

from ...audio.formats import READABLE_SUFFIXES
from ...data.system_files import is_system_name


@dataclass(frozen=True)
class Stamp:
    """
    What one look says about a file. Times are compared with each other only, never with the clock of this computer.

    Args:
        size (`int`, in bytes), modified (`int`), changed (`int`): of the file system; -1 where there is nothing.
        place (`tuple[int, int]`): device and number of the file, which stay when it is renamed.
        problem (`str`, *optional*): why it cannot be read.
    """

    size: int = -1
    modified: int = -1
    changed: int = -1
    place: tuple[int, int] = field(default=(-1, -1), compare=False)
    problem: str | None = None


GONE = Stamp(problem="is gone before it was decided: it was removed, or is a link to nothing.")


@dataclass
class Listing:
    """
    One look at a folder.

    Args:
        files (`dict[str, Stamp]`): recordings by path, in the order of their names.
        faults (`dict[str, str]`): subfolders that cannot be read, and why.
        num_folders (`int`): subfolders.
        others (`list[str]`): files that are not recordings by their names, without hidden and temporary ones.
    """

    files: dict[str, Stamp] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    num_folders: int = 0
    others: list[str] = field(default_factory=list)


def list_recordings(folder: str, subfolders: bool) -> Listing:
    """
    Looks at the recordings of a folder.

    Args:
        folder (`str`): its path.
        subfolders (`bool`): look into subfolders as well; links to folders are followed once.

    Raises:
        OSError: the folder itself cannot be read.
    """
    listing, seen = Listing(), {_number(folder)}
    entries = _entries(folder)
    while entries:
        entry = entries.pop()
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself
            is_folder = False
        if not is_folder:
            _add_file(listing, entry)
            continue
        listing.num_folders += 1
        if not subfolders:
            continue
        try:
            number = _number(entry.path)
            if number not in seen:
                seen.add(number)
                entries += _entries(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # removed since its parent was read
            listing.num_folders -= 1
        except OSError as error:
            listing.faults[entry.path] = f"this subfolder cannot be read: {error.strerror}; the others are watched."
    listing.files = dict(sorted(listing.files.items()))
    return listing


def _entries(folder: str) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_system_name(entry.name)]


def _number(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _add_file(listing: Listing, entry: os.DirEntry) -> None:
    if os.path.splitext(entry.name)[1].lower() in READABLE_SUFFIXES:
        listing.files[entry.path] = take_stamp(entry.path)
    else:
        listing.others.append(entry.name)


def take_stamp(path: str) -> Stamp:
    """A look at one file; it may be gone, or not be a file at all."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return GONE
    except OSError as error:
        return Stamp(problem=f"cannot be read: {error.strerror}.")
    problem = (
        None if stat.S_ISREG(status.st_mode) else "is not a file but a device, a pipe or a socket; it is not read."
    )
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, (status.st_dev, status.st_ino), problem)
