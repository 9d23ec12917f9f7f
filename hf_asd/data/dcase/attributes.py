"""The attributes of DCASE clips from the tables that are published with the recordings or later."""

import csv
import re
from pathlib import Path

from .names import NO_ATTRIBUTE, attributes_from_name, make_clip_id, name_stem, split_from_name
from .years import LABELED_NAME


def load_attribute_truth(path: str | Path) -> dict[str, dict[str, str]]:
    """
    Reads the true attributes of machines whose attributes are hidden: for evaluation, or for training if you have them
    ([`~hf_asd.data.schema.reveal_attributes`]).

    Args:
        path (`str` or `Path`): one such table, or a folder (or one of its parents) with tables
            `<machine>_attributes_00.csv` as the simulated factory writes them into `ground_truth/`, or with the
            tables `<machine>/attributes_00_<split>_correspondence.csv` that the organizers published later (columns
            `source_file_name`, the name with attributes, and `target_file_name`, the published name).

    Returns:
        `dict[str, dict[str, str]]`: `clip_id` -> attributes.

    Raises:
        FileNotFoundError: there is no such table.
    """
    path = Path(path)
    tables = [path] if path.is_file() else sorted(path.rglob("*attributes_*.csv"))
    truth = {}
    for table in tables:
        machine = re.fullmatch(r"(.+)_attributes_\d\d", table.stem)
        if machine:
            for name, attributes in read_attributes(table).items():
                truth[make_clip_id(machine[1], split_from_name(name), name)] = attributes
    for table in tables:
        if re.fullmatch(r"attributes_.*_correspondence", table.stem):
            truth |= _read_correspondence(table)
    if not truth:
        raise FileNotFoundError(
            f"{path}: holds no table of true attributes. Accepted are <machine>_attributes_00.csv and "
            "<machine>/attributes_00_<split>_correspondence.csv, there or in a subfolder."
        )
    return truth


def _read_correspondence(table: Path) -> dict[str, dict[str, str]]:
    truth = {}
    with open(table, newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            original = name_stem(row["source_file_name"])
            labels = re.fullmatch(LABELED_NAME, original)
            if labels is None:
                raise ValueError(f"{table}, line {line}: {original} is not a file name with attributes.")
            clip_id = make_clip_id(table.parent.name, split_from_name(original), row["target_file_name"])
            truth[clip_id] = attributes_from_name(labels["attributes"])
    return truth


def read_attributes(table: Path) -> dict[str, dict[str, str]]:
    """
    Reads a table `attributes_00.csv` with the columns `file_name, d1p, d1v, d2p, d2v, ...` (attribute and value).

    Returns:
        `dict[str, dict[str, str]]`: file name without ending -> attributes.

    Raises:
        ValueError: other columns.
    """
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        keys = [column for column in columns if re.fullmatch(r"d\d+p", column)]
        if "file_name" not in columns or any(f"{key[:-1]}v" not in columns for key in keys):
            raise ValueError(f"{table}: has the columns {columns}; accepted are file_name, d1p, d1v, d2p, d2v, ...")
        return {
            name_stem(row["file_name"]): {
                row[key]: row[f"{key[:-1]}v"]
                for key in keys
                if (row[key] or "") not in NO_ATTRIBUTE and (row[f"{key[:-1]}v"] or "") not in NO_ATTRIBUTE
            }
            for row in reader
        }
