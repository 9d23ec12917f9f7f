"""The one schema of every dataset in the package: a row is one recording."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, Dataset, Features, List, Value, concatenate_datasets
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars


DOMAINS = ("source", "target", "unknown")
CONDITIONS = ("normal", "anomaly", "unknown")

# `attributes` is a list of pairs: machines have different keys, and a struct column would give every row all of them.
FEATURES = Features(
    {
        "audio": Audio(decode=False),
        "machine": Value("string"),
        "section": Value("string"),
        "domain": Value("string"),
        "condition": Value("string"),
        "attributes": List({"key": Value("string"), "value": Value("string")}),
        "attribute_label": Value("string"),
        "clip_id": Value("string"),
        "split": Value("string"),
    }
)


def attribute_label(attributes: dict[str, str]) -> str | None:
    """
    The canonical text of a clip's attributes, for example `"load=2,speed=28V"`.

    Args:
        attributes (`dict[str, str]`): the published attributes; empty where they are hidden.

    Returns:
        `str` or `None`: keys in alphabetical order, so that equal attributes give equal text; `None` where hidden.
    """
    return ",".join(f"{key}={attributes[key]}" for key in sorted(attributes)) or None


def dataset_from_rows(rows: list[dict]) -> Dataset:
    """
    A dataset of the schema from plain rows.

    Args:
        rows (`list[dict]`): one dictionary a recording with `path`, `machine`, `clip_id`, `split`, and optionally
            `section` (defaults to `"00"`), `domain` and `condition` (default to `"unknown"`) and `attributes` (a
            `dict`, defaults to empty).

    Returns:
        `datasets.Dataset` with `FEATURES`; `audio` holds the path, undecoded.
    """
    columns = {
        # A plain struct, cast afterwards: encoding through `Audio` would import a decoder that nobody needs here.
        "audio": [{"bytes": None, "path": str(row["path"])} for row in rows],
        "machine": [row["machine"] for row in rows],
        "section": [row.get("section", "00") for row in rows],
        "domain": [row.get("domain", "unknown") for row in rows],
        "condition": [row.get("condition", "unknown") for row in rows],
        "attributes": [[{"key": k, "value": v} for k, v in sorted(row.get("attributes", {}).items())] for row in rows],
        "attribute_label": [attribute_label(row.get("attributes", {})) for row in rows],
        "clip_id": [row["clip_id"] for row in rows],
        "split": [row["split"] for row in rows],
    }
    plain = Features({**FEATURES, "audio": {"bytes": Value("binary"), "path": Value("string")}})
    return Dataset.from_dict(columns, features=plain).cast_column("audio", Audio(decode=False))


def reveal_attributes(dataset: Dataset, truth: dict[str, dict[str, str]]) -> Dataset:
    """
    Gives rows their true attributes where they are hidden.

    Args:
        dataset (`datasets.Dataset`): rows of the schema.
        truth (`dict[str, dict[str, str]]`): `clip_id` -> attributes (see [`~hf_asd.data.dcase.loading.load_attribute_truth`]).

    Returns:
        `datasets.Dataset`: the same rows; those whose `clip_id` is in `truth` have its `attributes` and
        `attribute_label`.

    Raises:
        ValueError: the truth is of no clip whose attributes are hidden.
    """
    hidden = [label is None for label in dataset["attribute_label"][:]]
    found = [clip_id if none else None for clip_id, none in zip(dataset["clip_id"], hidden, strict=True)]
    if not any(clip_id in truth for clip_id in found):
        raise ValueError(
            f"the true attributes are of {len(truth)} clips such as {next(iter(truth))}, and of none of the "
            f"{sum(hidden)} clips whose attributes are hidden."
        )

    columns = {"attributes": dataset["attributes"][:], "attribute_label": dataset["attribute_label"][:]}
    for place, clip_id in enumerate(found):
        if clip_id in truth:
            pairs = sorted(truth[clip_id].items())
            columns["attributes"][place] = [{"key": key, "value": value} for key, value in pairs]
            columns["attribute_label"][place] = attribute_label(truth[clip_id])
    features = Features({column: dataset.features[column] for column in columns})
    revealed = Dataset.from_dict(columns, features=features)
    order = dataset.column_names
    return side_by_side(dataset.remove_columns(list(columns)), revealed).select_columns(order)


def side_by_side(rows: Dataset, columns: Dataset) -> Dataset:
    """
    Rows with further columns, a row of `columns` each. `datasets` copies selected rows for that and shows a progress
    bar, which takes longer than the copy.
    """
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    joined = concatenate_datasets([rows, columns], axis=1)
    if shown:
        enable_progress_bars()
    return joined


def write_table(dataset: Dataset, path: str | Path) -> Path:
    """
    Writes a dataset's rows as parquet, whole or not at all; recordings stay where they are, only their paths are
    written.

    Args:
        dataset (`datasets.Dataset`): any rows of the schema, with the columns that stages added.
        path (`str` or `Path`): the parquet file.

    Returns:
        `Path`: the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # Not `Dataset.to_parquet`: it looks up every recording on disk.
    table = dataset.with_format("arrow")[:]
    pq.write_table(table.replace_schema_metadata(dataset.features.arrow_schema.metadata), partial)
    os.replace(partial, path)
    return path


def read_table(*paths: str | Path) -> Dataset:
    """
    Reads rows that [`write_table`] wrote.

    Args:
        paths (`str` or `Path`): parquet files of the same columns; their rows follow each other.

    Returns:
        `datasets.Dataset`, in memory.
    """
    return Dataset(pa.concat_tables([pq.read_table(path) for path in paths]))
