"""What a detector was fitted on, as its card tells it."""

import io
from pathlib import Path

import numpy as np
import soundfile
from datasets import Dataset


def summarize_training(rows: Dataset) -> dict[str, dict]:
    """
    Facts about normal training clips.

    Args:
        rows (`datasets.Dataset`): rows of the schema; `attribute_label`, `pseudo_attribute` and `audio` are read where
            there are such columns. Of recordings that are still there the header is read.

    Returns:
        `dict[str, dict]`: by machine `clips`, `domains` (domain -> clips), `attributes` (how many different ones are
        known), `hidden` (clips whose attributes are hidden), `pseudo_attributes` (`clip_id` -> its pseudo-attribute),
        `seconds` (of sound), `sampling_rates` (in Hz) and `channels` of the recordings.
    """
    facts = {}
    columns = {
        name: rows[name][:] if name in rows.column_names else [None] * len(rows)
        for name in ("machine", "domain", "attribute_label", "pseudo_attribute", "clip_id")
    }
    audio = rows.with_format("arrow")["audio"].to_pylist() if "audio" in rows.column_names else [None] * len(rows)
    names = np.array(columns["machine"])
    for machine in sorted(set(columns["machine"])):
        own = np.flatnonzero(names == machine).tolist()
        domains = [columns["domain"][row] for row in own]
        labels = [columns["attribute_label"][row] for row in own]
        headers = [header for row in own if (header := _header(audio[row])) is not None]
        facts[machine] = {
            "clips": len(own),
            "domains": {domain: domains.count(domain) for domain in sorted(set(domains))},
            "attributes": len(set(labels) - {None}),
            "hidden": labels.count(None),
            "pseudo_attributes": {
                columns["clip_id"][row]: columns["pseudo_attribute"][row]
                for row in own
                if columns["pseudo_attribute"][row] is not None
            },
            "seconds": round(sum(header.frames / header.samplerate for header in headers), 3),
            "sampling_rates": sorted({header.samplerate for header in headers}),
            "channels": sorted({header.channels for header in headers}),
        }
    return facts


def _header(audio: dict | None):
    if audio is None:
        return None
    if audio["bytes"]:
        return soundfile.info(io.BytesIO(audio["bytes"]))
    return soundfile.info(audio["path"]) if Path(audio["path"]).is_file() else None
