"""A user's own machine: a folder of recordings."""

import csv
from pathlib import Path

from datasets import DatasetDict

from ..audio.formats import ACCEPTED_FORMATS, READABLE_SUFFIXES
from .schema import CONDITIONS, DOMAINS, dataset_from_rows


CONDITION_FOLDERS = {"normal": "normal", "anomaly": "anomaly", "abnormal": "anomaly", "anomalous": "anomaly"}
ACCEPTED = {"domain": DOMAINS, "condition": CONDITIONS, "split": ("train", "test")}


def load_folder(path: str | Path, machine: str | None = None) -> DatasetDict:
    """
    Lists recordings of own machines as a dataset of the one schema; none is opened.

    A bare folder of WAV or FLAC files is one machine, named after the folder, running normally. Subfolders are
    optional:
    `train` and `test` name the split, `normal` and `anomaly` (or `abnormal`, `anomalous`) the condition, any other
    first name the machine, and deeper ones an attribute called `folder`. A `metadata.csv` in the folder (columns
    `file_name` and any of `machine`, `section`, `domain`, `condition`, `split`; further columns are attributes)
    overrules what the folders say.

    Args:
        path (`str` or `Path`): the folder, or one recording.
        machine (`str`, *optional*): name of the machine where neither a subfolder nor metadata names it; defaults to
            the folder's.

    Returns:
        `datasets.DatasetDict`: `train` (normal recordings) and, where the folder has them, `test` (a `test` subfolder,
        and every anomaly: nothing is ever trained on one). In `test` a condition that nothing names is `unknown`.

    Raises:
        FileNotFoundError: there is no such folder or it holds no recording.
        ValueError: `metadata.csv` lacks `file_name`, names a file that is not there or a value that is not accepted.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder of recordings.")
    root = path if path.is_dir() else path.parent
    found = root.rglob("*") if path.is_dir() else [path]
    files = sorted(file for file in found if file.suffix.lower() in READABLE_SUFFIXES and file.is_file())
    if not files:
        raise FileNotFoundError(f"{path}: holds no recordings. Accepted are {ACCEPTED_FORMATS}.")
    table = root / "metadata.csv"
    metadata = _read_metadata(table, {file.relative_to(root).as_posix() for file in files}) if table.is_file() else {}

    splits = {"train": [], "test": []}
    for file in files:
        name = file.relative_to(root).as_posix()
        row = _row_from_folders(file.relative_to(root).parts[:-1], machine or _name_of(root))
        listed = metadata.get(name, {})
        row["attributes"] |= listed.pop("attributes", {})
        row |= listed
        if row["condition"] == "anomaly":
            row["split"] = "test"
        if row["condition"] is None:
            row["condition"] = "normal" if row["split"] == "train" else "unknown"
        splits[row["split"]].append({**row, "path": file, "clip_id": f"{row['machine']}/{name}"})
    return DatasetDict({split: dataset_from_rows(rows) for split, rows in splits.items() if rows})


def _name_of(folder: Path) -> str:
    """The machine that a folder's name stands for: `pump/train/normal` holds recordings of the pump."""
    folder = folder.resolve()
    while folder.name.lower() in (*ACCEPTED["split"], *CONDITION_FOLDERS):
        folder = folder.parent
    return folder.name


def _row_from_folders(folders: tuple[str, ...], machine: str) -> dict:
    """What the names of the subfolders say about a recording."""
    row = {"machine": None, "split": "train", "condition": None, "attributes": {}}
    for folder in folders:
        if folder.lower() in ACCEPTED["split"]:
            row["split"] = folder.lower()
        elif folder.lower() in CONDITION_FOLDERS:
            row["condition"] = CONDITION_FOLDERS[folder.lower()]
        elif row["machine"] is None:
            row["machine"] = folder
        else:
            row["attributes"] = {"folder": "/".join([*row["attributes"].values(), folder])}
    row["machine"] = row["machine"] or machine
    return row


def _read_metadata(table: Path, files: set[str]) -> dict[str, dict]:
    """The rows of a `metadata.csv` by file name; empty cells say nothing."""
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "file_name" not in (reader.fieldnames or []):
            raise ValueError(f"{table}: lacks the column file_name; found {reader.fieldnames}.")
        lines = list(reader)
    listed = {}
    for number, line in enumerate(lines, start=2):
        name = line.pop("file_name")
        if name not in files:
            raise ValueError(f"{table}, line {number}: there is no recording {name!r} below {table.parent}.")
        cells = {key: value for key, value in line.items() if value}
        for key, accepted in ACCEPTED.items():
            if cells.get(key, accepted[0]) not in accepted:
                raise ValueError(
                    f"{table}, line {number}: {key} is {cells[key]!r}; accepted are {', '.join(accepted)}."
                )
        known = {key: cells.pop(key) for key in ("machine", "section", "domain", "condition", "split") if key in cells}
        listed[name] = {**known, "attributes": cells}
    return listed
