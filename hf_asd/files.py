"""Writing files and folders whole or not at all: an interruption never leaves half of one under its name."""

import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PROBE_BYTES = 2**16


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """
    Gives a temporary name beside a file; what was written there gets the file's name when the block ends without
    error. A link stays and the file that it points to is replaced; a device or a FIFO is written to. The file can be
    read by whom the umask says, an older one keeps its permissions.

    Args:
        path (`str` or `Path`): the file; its folder is made where it does not exist, an older file is replaced.

    Yields:
        `Path`: where to write.

    Raises:
        OSError: the disk is full, or the place cannot be written to; an older file is unchanged.

    Example:

    ```python
    with whole_file("scores.csv") as partial:
        partial.write_text("file,score")
    ```
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    with disk_full_named(path):
        try:
            partial.touch()
            mode = mode_of(path if path.exists() else partial)
            yield partial
            if mode_of(partial) != mode:  # safetensors makes files that nobody else can read
                partial.chmod(mode)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """A temporary name beside a file or folder; hidden, so that it is not taken for a recording."""
    # Each writer has a name of its own. A long name is cut: the limit is that of the file system.
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.partial")


def check_writable(option: str, path: str | Path, *, is_folder: bool) -> None:
    """
    Checks before the work that its result can be written.

    Args:
        option (`str`): which option names the place, for the error.
        path (`str` or `Path`): a file or folder; neither it nor its folder has to exist.
        is_folder (`bool`): which of the two.

    Raises:
        ValueError: the place cannot be written to, or the disk is full; names the option.
    """
    path = Path(path)
    if path.exists() and path.is_dir() != is_folder:
        found, wanted = ("a file", "a folder") if is_folder else ("a folder", "a file")
        raise ValueError(f"{option} is {path}, which is {found}; give {wanted}.")
    if path.exists() and not path.is_dir() and not path.is_file():
        if not os.access(path, os.W_OK):
            raise ValueError(f"{option} is {path}, a device that cannot be written to.")
        return
    target = Path(os.path.realpath(path))
    place = next(folder for folder in ((target, *target.parents) if is_folder else target.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        raise ValueError(
            f"{option} is {path}, but {place} cannot be written to ({error.strerror}). Give another place, or make "
            "this one writable."
        ) from error


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Names the file or folder where writing it fails because the disk is full."""
    try:
        yield
    except Exception as error:
        # Errors of safetensors and of Arrow have no number.
        if getattr(error, "errno", None) not in DISK_FULL and "No space left on device" not in str(error):
            raise
        raise OSError(
            f"{path}: cannot be written, the disk is full. What was there before is unchanged. Free some space, or "
            "give a place on another disk."
        ) from error


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
    with disk_full_named(path):
        partial.mkdir(parents=True)
        yield partial
        let_others_read(partial)
        os.replace(partial, path)


def let_others_read(folder: Path) -> None:
    """Gives the files of a folder the permissions that the umask says; safetensors gives them to their owner alone."""
    probe = partial_name(folder / "mode")
    probe.touch()
    mode = mode_of(probe)
    probe.unlink()
    for file in folder.rglob("*"):
        if file.is_file() and mode_of(file) != mode:
            file.chmod(mode)


def mode_of(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def write_text(path: str | Path, text: str) -> Path:
    """
    Writes a text file (UTF-8, line ends as they are) whole or not at all; returns its path.

    Characters of file names that are not UTF-8 are escaped (`\\udcff`), which JSON reads as the same name.
    """
    with whole_file(path) as partial:
        with open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
            file.flush()
            if partial != Path(path):  # not a device
                os.fsync(file.fileno())
    return Path(path)


def write_json(path: str | Path, content: object) -> Path:
    """Writes a JSON file whole or not at all; returns its path."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def read_json(path: str | Path):
    """
    The content of a JSON file.

    Raises:
        ValueError: it is not JSON; names the file.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not a JSON file, or is damaged ({error}).") from error
