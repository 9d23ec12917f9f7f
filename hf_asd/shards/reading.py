"""Parquet shards of recordings or embeddings: which there are, which machines are in them, their rows in batches."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features

from ..audio.formats import READABLE_SUFFIXES
from ..data.listing import DETECTOR_FILE, METADATA_NAMES, printable
from ..data.system_files import is_system_name
from ..detection.decision_rows import FILE


logger = logging.getLogger(__name__)

BATCH_ROWS = 256  # rows that are held at a time, their recordings included
PART_ROWS = 1024  # rows of a unit of work, and of a file of results
MANY_TIMES = 3.0  # that a row is read because rows of other machines lie beside it
OWN_METADATA = b"hf_asd"
SPLIT_NAME = re.compile(r"(\w+)-\d{5}-of-\d{5}")  # as `datasets` names shards
DEFAULT_MACHINE = "machine"


@dataclass(frozen=True)
class Shard:
    """
    A parquet file.

    Args:
        path (`Path`): the file.
        name (`str`): below the folder that was given.
        version (`str`): another one when its content changes.
    """

    path: Path
    name: str
    version: str


@dataclass(frozen=True)
class Part:
    """
    A unit of work of one process: consecutive row groups of a shard, or what one machine has in them.

    Args:
        shard ([`Shard`]): the file.
        row_groups (`tuple[int, ...]`): their numbers.
        num_rows (`int`): how many rows are meant.
        num_read (`int`): how many rows have to be read for them.
        machine (`str`, *optional*): the one whose rows are meant; all rows by default.
    """

    shard: Shard
    row_groups: tuple[int, ...]
    num_rows: int
    num_read: int
    machine: str | None = None

    def batches(self, *, all_of: str | None = None, to_fit: bool = False) -> Iterator[Dataset]:
        """
        The rows, some hundred at a time.

        Args:
            all_of (`str`, *optional*): the machine that all rows are of, whatever they say.
            to_fit (`bool`, *optional*, defaults to `False`): without rows whose `split` is `test`.

        Yields:
            `datasets.Dataset`: with `machine`, `clip_id` (where there is none, the shard and the number of the row)
            and `file` beside the shard's own columns.
        """
        with pq.ParquetFile(self.shard.path, memory_map=True) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            firsts = np.cumsum([0, *sizes])
            numbers = np.concatenate([np.arange(firsts[group], firsts[group + 1]) for group in self.row_groups])
            done = 0
            for batch in file.iter_batches(BATCH_ROWS, row_groups=list(self.row_groups)):
                table = _plain(pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata))
                table = _completed(table, self.shard.name, numbers[done : done + len(table)], all_of)
                done += len(table)
                is_meant = np.ones(len(table), dtype=bool)
                if self.machine is not None:
                    is_meant &= np.array(table["machine"].to_pylist(), dtype=object) == self.machine
                if to_fit:
                    is_meant &= ~is_test(table)
                if is_meant.any():
                    yield Dataset(table if is_meant.all() else table.filter(pa.array(is_meant)))


def holds_shards(path: Path) -> bool:
    """Whether this is a parquet file of rows, or a folder that holds such files and no recordings."""
    if not path.is_dir():
        return path.suffix.lower() == ".parquet" and path.name.casefold() not in METADATA_NAMES
    found = False
    for folder, names, files in os.walk(path):
        names[:] = [name for name in names if not _is_hidden(name)]
        if DETECTOR_FILE in files:
            names.clear()
            continue
        for file in files:
            suffix = os.path.splitext(file)[1].lower()
            if suffix in READABLE_SUFFIXES and not is_system_name(file):
                return False
            found = found or (not _is_hidden(file) and holds_shards(Path(folder, file)))
    return found


def find_shards(paths: Sequence[Path], *, to_fit: bool = False) -> list[Shard]:
    """
    The parquet files in folders and below, by name; hidden ones and those that start with `_` are left out.

    Args:
        paths (`Sequence[Path]`): folders, or parquet files.
        to_fit (`bool`, *optional*, defaults to `False`): without those that `datasets` named as another split than
            `train`, such as `test-00000-of-00002.parquet`.

    Raises:
        ValueError: there are none.
    """
    shards = []
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        root = path.parent if path.is_file() else path
        for file in files:
            name = file.relative_to(root)
            split = SPLIT_NAME.match(file.name)
            is_other = to_fit and split is not None and split[1] != "train"
            if not is_other and holds_shards(file) and not any(map(_is_hidden, name.parts)):
                stat = file.stat()
                shards.append(Shard(file, name.as_posix(), f"{stat.st_size} {stat.st_mtime_ns}"))
    if not shards:
        kind = "of normal recordings to learn from (split train)" if to_fit else "of recordings or embeddings"
        raise ValueError(f"{', '.join(map(printable, paths))}: holds no parquet shards {kind}.")
    return shards


def find_parts(
    shards: Sequence[Shard], *, by_machine: bool, all_of: str | None = None, to_fit: bool = False
) -> list[Part]:
    """
    Units of work; recordings are not opened.

    Args:
        shards (`Sequence[Shard]`): parquet files with a column `audio` or `embedding`.
        by_machine (`bool`): whether each part is of one machine; parts of a machine follow one another.
        all_of, to_fit: as for [`~Part.batches`].

    Raises:
        ValueError: a shard is not parquet, or has neither of the columns.
    """
    parts: list[Part] = []
    for shard in shards:
        parts += _parts_of(shard, by_machine, all_of, to_fit)
    times = sum(part.num_read for part in parts) / max(sum(part.num_rows for part in parts), 1)
    if times > MANY_TIMES:
        logger.warning(
            "Rows of different machines are mixed, so that each is read %.0f times on average. Sort them by machine, "
            "for example with dataset.sort('machine'), or write embeddings first with hf-asd embed.",
            times,
        )
    return sorted(parts, key=lambda part: part.machine or "")


def column_names(part: Part) -> list[str]:
    """The columns of the shard of a part."""
    return pq.read_schema(part.shard.path).names


def own_metadata(path: Path) -> dict[bytes, bytes]:
    """What this package wrote beside the rows of a parquet file, by key."""
    metadata = pq.read_metadata(path).metadata or {}
    return {key: value for key, value in metadata.items() if key.startswith(OWN_METADATA)}


def _parts_of(shard: Shard, by_machine: bool, all_of: str | None, to_fit: bool) -> list[Part]:
    try:
        file = pq.ParquetFile(shard.path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{printable(shard.path)}: cannot be read as parquet ({error}).") from error
    with file:
        names = file.schema_arrow.names
        if not {"audio", "embedding"} & set(names):
            raise ValueError(
                f"{printable(shard.path)}: has the columns {', '.join(names)}; needed is audio (files or their "
                "content) or embedding."
            )
        finished: list[Part] = []
        open_parts: dict[str | None, Part] = {}
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if not rows:
                continue
            for machine, count in _count_machines(file, group, by_machine, all_of, to_fit).items():
                part = open_parts.setdefault(machine, Part(shard, (), 0, 0, machine))
                groups = (*part.row_groups, group)
                numbers = {"num_rows": part.num_rows + count, "num_read": part.num_read + rows}
                open_parts[machine] = part = replace(part, row_groups=groups, **numbers)
                if part.num_rows >= PART_ROWS:
                    finished.append(open_parts.pop(machine))
    return [*finished, *open_parts.values()]


def _count_machines(
    file: pq.ParquetFile, group: int, by_machine: bool, all_of: str | None, to_fit: bool
) -> Counter[str | None]:
    wanted = [name for name in ("machine", "split") if name in file.schema_arrow.names]
    if not by_machine or not wanted:
        machine = (all_of or DEFAULT_MACHINE) if by_machine else None
        return Counter({machine: file.metadata.row_group(group).num_rows})
    table = file.read_row_group(group, columns=wanted).replace_schema_metadata(file.schema_arrow.metadata)
    table = _plain(table)
    if to_fit:
        table = table.filter(pa.array(~is_test(table)))
    return Counter(_machines(table, all_of))


def _completed(table: pa.Table, name: str, numbers: np.ndarray, all_of: str | None) -> pa.Table:
    """With machine, clip_id and file; of strings."""
    columns: dict[str, list[str] | list[str | None]] = {"machine": _machines(table, all_of)}
    if "clip_id" not in table.column_names:
        columns["clip_id"] = [f"{name}:{number}" for number in numbers.tolist()]
    if FILE not in table.column_names and "audio" in table.column_names:
        columns[FILE] = _files(table)
    for column, values in columns.items():
        table = table.drop_columns(column) if column in table.column_names else table
        table = table.append_column(column, pa.array(values, type=pa.string()))
    return table


def _machines(table: pa.Table, all_of: str | None) -> list[str]:
    """The machine of each row."""
    if all_of is not None or "machine" not in table.column_names:
        return [all_of or DEFAULT_MACHINE] * len(table)
    feature, values = Features.from_arrow_schema(table.schema)["machine"], table["machine"].to_pylist()
    if isinstance(feature, ClassLabel):
        values = [None if value is None else feature.int2str(value) for value in values]
    if None in values:
        raise ValueError(
            "the column machine is empty in some rows; fill it in, or name one machine for all (machine)."
        )
    return list(map(str, values))


def _files(table: pa.Table) -> list[str | None]:
    audio = table["audio"].combine_chunks()
    return (audio.field("path") if pa.types.is_struct(audio.type) else audio).to_pylist()


def is_test(table: pa.Table) -> np.ndarray:
    """Of each row whether its `split` is `test`."""
    splits = table["split"].to_pylist() if "split" in table.column_names else [None] * len(table)
    return np.array([split == "test" for split in splits], dtype=bool)


def _plain(table: pa.Table) -> pa.Table:
    """Texts, contents and lists of the usual types: other programs write large and dictionary-encoded ones."""
    fields = [field.with_type(_plain_type(field.type)) for field in table.schema]
    for place, field in enumerate(fields):
        if field.name == "embedding" and pa.types.is_list(field.type):
            fields[place] = field.with_type(pa.list_(pa.float32()))
    schema = pa.schema(fields, metadata=table.schema.metadata)
    return table if schema.equals(table.schema) else table.cast(schema)


def _plain_type(type: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type):
        return _plain_type(cast(pa.DictionaryType, type).value_type)
    if pa.types.is_large_string(type) or pa.types.is_string_view(type):
        return pa.string()
    if pa.types.is_large_binary(type) or pa.types.is_binary_view(type):
        return pa.binary()
    if pa.types.is_large_list(type) or pa.types.is_list(type):
        return pa.list_(_plain_type(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in type])
    return type


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))
