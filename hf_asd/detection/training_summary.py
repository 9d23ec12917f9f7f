"""Facts about the clips that a detector was fitted on, for its card."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from ..audio.recording import open_recording
from ..data.schema import undecoded_audio


class RecordingFacts(NamedTuple):
    """Length in seconds, sampling rate in Hz and number of channels of a recording as it was stored."""

    seconds: float
    sampling_rate: int
    channels: int


def summarize_training(rows: Dataset, facts: Mapping[int, RecordingFacts]) -> dict[str, dict]:
    """
    Facts about normal training clips.

    Args:
        rows (`datasets.Dataset`): rows of the schema; `attribute_label` and `pseudo_attribute` are read where there
            are such columns.
        facts (`Mapping[int, RecordingFacts]`): by row number, where recordings are known.

    Returns:
        `dict[str, dict]`: by machine `clips`, `recordings` (fewer where these were cut into clips), `domains` (domain
        -> clips), `attributes` (number of different known ones), `hidden` (clips whose attributes are hidden),
        `pseudo_attributes` (`clip_id` -> its pseudo-attribute), `seconds` (of all recordings), `clip_seconds` (median
        length of a clip, `None` where it is not known), `sampling_rates` (in Hz) and `channels` of the recordings.
    """
    columns: dict[str, list] = {
        name: rows[name][:] if name in rows.column_names else [None] * len(rows)
        for name in ("machine", "domain", "attribute_label", "pseudo_attribute", "clip_id")
    }
    recordings = rows["recording_id"][:] if "recording_id" in rows.column_names else columns["clip_id"]
    names = np.array(columns["machine"])
    summary = {}
    for machine in sorted(set(columns["machine"])):
        own = np.flatnonzero(names == machine).tolist()
        domains = [columns["domain"][row] for row in own]
        labels = [columns["attribute_label"][row] for row in own]
        known = [facts[row] for row in own if row in facts]
        summary[machine] = {
            "clips": len(own),
            "recordings": len({recordings[row] for row in own}),
            "domains": {domain: domains.count(domain) for domain in sorted(set(domains))},
            "attributes": len(set(labels) - {None}),
            "hidden": labels.count(None),
            "pseudo_attributes": {
                columns["clip_id"][row]: columns["pseudo_attribute"][row]
                for row in own
                if columns["pseudo_attribute"][row] is not None
            },
            "seconds": round(sum(fact.seconds for fact in known), 3),
            "clip_seconds": round(float(np.median([fact.seconds for fact in known])), 3) if known else None,
            "sampling_rates": sorted({fact.sampling_rate for fact in known}),
            "channels": sorted({fact.channels for fact in known}),
        }
    return summary


def usual_seconds(summary: Mapping[str, dict], machine: str) -> float | None:
    """The median length of a machine's normal clips; `None` where a detector was fitted from embeddings alone."""
    return summary.get(machine, {}).get("clip_seconds")


def facts_from_headers(rows: Dataset) -> dict[int, RecordingFacts]:
    """By row number the facts about recordings that are still there, decoded only where their length is uncertain."""
    if "audio" not in rows.column_names:
        return {}
    facts, spans = {}, [(None, None)] * len(rows)
    if "start_s" in rows.column_names:
        spans = list(zip(rows["start_s"], rows["end_s"], strict=True))
    for row, audio in enumerate(undecoded_audio(rows)):
        if audio["bytes"] or Path(audio["path"]).is_file():
            with open_recording(audio) as recording:
                start, end = spans[row]
                seconds = recording.seconds if start is None else end - start
                facts[row] = RecordingFacts(seconds, recording.sampling_rate, recording.channels)
    return facts
