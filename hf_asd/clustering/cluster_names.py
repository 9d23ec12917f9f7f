"""Names of clusters: written as a table, edited by a listener, and read back."""

import csv
import io
from pathlib import Path

from ..files import write_text


NAME = "cluster={}"
HEADER: list[str] = ["machine", "cluster", "name", "clips", "source", "target", "confidence", "listen_to"]


def write_names(clusters: list[dict], path: str | Path) -> Path:
    """
    Writes clusters as a CSV in which the column `name` can be edited, for `cluster.names_file`.

    Args:
        clusters (`list[dict]`): of [`describe_clusters`], without the names of a file.
        path (`str` or `Path`): the file.

    Returns:
        `Path`: the file.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADER)
    writer.writeheader()
    for row in clusters:
        cells = {name: row[name] for name in HEADER if name in row}
        writer.writerow(cells | {"confidence": f"{row['confidence']:.3f}", "listen_to": " | ".join(row["medoids"])})
    return write_text(path, text.getvalue())


def read_names(path: str | Path) -> dict[tuple[str, int], tuple[str, int]]:
    """
    Reads a table that [`write_names`] wrote and somebody edited.

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
    return {(machine, int(cluster)): name for (machine, cluster), name in names.items()}
