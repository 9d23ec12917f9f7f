"""Rows that a user made, without some columns of the schema or with decoded audio: completed where that is clear."""

from typing import Any, cast

import numpy as np
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Value

from .schema import CONDITIONS, DOMAINS, side_by_side, undecoded_audio


WORDS = {"condition": CONDITIONS, "domain": DOMAINS}
# Columns that say in other datasets which recordings are faulty.
LABELS = ("label", "labels", "target", "is_anomaly", "anomaly", "is_normal", "status", "class")


def complete_rows(dataset: Any, *columns: str) -> Dataset:
    """
    Rows with `audio` (undecoded) or `embedding`, and with the given columns of the schema.

    Args:
        dataset (`datasets.Dataset`): rows that a user gave.
        columns (`str`): those that are read, of `machine`, `domain`, `condition` and `clip_id`. A missing one gets the
            schema's default: one machine called `machine`, `unknown`, or the recording's path.

    Returns:
        `datasets.Dataset`: the rows, further columns included.

    Raises:
        TypeError: something else than a dataset.
        ValueError: neither `audio` nor `embedding`, a column that cannot be understood, or one that may name faulty
            recordings where `condition` is missing; says which columns are needed.
    """
    if not isinstance(dataset, Dataset):
        splits = f" Choose one of its splits: {', '.join(map(str, dataset))}." * isinstance(dataset, DatasetDict)
        raise TypeError(
            f"recordings are given as {type(dataset).__name__}; accepted is a datasets.Dataset, such as a split of "
            f"what load_folder returns.{splits}"
        )
    if not {"audio", "embedding"} & set(dataset.column_names):
        raise ValueError(
            f"the dataset has the columns {', '.join(dataset.column_names)}; needed is audio (files or their content) "
            "or embedding."
        )
    if "condition" in columns and "condition" not in dataset.column_names:
        for name in set(LABELS) & set(dataset.column_names):
            raise ValueError(
                f"the dataset has no column condition but a column {name}, which may mark faulty recordings. Rename "
                f"it to condition, with the words {', '.join(CONDITIONS)}, or remove it if all recordings are normal."
            )
    rows = _with_checked_embedding(_with_plain_audio(dataset))
    for name in columns:
        rows = _with_column(rows, name)
    return rows


def _with_plain_audio(rows: Dataset) -> Dataset:
    """The recordings as files or content; `datasets` decodes them by default."""
    if "audio" not in rows.column_names or not len(rows):  # `datasets` cannot cast columns without rows
        return rows
    feature = rows.features["audio"]
    if isinstance(feature, Audio):
        return rows if not feature.decode else rows.cast_column("audio", Audio(decode=False))
    if feature == Value("string") or (isinstance(feature, dict) and {"path", "bytes"} & set(feature)):
        return rows.cast_column("audio", Audio(decode=False))
    raise ValueError(
        f"the column audio holds {feature}; accepted are names of files, or datasets.Audio (cast_column('audio', "
        "Audio(decode=False)))."
    )


def _with_checked_embedding(rows: Dataset) -> Dataset:
    if "embedding" not in rows.column_names:
        return rows
    try:
        values = np.asarray(rows.with_format("numpy")["embedding"][:], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError("the column embedding holds lists of different lengths, or no numbers.") from error
    if len(rows) and (values.ndim != 2 or not np.isfinite(values).all()):
        raise ValueError("the column embedding holds something else than one list of finite numbers a row.")
    return rows


def _with_column(rows: Dataset, name: str) -> Dataset:
    if name not in rows.column_names:
        return side_by_side(rows, Dataset.from_dict({name: _default(rows, name)}))
    feature, values = rows.features[name], rows[name][:]
    if isinstance(feature, ClassLabel):
        values = [None if value is None else feature.int2str(value) for value in values]
    if name in WORDS:
        values = ["unknown" if value is None else value for value in values]
        unknown = sorted({str(value) for value in values} - set(WORDS[name]))
        if unknown:
            raise ValueError(
                f"the column {name} holds {', '.join(unknown[:5])}; accepted are {', '.join(WORDS[name])}."
            )
    elif None in values:
        raise ValueError(f"the column {name} is empty in row {values.index(None)}; fill it in, or remove the column.")
    values = [str(value) for value in values]
    if feature == Value("string") and values == rows[name][:]:
        return rows
    order = rows.column_names
    added = Dataset.from_dict({name: values})
    return side_by_side(rows.remove_columns(name), added).select_columns(order)


def _default(rows: Dataset, name: str) -> list[str]:
    if name in WORDS:
        return ["unknown"] * len(rows)
    if name == "machine":
        return ["machine"] * len(rows)
    has_audio = len(rows) and "audio" in rows.column_names
    paths = [cast(dict, audio)["path"] for audio in undecoded_audio(rows)] if has_audio else [None]
    is_unique = None not in paths and len(set(paths)) == len(rows)
    return [str(path) for path in paths] if is_unique else [f"{row:06d}" for row in range(len(rows))]
