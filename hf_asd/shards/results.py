"""Results of parts: a file for each, whole or not at all, that a later run finds again; and who works on which."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset
from tqdm.auto import tqdm

from ..audio.reading import OnBadAudio
from ..data.checking import all_bad_audio
from ..data.schema import arrow_table
from ..distributed import alone, gather_lists, partial_state
from ..files import remove_leftovers, whole_file
from .reading import OWN_METADATA, Part, own_metadata


RESULT = re.compile(r"part-\d{6}-([0-9a-f]{16})\.parquet")
SHOWN = 3


@dataclass
class PartRecord:
    """
    What is known about a finished part without reading its rows.

    Args:
        counts (`dict[str, dict[str, int]]`): by machine, numbers of rows by kind.
        skipped (`list[str]`): messages about recordings that were left out.
        facts (`dict[str, str]`): how it was made.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def count(self, machine: str, kind: str, number: int = 1) -> None:
        """Counts rows of a machine."""
        own = self.counts.setdefault(machine, {})
        own[kind] = own.get(kind, 0) + number


def identity(task: dict, parts: Sequence[Part]) -> str:
    """Equal for equal work: the same rows of the same files, and the same task."""
    rows = [(part.shard.name, part.shard.version, part.row_groups, part.machine) for part in parts]
    return hashlib.sha256(json.dumps([task, rows], sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """
    Parts with the files of their results.

    Args:
        parts (`list[Part]`), files (`list[Path]`): all of them, in the same order.
        unfinished (`list[int]`): numbers of those that have no result yet.
    """

    parts: list[Part]
    files: list[Path]
    unfinished: list[int]


def make_plan(output: Path, parts: list[Part], tasks: Sequence[dict]) -> Plan:
    """
    Which parts are finished. For one process: what others killed left behind is removed.

    Args:
        output (`Path`): folder of the results.
        parts (`list[Part]`): units of work.
        tasks (`Sequence[dict]`): for each, everything that its result follows from beside its rows.

    Raises:
        ValueError: the folder holds results of other recordings or options.
    """
    names = [identity(task, [part]) for task, part in zip(tasks, parts, strict=True)]
    remove_leftovers(output)
    found = {match[1]: file for file in output.glob("*.parquet") if (match := RESULT.fullmatch(file.name))}
    if strangers := sorted(file.name for name, file in found.items() if name not in set(names)):
        more = f" and {len(strangers) - SHOWN} more" if len(strangers) > SHOWN else ""
        raise ValueError(
            f"{output}: holds results of other recordings, of recordings that have changed, or of other options: "
            f"{', '.join(strangers[:SHOWN])}{more}. Give another folder, or remove these files."
        )
    files = [found.get(name, output / f"part-{number:06d}-{name}.parquet") for number, name in enumerate(names)]
    return Plan(parts, files, [number for number, name in enumerate(names) if name not in found])


def own_share(sizes: Sequence[int]) -> range:
    """
    Which of the units of work this process does: neighbors, about as many rows as every other process.

    Args:
        sizes (`Sequence[int]`): rows of each unit.
    """
    state, ends = partial_state(), np.cumsum(sizes)
    if not len(ends):
        return range(0)
    middles = (ends - np.asarray(sizes) / 2) / max(int(ends[-1]), 1)
    first, last = np.searchsorted(
        middles, [state.process_index / state.num_processes, (state.process_index + 1) / state.num_processes]
    ).tolist()
    return range(first, last)


class ResultWriter:
    """Writes rows of a result as they come; of [`written`]."""

    def __init__(self, partial: Path):
        self.record = PartRecord()
        self._partial, self._writer = partial, None

    def add(self, rows: Dataset) -> None:
        """Writes rows, which are a row group."""
        table = arrow_table(rows)
        schema = rows.features.arrow_schema
        table = table.cast(schema) if table.schema != schema else table
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, schema)
        if len(rows):
            self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))

    def close(self) -> None:
        """Writes the record and ends the file."""
        if self._writer is not None:
            facts = self.record.facts | {"counts": json.dumps(self.record.counts)}
            facts["skipped"] = json.dumps(self.record.skipped)
            self._writer.add_key_value_metadata({f"{OWN_METADATA.decode()}.{key}": facts[key] for key in facts})
            self._writer.close()


@contextmanager
def written(file: Path) -> Iterator[ResultWriter]:
    """
    Writes the result of a part; it gets its name when the block ends without error.

    Yields:
        [`ResultWriter`].
    """
    with whole_file(file) as partial:
        writer = ResultWriter(partial)
        try:
            yield writer
        finally:
            writer.close()


class _Refused(Exception):
    """A part has recordings that cannot be used, and they are an error: its result is not kept."""


def finish_parts(
    plan: Plan, work: Callable[[Part, ResultWriter], None], on_bad_audio: OnBadAudio, description: str
) -> None:
    """
    Does the parts that are not finished; each process those of [`own_share`], alone. Returns when all are done.

    Args:
        plan ([`Plan`]): the same in all processes.
        work (`Callable`): does a part: adds its rows and what was skipped.
        on_bad_audio (`"error"` or `"skip"`): whether skipped recordings are an error.
        description (`str`): for the progress.

    Raises:
        BadAudioError: recordings cannot be used; names all of them. Results of parts without such stay.
    """
    todo = [(plan.parts[number], plan.files[number]) for number in plan.unfinished]
    own, refused = own_share([part.num_rows for part, _ in todo]), []
    total, is_hidden = sum(todo[number][0].num_rows for number in own), not partial_state().is_local_main_process
    with alone(), tqdm(total=total, desc=description, unit="clip", disable=is_hidden) as progress:
        for number in own:
            part, file = todo[number]
            try:
                with written(file) as writer:
                    work(part, writer)
                    if writer.record.skipped and on_bad_audio == "error":
                        raise _Refused
            except _Refused:
                refused += writer.record.skipped
            progress.update(part.num_rows)
    refused = gather_lists(refused)
    if refused:
        raise all_bad_audio(refused, sum(part.num_rows for part, _ in todo))


def read_record(file: Path) -> PartRecord:
    """What [`written`] wrote beside the rows."""
    prefix = len(OWN_METADATA) + 1
    facts = {key.decode()[prefix:]: value.decode() for key, value in own_metadata(file).items()}
    return PartRecord(json.loads(facts.pop("counts", "{}")), json.loads(facts.pop("skipped", "[]")), facts)
