"""Folders of recordings as parquet shards of their paths, machine by machine."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from ..audio.reading import OnBadAudio
from ..data.folder import FolderContent, read_folder
from ..data.plant_folder import machine_folders
from ..data.schema import undecoded_audio, write_table
from .reading import PART_ROWS, Shard


LISTING = ".recordings"  # hidden from readers of the results beside it


def list_recordings(
    paths: Sequence[Path],
    output: Path,
    *,
    machines: bool,
    machine: str | None = None,
    splits: Sequence[str] = ("train", "test"),
    on_bad_audio: OnBadAudio = "error",
) -> tuple[list[Shard], list[str]]:
    """
    Writes what [`~hf_asd.data.folder.read_folder`] finds into parquet files below a folder of results.

    Args:
        paths (`Sequence[Path]`): folders of recordings, or recordings.
        output (`Path`): the folder of results.
        machines (`bool`): whether each subfolder is a machine; they are listed one after the other, so that no more
            than the list of one machine is in memory.
        machine (`str`, *optional*): the machine of all recordings.
        splits (`Sequence[str]`): which are wanted; with `"test"` alone the recordings are to be decided about, and
            their condition is not asked for.
        on_bad_audio (`"error"` or `"skip"`): as for [`~hf_asd.data.folder.read_folder`].

    Returns:
        `tuple[list[Shard], list[str]]`: a shard for each folder, and messages about what cannot be opened.
    """
    shards, problems = [], []
    to_score = tuple(splits) == ("test",)
    for number, content in enumerate(_contents(paths, machines, machine, on_bad_audio, to_score)):
        problems += content.summary.problems
        found = [content.dataset[split] for split in splits if split in content.dataset]
        if found:
            rows = concatenate_datasets(found)
            file = output / LISTING / f"{number:06d}.parquet"
            write_table(rows, file, row_group_size=PART_ROWS)
            shards.append(Shard(file, f"{LISTING}/{file.name}", _version(rows)))
    return shards, problems


def _contents(
    paths: Sequence[Path], machines: bool, machine: str | None, on_bad_audio: OnBadAudio, to_score: bool
) -> Iterator[FolderContent]:
    if not machines:
        yield read_folder(paths, machine, on_bad_audio=on_bad_audio, to_score=to_score)
        return
    for folder, name in machine_folders(paths):
        yield read_folder(folder, name, on_bad_audio=on_bad_audio, to_score=to_score)


def _version(rows: Dataset) -> str:
    """Of the names, sizes and times of recordings, and of what is known about them."""
    digest = hashlib.sha256()
    for audio in undecoded_audio(rows):
        stat = Path(audio["path"]).stat()
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    for name in ("machine", "clip_id", "domain", "condition", "split", "session", "attribute_label"):
        digest.update(repr(rows[name][:]).encode())
    return digest.hexdigest()
