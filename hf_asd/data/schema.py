"""The schema of all datasets in the package: one row per recording."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, Dataset, Features, List, Value, concatenate_datasets
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from ..files import whole_file


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
        "session": Value("string"),
        "clip_id": Value("string"),
        "split": Value("string"),
    }
)


def attribute_label(attributes: dict[str, str]) -> str | None:
    """
    The attributes of a clip as one text, for example `"load=2,speed=28V"`.

    Args:
        attributes (`dict[str, str]`): the published attributes; empty where they are hidden.

    Returns:
        `str` or `None`: keys in alphabetical order, so that equal attributes give equal texts; `None` where hidden.
    """
    return ",".join(f"{key}={attributes[key]}" for key in sorted(attributes)) or None


def dataset_from_rows(rows: list[dict]) -> Dataset:
    """
    Makes a dataset of the schema from plain rows.

    Args:
        rows (`list[dict]`): one dictionary per recording with `path`, `machine`, `clip_id`, `split`, and optionally
            `section` (defaults to `"00"`), `domain` and `condition` (default to `"unknown"`), `attributes` (a
            `dict`, defaults to empty) and `session` (defaults to `None`).

    Returns:
        `datasets.Dataset` with `FEATURES`; `audio` holds the path, undecoded.
    """
    columns = {
        # A plain struct that is cast afterwards: encoding through `Audio` would import a decoder.
        "audio": [{"bytes": None, "path": str(row["path"])} for row in rows],
        "machine": [row["machine"] for row in rows],
        "section": [row.get("section", "00") for row in rows],
        "domain": [row.get("domain", "unknown") for row in rows],
        "condition": [row.get("condition", "unknown") for row in rows],
        "attributes": [[{"key": k, "value": v} for k, v in sorted(row.get("attributes", {}).items())] for row in rows],
        "attribute_label": [attribute_label(row.get("attributes", {})) for row in rows],
        "session": [row.get("session") for row in rows],
        "clip_id": [row["clip_id"] for row in rows],
        "split": [row["split"] for row in rows],
    }
    plain = Features({**FEATURES, "audio": {"bytes": Value("binary"), "path": Value("string")}})
    return Dataset.from_dict(columns, features=plain).cast_column("audio", Audio(decode=False))


def without_attributes(dataset: Dataset) -> np.ndarray:
    """The numbers of the rows whose attributes are hidden, int64: those that are clustered."""
    return np.flatnonzero([label is None for label in dataset["attribute_label"][:]])


def reveal_attributes(dataset: Dataset, truth: dict[str, dict[str, str]]) -> Dataset:
    """
    Fills in the true attributes where they are hidden.

    Args:
        dataset (`datasets.Dataset`): rows of the schema.
        truth (`dict[str, dict[str, str]]`): `clip_id` -> attributes (see
            [`~hf_asd.data.dcase.attributes.load_attribute_truth`]).

    Returns:
        `datasets.Dataset`: the same rows; those whose `clip_id` is in `truth` have its `attributes` and
        `attribute_label`.

    Raises:
        ValueError: none of the clips with hidden attributes is in `truth`.
    """
    hidden = [label is None for label in dataset["attribute_label"][:]]
    found = [clip_id if none else None for clip_id, none in zip(dataset["clip_id"], hidden, strict=True)]
    if not any(clip_id in truth for clip_id in found):
        raise ValueError(
            f"the true attributes are those of {len(truth)} clips such as {next(iter(truth))}, but of none of the "
            f"{sum(hidden)} clips with hidden attributes."
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
    Adds columns to rows. `datasets` copies selected rows for that and shows a progress bar, which takes longer than
    the copy and is switched off here.
    """
    if not len(rows):  # `datasets` ignores the columns of datasets without rows
        features = Features({**rows.features, **columns.features})
        return Dataset.from_dict({name: [] for name in features}, features=features)
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    joined = concatenate_datasets([rows, columns], axis=1)
    if shown:
        enable_progress_bars()
    return joined


def arrow_table(dataset: Dataset) -> pa.Table:
    """The rows of a dataset as an Arrow table; recordings are not opened."""
    table = dataset.with_format("arrow")[:]
    assert isinstance(table, pa.Table)
    return table


def write_table(dataset: Dataset, path: str | Path, row_group_size: int | None = None) -> Path:
    """
    Writes the rows of a dataset as a parquet file, completely or not at all; of recordings only the paths are written.

    Args:
        dataset (`datasets.Dataset`): any rows of the schema, with the columns that stages added.
        path (`str` or `Path`): the parquet file.
        row_group_size (`int`, *optional*): rows that a reader has to read together; about a million by default.

    Returns:
        `Path`: the file.
    """
    # Not `Dataset.to_parquet`: it opens every recording.
    table = arrow_table(dataset)
    with whole_file(path) as partial:
        table = table.replace_schema_metadata(dataset.features.arrow_schema.metadata)
        pq.write_table(table, partial, row_group_size=row_group_size)
    return Path(path)


def read_table(*paths: str | Path) -> Dataset:
    """
    Reads rows written by [`write_table`].

    Args:
        paths (`str` or `Path`): parquet files with the same columns; their rows are concatenated.

    Returns:
        `datasets.Dataset`, in memory.
    """
    return Dataset(pa.concat_tables([pq.read_table(path) for path in paths]))


def undecoded_audio(dataset: Dataset) -> list[dict]:
    """The `audio` of every row as `{"bytes": ..., "path": ...}`; no recording is opened."""
    table: pa.Table = dataset.select_columns("audio").with_format("arrow")[:]  # pyright: ignore[reportAssignmentType]
    return table["audio"].to_pylist()
