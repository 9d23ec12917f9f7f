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
        `dict[str, dict]`: by machine `clips`, `domains` (domain -> clips), `attributes` (number of different known
        ones), `hidden` (clips whose attributes are hidden), `pseudo_attributes` (`clip_id` -> its pseudo-attribute),
        `seconds` (of all recordings), `sampling_rates` (in Hz) and `channels` of the recordings.
    """
    columns: dict[str, list] = {
        name: rows[name][:] if name in rows.column_names else [None] * len(rows)
        for name in ("machine", "domain", "attribute_label", "pseudo_attribute", "clip_id")
    }
    names = np.array(columns["machine"])
    summary = {}
    for machine in sorted(set(columns["machine"])):
        own = np.flatnonzero(names == machine).tolist()
        domains = [columns["domain"][row] for row in own]
        labels = [columns["attribute_label"][row] for row in own]
        known = [facts[row] for row in own if row in facts]
        summary[machine] = {
            "clips": len(own),
            "domains": {domain: domains.count(domain) for domain in sorted(set(domains))},
            "attributes": len(set(labels) - {None}),
            "hidden": labels.count(None),
            "pseudo_attributes": {
                columns["clip_id"][row]: columns["pseudo_attribute"][row]
                for row in own
                if columns["pseudo_attribute"][row] is not None
            },
            "seconds": round(sum(fact.seconds for fact in known), 3),
            "sampling_rates": sorted({fact.sampling_rate for fact in known}),
            "channels": sorted({fact.channels for fact in known}),
        }
    return summary


def facts_from_headers(rows: Dataset) -> dict[int, RecordingFacts]:
    """By row number the facts of recordings that are still there, mostly from their headers."""
    if "audio" not in rows.column_names:
        return {}
    facts = {}
    for row, audio in enumerate(undecoded_audio(rows)):
        if audio["bytes"] or Path(audio["path"]).is_file():
            with open_recording(audio) as recording:
                facts[row] = RecordingFacts(recording.seconds, recording.sampling_rate, recording.channels)
    return facts
