"""What a report shows about one machine."""

from collections import Counter

import numpy as np

from ..detection.probing.words import probe_basis, probe_rows, probe_sentences
from .clip_cards import ClipReader, decision_texts, make_cards
from .embedding_plots import MapClips, embedding_maps
from .machine_rows import MachineRows
from .score_plots import roc, score_strip
from .sound_plots import sound
from .timeline import make_timeline
from .verdict_rows import verdict_content


MAXIMUM_LISTED = 300  # decisions listed per machine
MAXIMUM_CLUSTER_SOUNDS = 16  # clusters per machine with the sound of their middle clip
COUNTS = ("test", "alarms", "unusual", "undecided", "faults", "faults_found", "healthy", "false_alarms")


def machine_section(machine: MachineRows, reader: ClipReader, num_cards: int) -> dict:
    """
    Everything that the template shows about one machine.

    Args:
        machine ([`~hf_asd.reporting.machine_rows.MachineRows`]): the machine.
        reader ([`~hf_asd.reporting.clip_cards.ClipReader`]): reads its clips.
        num_cards (`int`): largest number of clips that are shown.
    """
    bank = machine.bank
    threshold = None if bank is None else bank.threshold
    num_normal = len(machine.train) or (0 if bank is None else len(bank.normal_scores))
    content = {"name": machine.name, "train": num_normal, "threshold": threshold, **_counts(machine.test)}
    content["strip"] = score_strip(machine)
    content["timeline"] = make_timeline(machine)
    content["verdicts"] = verdict_content(machine)
    content["clips"] = make_cards(machine, reader, num_cards)
    content["urgency"] = _urgency(machine.test)
    if machine.test:
        content["roc"] = _roc(machine.test)
        content["listed"] = [decision_texts(row) for row in machine.test[:MAXIMUM_LISTED]]
    elif threshold is not None:
        content["above"] = sum(score > threshold for score in machine.leave_one_out.values())
    content["maps"] = _maps(machine.train, machine.test)
    if machine.probe is not None:
        texts = {"sentences": probe_sentences(machine.probe), "basis": probe_basis(machine.probe)}
        content["probe"] = texts | {"rows": probe_rows(machine.probe)}
    content["clusters"] = _clusters(machine.clusters, machine.train, reader)
    return content


def _urgency(test: list[dict]) -> tuple[int, float]:
    """
    The larger, the sooner somebody should look at a machine: one with anomalies before one with unusual recordings,
    then one with recordings without a decision; within each the one whose score is the most standard deviations of its
    normal clips above their mean.
    """
    kinds = [(lambda row: row["is_anomaly"]), (lambda row: row["is_unusual"]), (lambda row: row["is_anomaly"] is None)]
    for rank, is_kind in enumerate(kinds):
        if own := [row for row in test if is_kind(row)]:
            return len(kinds) - rank, max(row["z_score"] for row in own)
    return 0, max((row["z_score"] for row in test), default=0.0)


def _counts(test: list[dict]) -> dict[str, int]:
    alarms = Counter(row["condition"] for row in test if row["is_anomaly"])
    all_clips = Counter(row["condition"] for row in test)
    return {
        "test": len(test),
        "alarms": alarms.total(),
        "unusual": sum(row["is_unusual"] is True for row in test),
        "undecided": sum(row["is_anomaly"] is None for row in test),
        "faults": all_clips["anomaly"],
        "faults_found": alarms["anomaly"],
        "healthy": all_clips["normal"],
        "false_alarms": alarms["normal"],
    }


def _roc(test: list[dict]) -> str | None:
    """The ROC of the scores, if there are normal and anomalous clips."""
    rows = [row for row in test if row["condition"] != "unknown"]
    condition, domain = (np.array([row[key] for row in rows]) for key in ("condition", "domain"))
    if len(set(condition)) < 2:
        return None
    scores = np.array([row["anomaly_score"] for row in rows])
    return roc(condition, domain, scores, np.array([row["is_anomaly"] is True for row in rows]))


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
