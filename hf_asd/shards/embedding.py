"""Embeddings of very many recordings, as parquet shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pyarrow.compute as pc
from datasets import Dataset, Features, Value, concatenate_datasets

from ..audio.channels import Channel
from ..audio.reading import OnBadAudio
from ..data.own_rows import complete_rows
from ..data.schema import arrow_table, side_by_side
from ..detection.config import WindowSeconds
from ..detection.long_recordings import training_rule
from ..distributed import broadcast, partial_state
from ..embedding.embed import EmbeddedRows, Encoder, embed_recordings, with_embeddings
from .reading import PART_ROWS, Part, column_names
from .results import Plan, ResultWriter, finish_parts, make_plan


ENCODER = "encoder"  # the fact of a shard that says which encoder made its embeddings
WINDOW_COLUMNS = Features({"recording_id": Value("string"), "start_s": Value("float64"), "end_s": Value("float64")})


def embed_parts(
    parts: list[Part],
    encoder: Encoder,
    output: Path,
    *,
    channel: Channel = 0,
    on_bad_audio: OnBadAudio = "error",
    window_seconds: WindowSeconds = "auto",
    all_of: str | None = None,
) -> Plan:
    """
    Writes the rows of shards with `embedding`, without their recordings. Under `torchrun` or `accelerate launch` each
    process does its parts, and holds no more than one of them.

    Args:
        parts (`list[Part]`): of [`~hf_asd.shards.reading.find_parts`], of any machines; of the main process.
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`]): makes an embedding of a clip.
        output (`Path`): folder of `part-*.parquet`, one for each part, of which each row group is of one machine.
            Finished ones are kept.
        channel, on_bad_audio: as for [`~hf_asd.embedding.embed.embed_recordings`].
        window_seconds (`float`, `"auto"` or `None`): as for [`~hf_asd.AnomalyDetector.fit`].
        all_of (`str`, *optional*): the machine of all recordings.

    Returns:
        [`~hf_asd.shards.results.Plan`]: what was there before.

    Raises:
        BadAudioError: recordings cannot be used; names all of them. Other parts are finished.
        ValueError: a shard has no recordings, or the folder holds results of something else.
    """
    task = {"task": "embed", "encoder": encoder.fingerprint, "channel": channel, "windows": window_seconds}
    task |= {"machine": all_of, "skip": on_bad_audio == "skip"}
    made = None
    if partial_state().is_main_process:
        for part in {part.shard: part for part in parts}.values():
            if "audio" not in column_names(part):
                raise ValueError(f"{part.shard.path}: has no column audio, so that there is nothing to embed.")
        made = make_plan(output, parts, [task] * len(parts))
    plan = cast(Plan, broadcast(made))
    rule = training_rule(window_seconds)

    def work(part: Part, writer: ResultWriter) -> None:
        writer.record.facts[ENCODER] = encoder.fingerprint
        waiting: list[Dataset] = []
        for batch in part.batches(all_of=all_of):
            rows = complete_rows(batch, "domain", "condition")
            rows = rows.remove_columns("embedding") if "embedding" in rows.column_names else rows
            options = {"channel": channel, "on_bad_audio": "skip", "rules": [rule] * len(rows)}
            embedded = embed_recordings(rows, encoder, **options)
            writer.record.skipped += embedded.skipped
            waiting.append(_with_windows(rows, embedded))
            if sum(map(len, waiting)) >= PART_ROWS:
                _write_by_machine(waiting, writer)
                waiting = []
        if waiting:
            _write_by_machine(waiting, writer)

    finish_parts(plan, work, on_bad_audio, "embedding")
    return plan


def _with_windows(rows: Dataset, embedded: EmbeddedRows) -> Dataset:
    """The rows with embeddings, without recordings; with the columns of windows in any case."""
    has_windows = any(span is not None for span in embedded.spans)
    found = with_embeddings(rows, embedded).remove_columns("audio")
    if has_windows:
        return found
    added = {"recording_id": found["clip_id"][:], "start_s": [None] * len(found), "end_s": [None] * len(found)}
    added = {name: values for name, values in added.items() if name not in found.column_names}
    return side_by_side(
        found, Dataset.from_dict(added, features=Features({name: WINDOW_COLUMNS[name] for name in added}))
    )


def _write_by_machine(waiting: Sequence[Dataset], writer: ResultWriter) -> None:
    """Writes each machine's rows as a row group, so that a reader of one machine skips the others."""
    order = waiting[0].column_names
    rows = concatenate_datasets([one.select_columns(order) for one in waiting])
    table = arrow_table(rows)
    machines = sorted(set(table["machine"].to_pylist()))
    for machine in machines or [None]:
        own = table if machine is None else table.filter(pc.field("machine") == machine)
        writer.add(Dataset(own.replace_schema_metadata(rows.features.arrow_schema.metadata)))
        if machine is not None:
            writer.record.count(machine, "clips", len(own))
