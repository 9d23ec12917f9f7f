"""Names of clusters: written as a table, edited by somebody who has listened, and read back."""

import csv
import os
from pathlib import Path


NAME = "cluster={}"
HEADER = ("machine", "cluster", "name", "clips", "source", "target", "confidence", "listen_to")


def write_names(clusters: list[dict], path: str | Path) -> Path:
    """
    Writes clusters as a CSV in which the column `name` can be edited, for `cluster.names_file`.

    Args:
        clusters (`list[dict]`): of [`describe_clusters`], as they were found, without names of a file.
        path (`str` or `Path`): the file.

    Returns:
        `Path`: the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        for row in clusters:
            told = {name: row[name] for name in HEADER if name in row}
            writer.writerow(told | {"confidence": f"{row['confidence']:.3f}", "listen_to": " | ".join(row["medoids"])})
    os.replace(partial, path)
    return path


def read_names(path: str | Path) -> dict[tuple[str, int], tuple[str, int]]:
    """
    Reads what [`write_names`] wrote and somebody edited.

    Args:
        path (`str` or `Path`): the file; only `machine`, `cluster`, `name` and `clips` are read.

    Returns:
        `dict`: by machine and number of a cluster its name and its clips.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or a cluster has no name or is there twice; names the line.
    """
    names = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in HEADER[:4] if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: has no column {', '.join(missing)}. Write it again with hf-asd clusters.")
        for row in reader:
            key = (row["machine"], row["cluster"])
            if not row["name"].strip() or not row["cluster"].isdigit() or not row["clips"].isdigit() or key in names:
                raise ValueError(
                    f"{path}, line {reader.line_num}: accepted are a name, and each cluster once with its number and "
                    "its clips as hf-asd clusters wrote them."
                )
            names[key] = (row["name"].strip(), int(row["clips"]))
    return {(machine, int(cluster)): told for (machine, cluster), told in names.items()}
