"""Which files below a folder are recordings, and what else is there."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..audio.formats import ACCEPTED_FORMATS, READABLE_SUFFIXES
from .system_files import is_system_name


NOTE_SUFFIXES = {
    *".txt .md .rtf .doc .docx .odt .pdf .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .log .htm".split(),
    *".html .xls .xlsx .ods .parquet .db .sqlite .npy .npz .h5 .mat .png .jpg .jpeg .gif .bmp .tif .tiff".split(),
    *".svg .heic .webp .py .ipynb .m .cue .m3u .pk .pkf .sfk .sfl .reapeaks .asd .lab .textgrid .srt .md5".split(),
    *".sha256 .url .lnk".split(),
}
METADATA_NAMES = {"metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet"}
DETECTOR_FILE = "detector.json"
# How files with sound start, whatever their names are.
SOUND_STARTS = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", b"#!AMR", b"wvpk")

HIDDEN = "hidden or system files"
NOTES = "notes, tables and pictures"
DETECTORS = "detectors of hf-asd"
OTHERS = "files of unknown kind"
UNNAMED = "sound in files without its suffix (rename them, for instance to .wav)"
SPECIAL = "pipes, devices or sockets"
LINKS = "links that lead nowhere or in a circle"
MAX_VISITS = 3  # of one folder through links: links to each other would make the tree endless


@dataclass
class Listing:
    """
    What is in a folder.

    Args:
        root (`Path`): the folder, or the one that a single recording is in.
        files (`list[Path]`): recordings, sorted.
        tables (`list[Path]`): metadata files.
        ignored (`dict[str, list[str]]`): kind -> names of what is not a recording.
        problems (`list[str]`): a message for everything that may be a recording and cannot be used.
        is_whole (`bool`): whether the whole folder was listed, not a single recording.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_whole: bool = True


def printable(name: str | Path) -> str:
    """A name that can be printed and stored: bytes that are not UTF-8 and control characters are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def list_recordings(paths: Sequence[Path]) -> list[Listing]:
    """
    Lists what is in folders and below, and single recordings; none is opened.

    Links to folders are followed. Hidden and system files, detectors and everything that has no suffix of a recording
    are counted and left out.

    Args:
        paths (`Sequence[Path]`): folders and recordings.

    Returns:
        `list[Listing]`: one for each folder, and one for all single recordings of a folder.

    Raises:
        FileNotFoundError: there is no such folder or file, or it holds no recording.
    """
    listings: dict[tuple[Path, bool], Listing] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{printable(path)}: there is no such file or folder of recordings.")
        if path.is_dir():
            listings[path, True] = _list_folder(path)
        else:
            if (path.parent, False) not in listings:
                listings[path.parent, False] = Listing(path.parent, tables=_tables(path.parent), is_whole=False)
            _add_single(listings[path.parent, False], path)
    for listing in listings.values():
        listing.files.sort()
    return list(listings.values())


def _list_folder(path: Path) -> Listing:
    listing = Listing(path)
    for folder, entries in _walk(listing):
        _sort_out(listing, folder, entries)
    if not listing.files and not listing.problems:
        found = "; ".join(describe_ignored(listing.ignored)) or "it is empty"
        raise FileNotFoundError(f"{printable(path)}: holds no recordings ({found}). Accepted are {ACCEPTED_FORMATS}.")
    return listing


def _add_single(listing: Listing, path: Path) -> None:
    """A recording that was named itself; a hidden one is taken as well."""
    if path.suffix.lower() not in READABLE_SUFFIXES:
        raise FileNotFoundError(f"{printable(path)}: is not a recording. Accepted are {ACCEPTED_FORMATS}.")
    if not path.is_file():
        raise FileNotFoundError(f"{printable(path)}: is a pipe, a device or a socket, not a recording.")
    _add_recording(listing, path)


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.casefold() in METADATA_NAMES)


def describe_ignored(ignored: dict[str, list[str]], examples: int = 3) -> list[str]:
    """What was ignored, in words: `"hidden or system files: 2 (.DS_Store, Thumbs.db)"`."""
    texts = []
    for kind, names in ignored.items():
        some = ", ".join(printable(name) for name in names[:examples])
        texts.append(f"{kind}: {len(names)} ({some}{', ...' if len(names) > examples else ''})")
    return texts


def _walk(listing: Listing) -> Iterator[tuple[Path, list[os.DirEntry]]]:
    """Every folder with its files; folders that cannot be opened become problems."""
    visits: dict[str, int] = {}
    waiting: list[tuple[Path, tuple[str, ...]]] = [(listing.root, (os.path.realpath(listing.root),))]
    while waiting:
        folder, chain = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            listing.problems.append(
                f"{printable(folder)}: cannot be opened, {error.strerror}. Allow reading it, or move it elsewhere."
            )
            continue
        if folder != listing.root and any(entry.name == DETECTOR_FILE for entry in entries):
            _ignore(listing, DETECTORS, folder)
            continue
        files = []
        for entry in entries:
            is_folder = _ask(entry.is_dir)
            if not is_folder or is_system_name(entry.name):
                files.append(entry)
                continue
            real = os.path.realpath(entry.path)
            visits[real] = visits.get(real, 0) + 1
            if real in chain or visits[real] > MAX_VISITS:
                _ignore(listing, LINKS, entry.path)
            else:
                waiting.append((Path(entry.path), (*chain, real)))
        yield folder, files


def _ask(question) -> bool:
    """A question about an entry; a link to itself is an error there."""
    try:
        return question()
    except OSError:
        return False


def _sort_out(listing: Listing, folder: Path, entries: Iterable[os.DirEntry]) -> None:
    """Recordings, metadata, and kinds of files that are ignored."""
    for entry in entries:
        path = folder / entry.name
        suffix = path.suffix.lower()
        if is_system_name(entry.name):
            _ignore(listing, HIDDEN, f"{path}/" if _ask(entry.is_dir) else path)
        elif not _ask(entry.is_file):
            _ignore(listing, LINKS if entry.is_symlink() else SPECIAL, path)
        elif suffix in READABLE_SUFFIXES:
            _add_recording(listing, path)
        elif entry.name.casefold() in METADATA_NAMES:
            listing.tables.append(path)
        elif suffix in NOTE_SUFFIXES:
            _ignore(listing, NOTES, path)
        else:
            _ignore(listing, UNNAMED if _starts_like_sound(path) else OTHERS, path)


def _add_recording(listing: Listing, path: Path) -> None:
    problem = None
    try:
        path.stat()
        str(path).encode()
    except OSError as error:
        problem = f"cannot be opened, {error.strerror}. Move it, or give it a shorter name."
    except UnicodeEncodeError:
        problem = "its name is not UTF-8. Rename it."
    if problem is None and not os.access(path, os.R_OK):
        problem = "cannot be opened, permission denied. Allow reading it."
    if problem is None:
        listing.files.append(path)
    else:
        listing.problems.append(f"{printable(path)}: {problem}")


def _ignore(listing: Listing, kind: str, path: str | Path) -> None:
    listing.ignored.setdefault(kind, []).append(os.path.relpath(path, listing.root) + "/" * str(path).endswith("/"))


def _starts_like_sound(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return stat.S_ISREG(mode) and (start.startswith(SOUND_STARTS) or start[4:8] == b"ftyp")
