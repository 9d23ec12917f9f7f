"""Loads the folders of DCASE Task 2, of every year, as one dataset schema."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import datasets.config
import pyarrow as pa
from datasets import Dataset, DatasetDict, IterableDatasetDict
from datasets.table import MemoryMappedTable

from ...audio.errors import BadAudioError
from ...audio.recording import open_recording
from ...files import read_json, whole_file, write_json
from ..schema import arrow_table, dataset_from_rows
from ..system_files import is_system_name
from .attributes import read_attributes
from .names import make_clip_id, name_stem, parse_name, split_from_name
from .years import DEFAULT_YEAR, YEARS, year_rules, years_of_machine


# Increase it whenever the same files give other rows: it is part of the cache's fingerprint.
ROWS_VERSION = 3
FOLDERS = {
    "train": "train",
    **{folder: "test" for rules in YEARS.values() for folder in rules.test_folders},
    "supplemental": "supplemental",
}
SUBSETS = {"dev": "dev_data", "eval": "eval_data"}


@dataclass(frozen=True)
class MachineFolder:
    """
    What is in the folder of one machine.

    Args:
        path (`Path`): the folder.
        clips (`list[tuple[str, str, int, int]]`): (folder, file name, bytes, time of change) of every file in the
            folders of its splits.
        tables (`list[Path]`): its tables of attributes.
    """

    path: Path
    clips: list[tuple[str, str, int, int]]
    tables: list[Path]


@overload
def load_dcase(
    path: str | Path,
    year: int = DEFAULT_YEAR,
    *,
    subset: str | None = None,
    machines: str | Iterable[str] | None = None,
    streaming: Literal[False] = False,
    strict: bool = True,
    cache_dir: str | Path | None = None,
) -> DatasetDict: ...


@overload
def load_dcase(
    path: str | Path,
    year: int = DEFAULT_YEAR,
    *,
    subset: str | None = None,
    machines: str | Iterable[str] | None = None,
    streaming: bool,
    strict: bool = True,
    cache_dir: str | Path | None = None,
) -> DatasetDict | IterableDatasetDict: ...


def load_dcase(
    path: str | Path,
    year: int = DEFAULT_YEAR,
    *,
    subset: str | None = None,
    machines: str | Iterable[str] | None = None,
    streaming: bool = False,
    strict: bool = True,
    cache_dir: str | Path | None = None,
) -> DatasetDict | IterableDatasetDict:
    """
    Loads the DCASE Task 2 recordings of one year. No recording is decoded.

    Args:
        path (`str` or `Path`): the folder that holds the machines' folders, one of its parents (`dev_data`,
            `dev_data/raw`, or the folder of both `dev_data` and `eval_data`), or the folder of one machine.
        year (`int`, *optional*, defaults to 2025): challenge year, which defines folders and file names. A machine id
            of 2020 is a section.
        subset (`"dev"` or `"eval"`, *optional*): load only one of `dev_data` and `eval_data`; defaults to both.
        machines (`str` or `list[str]`, *optional*): load only these machines; defaults to all.
        streaming (`bool`, *optional*, defaults to `False`): return an `IterableDatasetDict` instead.
        strict (`bool`, *optional*, defaults to `True`): whether it is an error if files in `attributes_00.csv` are
            missing, files are empty, clip numbers are repeated or machines are of other years.
        cache_dir (`str` or `Path`, *optional*): where the rows are cached, memory-mapped; defaults to a folder in the
            cache of `datasets`. The fingerprint is made of names, sizes and times of the files.

    Returns:
        `datasets.DatasetDict`: `train`, `test` and `supplemental` where present. `attributes` are those published
        (`attributes_00.csv`, else the file name), empty where hidden; evaluation clips have an `unknown` condition
        and, since 2022, an `unknown` domain. `clip_id` is `"<machine>/<split>/<file stem>"`. Recordings of 2026 have
        two channels, near (0) and far (1). Supplemental clips with noise only (see
        [`~hf_asd.data.dcase.names.is_noise_only`]) have an `unknown` condition.

    Raises:
        FileNotFoundError: the folder does not exist, holds no machine, or is only partly unpacked.
        ValueError: the folder is of another year, a file name is unknown, a clip occurs twice.
    """
    year_rules(year)
    path = Path(path).absolute()
    folders = _list_machines(path, subset, machines)
    fingerprint = _fingerprint(folders, year, strict)
    cache = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_asd") / fingerprint
    if not (cache / "splits.json").is_file():
        splits = {"train": [], "test": [], "supplemental": []}
        for folder in folders:
            for row in _machine_rows(folder, year, strict):
                splits[row["split"]].append(row)
        _check_all_machines(path, year, splits, strict)
        _write_cache(cache, {split: dataset_from_rows(rows) for split, rows in splits.items() if rows})
    loaded = {
        split: Dataset(
            MemoryMappedTable.from_file(str(cache / f"{split}.arrow")), fingerprint=f"{fingerprint}-{split}"
        )
        for split in read_json(cache / "splits.json")
    }
    if streaming:
        return IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in loaded.items()})
    return DatasetDict(loaded)


def _list_machines(path: Path, subset: str | None, machines: str | Iterable[str] | None) -> list[MachineFolder]:
    """The wanted machines with their files."""
    if subset not in (None, *SUBSETS):
        raise ValueError(f"subset is {subset!r}; accepted are 'dev', 'eval' and None (both).")
    folders = _machine_folders(path, subset)
    if machines is not None:
        wanted = [machines] if isinstance(machines, str) else list(machines)
        unknown = sorted(set(wanted) - {folder.name for folder in folders})
        if unknown:
            known = ", ".join(sorted({folder.name for folder in folders}))
            raise ValueError(f"{path}: holds no machine {', '.join(unknown)}; it holds {known}.")
        folders = [folder for folder in folders if folder.name in wanted]
    return [MachineFolder(folder, _list_clips(folder), sorted(folder.glob("attributes_*.csv"))) for folder in folders]


def _machine_folders(path: Path, subset: str | None) -> list[Path]:
    """The machines' folders below `path`, in alphabetical order, development before evaluation."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder.")
    if _is_machine(path):
        return [path]
    names = [SUBSETS[subset]] if subset else list(SUBSETS.values())
    bases = [path / name for name in names if (path / name).is_dir()] or [path]
    if subset and bases == [path] and path.name != SUBSETS[subset] and path.parent.name != SUBSETS[subset]:
        raise FileNotFoundError(f"{path}: holds no {SUBSETS[subset]}, which subset={subset!r} asks for.")
    bases = [base / "raw" if (base / "raw").is_dir() else base for base in bases]
    found = [folder for base in bases for folder in sorted(base.iterdir()) if _is_machine(folder)]
    if not found:
        looked = ", ".join(map(str, bases))
        raise FileNotFoundError(
            f"{path}: holds no machine. Looked in {looked} for folders that hold train/ or test/; "
            "`hf-asd download` makes such folders."
        )
    return found


def _is_machine(folder: Path) -> bool:
    return not is_system_name(folder.name) and any((folder / name).is_dir() for name in FOLDERS)


def _list_clips(folder: Path) -> list[tuple[str, str, int, int]]:
    clips = []
    for name in FOLDERS:
        if (folder / name).is_dir():
            for entry in os.scandir(folder / name):
                if not is_system_name(entry.name):
                    stat = entry.stat()
                    clips.append((name, entry.name, stat.st_size, stat.st_mtime_ns))
    return sorted(clips)


def _fingerprint(folders: list[MachineFolder], year: int, strict: bool) -> str:
    signature = hashlib.sha256(json.dumps([ROWS_VERSION, year, strict]).encode())
    for folder in folders:
        signature.update(json.dumps([str(folder.path), folder.clips]).encode())
        for table in folder.tables:
            signature.update(table.read_bytes())
    return signature.hexdigest()[:32]


def _machine_rows(folder: MachineFolder, year: int, strict: bool) -> list[dict]:
    """Plain rows of one machine, checked."""
    path, rules = folder.path, year_rules(year)
    years = years_of_machine(path.name)
    if strict and years and year not in years:
        raise ValueError(
            f"{path}: {path.name} is a machine of {' and '.join(map(str, years))}, not of {year}. Give the right "
            "year, or pass strict=False for a machine of your own."
        )
    listed = {name: attributes for table in folder.tables for name, attributes in read_attributes(table).items()}
    rows = []
    for where, name, size, _ in folder.clips:
        file, split = path / where / name, FOLDERS[where]
        if not name.lower().endswith(".wav"):
            raise ValueError(f"{file}: unknown file; the folder of a split holds WAV files only. Move it elsewhere.")
        if strict and size == 0:
            raise FileNotFoundError(f"{file}: has 0 bytes; it seems to be partly unpacked. Unpack the archive again.")
        row = parse_name(file, split, year)
        if not rules.has_hidden_attributes and rules.has_domains and "noAttribute" in name:
            raise ValueError(f"{file}: in {year} no attributes are hidden, so this is not a folder of {year}.")
        if rules.has_one_section and row["section"] != "00":
            raise ValueError(f"{file}: in {year} each machine has one section, 00, so this is not a folder of {year}.")
        row["attributes"] = listed.get(name_stem(name)) or row["attributes"]
        row |= {"path": file, "machine": path.name, "split": split}
        rows.append(row | {"clip_id": make_clip_id(path.name, split, name)})
    _check_complete(folder, rows, listed if strict else {})
    _check_channels(rows[0]["path"], year)
    return rows


def _check_complete(folder: MachineFolder, rows: list[dict], listed: dict) -> None:
    """Whether there are training clips, and all files that the tables of attributes list."""
    path = folder.path
    if not any(row["split"] == "train" for row in rows):
        raise FileNotFoundError(
            f"{path}: holds no training clip in train/; it seems to be partly unpacked. Unpack the archive of the "
            f"{'additional training' if rows else 'development'} data of {path.name} into {path.parent}."
        )
    present, splits = {name_stem(name) for _, name, _, _ in folder.clips}, {row["split"] for row in rows}
    lost = sorted(name for name in listed if name not in present and split_from_name(name) in splits)
    if lost:
        raise FileNotFoundError(
            f"{path}: {len(lost)} of the {len(listed)} files in its table of attributes are missing, the first is "
            f"{lost[0]}. It seems to be partly unpacked: unpack the archive again, or pass strict=False."
        )


def _check_channels(file: Path, year: int) -> None:
    try:
        with open_recording(file) as recording:
            channels = recording.channels
    except BadAudioError as error:
        raise FileNotFoundError(f"{file}: is not a readable recording ({error}). Unpack the archive again.") from error
    expected = year_rules(year).channels
    if (channels == 2) != (expected == 2):
        raise ValueError(
            f"{file}: has {channels} channel(s), but recordings of {year} have {expected}, so this is not a folder of "
            f"{year}."
        )


def _check_all_machines(path: Path, year: int, splits: dict[str, list[dict]], strict: bool) -> None:
    """Whether a clip occurs twice, and whether some machines lack their test clips."""
    clips = [row for rows in splits.values() for row in rows]
    first = {}
    for row in clips:
        if first.setdefault(row["clip_id"], row) is not row:
            raise ValueError(
                f"{row['path']}: occurs twice, also as {first[row['clip_id']]['path']}. Keep one of the two."
            )
    if strict and year_rules(year).has_domains:
        _check_numbers(clips)
    tested = {row["path"].parent.parent for row in splits["test"]}
    untested = {row["path"].parent.parent for row in splits["train"]} - tested
    siblings = {folder.parent for folder in tested}
    incomplete = sorted(folder for folder in untested if folder.parent in siblings)
    if incomplete:
        raise FileNotFoundError(
            f"{path}: seems to be partly unpacked, {', '.join(folder.name for folder in incomplete)} hold(s) no test "
            "clip while other machines do. Unpack the missing archives or name the wanted machines (machines=[...])."
        )


def _check_numbers(clips: list[dict]) -> None:
    """Whether two labeled clips have the same number."""
    first = {}
    for row in clips:
        if row["condition"] == "unknown":
            continue
        found = re.match(r"(section_.*?_\d{4})(_|$)", row["path"].stem)
        assert found is not None  # the name was parsed before
        key = (row["machine"], row["split"], row["domain"], found[1])
        if first.setdefault(key, row) is not row:
            raise ValueError(
                f"{row['path']}: is a duplicate, {first[key]['path'].name} has the same number. Were two versions of "
                "an archive unpacked into one folder? Remove one, or pass strict=False."
            )


def _write_cache(cache: Path, splits: dict[str, Dataset]) -> None:
    """Writes the rows as Arrow files to be memory-mapped; `splits.json` is last and shows that all are complete."""
    for split, rows in splits.items():
        schema = rows.features.arrow_schema
        with whole_file(cache / f"{split}.arrow") as partial:
            with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
                writer.write_table(arrow_table(rows).cast(schema))
    write_json(cache / "splits.json", list(splits))
