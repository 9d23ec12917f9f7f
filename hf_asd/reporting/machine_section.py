"""What a report shows about one machine."""

from collections import Counter

import numpy as np

from ..detection.probing.words import probe_basis, probe_rows, probe_sentences
from .clip_cards import ClipReader, decision_texts, make_cards
from .embedding_plots import MapClips, embedding_maps
from .machine_rows import MachineRows
from .score_plots import histogram, roc
from .sound_plots import sound


MAXIMUM_CARDS = 18  # of all machines together: spectrograms and sounds make most of the file
MAXIMUM_LISTED = 300  # decisions listed per machine
MAXIMUM_CLUSTER_SOUNDS = 16  # clusters per machine with the sound of their middle clip
COUNTS = ("test", "alarms", "undecided", "faults", "faults_found", "healthy", "false_alarms")


def machine_section(machine: MachineRows, reader: ClipReader, num_machines: int) -> dict:
    """
    Everything that the template shows about one machine.

    Args:
        machine ([`MachineRows`]): the machine.
        reader ([`~hf_asd.reporting.clip_cards.ClipReader`]): reads its clips.
        num_machines (`int`): number of machines in the report, which share the number of clips that are shown.
    """
    content = {"name": machine.name, "train": len(machine.train), "threshold": machine.threshold}
    content |= _counts(machine.test)
    if machine.test:
        content |= _score_figures(machine.test, machine.threshold)
        content["listed"] = [decision_texts(row) for row in machine.test[:MAXIMUM_LISTED]]
    elif machine.leave_one_out:
        scores = np.array([machine.leave_one_out[row["clip_id"]] for row in machine.train])
        content["histogram"] = histogram({"unknown": {"normal": scores}}, machine.threshold)
        content["above"] = None if machine.threshold is None else int(np.sum(scores > machine.threshold))
    content["maps"] = _maps(machine.train, machine.test)
    content["clips"] = make_cards(machine, reader, num_cards=min(max(MAXIMUM_CARDS // num_machines, 2), 8))
    if machine.probe is not None:
        texts = {"sentences": probe_sentences(machine.probe), "basis": probe_basis(machine.probe)}
        content["probe"] = texts | {"rows": probe_rows(machine.probe)}
    content["clusters"] = _clusters(machine.clusters, machine.train, reader)
    return content


def _counts(test: list[dict]) -> dict[str, int]:
    alarms = Counter(row["condition"] for row in test if row["is_anomaly"])
    all_clips = Counter(row["condition"] for row in test)
    return {
        "test": len(test),
        "alarms": alarms.total(),
        "undecided": sum(row["is_anomaly"] is None for row in test),
        "faults": all_clips["anomaly"],
        "faults_found": alarms["anomaly"],
        "healthy": all_clips["normal"],
        "false_alarms": alarms["normal"],
    }


def _score_figures(test: list[dict], threshold: float | None) -> dict[str, str]:
    """Histogram and, if there are normal and anomalous clips, ROC of the scores."""
    scores = np.array([row["anomaly_score"] for row in test])
    condition, domain = (np.array([row[key] for row in test]) for key in ("condition", "domain"))
    by_domain = {}
    for name in ("source", "target", "unknown"):
        own = {c: scores[(domain == name) & (condition == c)] for c in ("unknown", "normal", "anomaly")}
        by_domain[name] = {c: values for c, values in own.items() if len(values)}
    figures = {"histogram": histogram({name: own for name, own in by_domain.items() if own}, threshold)}
    labeled = condition != "unknown"
    if len(set(condition[labeled])) == 2:
        alarms = np.array([row["is_anomaly"] is True for row in test])
        figures["roc"] = roc(condition[labeled], domain[labeled], scores[labeled], alarms[labeled])
    return figures


def _maps(train: list[dict], test: list[dict]) -> list[dict]:
    """Maps of the embeddings with their captions."""
    if len(train) < 3 or train[0]["embedding"] is None:
        return []
    labels = [row["attribute_label"] or row.get("pseudo_attribute") for row in train]
    new = _map_clips(test, [row["condition"] for row in test]) if test and test[0]["embedding"] is not None else None
    images = embedding_maps(_map_clips(train, labels), new)
    has_attributes = any(row["attribute_label"] is not None for row in train)
    meaning = "attribute" if has_attributes else "pseudo-attribute" if any(labels) else "domain"
    captions = [f"Normal training clips by {meaning}", "New clips among the training clips"]
    return [{"image": image, "caption": caption} for image, caption in zip(images, captions, strict=False)]


def _map_clips(rows: list[dict], labels: list[str | None]) -> MapClips:
    return MapClips(np.stack([row["embedding"] for row in rows]), labels, [row["domain"] for row in rows])


def _clusters(found: dict | None, train: list[dict], reader: ClipReader) -> dict | None:
    """A machine's clusters with the sound of their middle clips, so that users can compare and name them."""
    if found is None:
        return None
    by_id = {row["clip_id"]: row for row in train}
    rows = []
    for number, cluster in enumerate(found["clusters"]):
        shown = None
        if number < MAXIMUM_CLUSTER_SOUNDS:
            clip = reader(by_id[cluster["medoids"][0]])
            shown = sound(clip.beginning, 0.5 / clip.peak)
        rows.append(cluster | {"sound": shown})
    return found | {"clusters": rows}
