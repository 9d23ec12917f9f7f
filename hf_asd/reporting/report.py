"""A scored dataset -> one HTML file that a maintenance engineer can read, print and mail; it loads nothing."""

import os
from collections import Counter
from pathlib import Path

import jinja2
import numpy as np
from datasets import Dataset

from ..audio.acoustic_features import extract_features
from ..audio.reading import SAMPLING_RATE, read_audio
from ..detection.explanation.normal_profile import NormalProfile
from ..detection.explanation.reasons import explain
from ..metrics.functional import term_names
from . import plots


CLIPS = 18  # clips shown with spectrogram and sound, shared among the machines: they make most of the file
HEARD = 16  # clusters a machine whose middle clip can be heard
LISTED = 300  # decisions listed a machine
TERMS = {
    "auc": "AUC",
    "auc_source": "AUC source",
    "auc_target": "AUC target",
    "pauc": "pAUC",
    "pauc_source": "pAUC source",
    "pauc_target": "pAUC target",
    "official_score": "Official score",
}
NORMAL_SAMPLE = 24  # normal clips of a machine whose levels make the normal range


def write_report(
    path: str | Path,
    *,
    title: str,
    train: Dataset | None = None,
    test: Dataset | None = None,
    evaluation: dict | None = None,
    skipped: tuple[str, ...] | list[str] = (),
    threshold_by_machine: dict[str, float] | None = None,
    leave_one_out: dict[str, dict[str, float]] | None = None,
    facts: dict[str, str] | None = None,
    baselines: dict[str, dict] | None = None,
    clusters: dict[str, dict] | None = None,
    profiles: dict[str, NormalProfile] | None = None,
    channel: int | str = 0,
) -> Path:
    """
    Writes the report of a detector: what it decided about new recordings or, without any, what it learned as normal.

    Every section depends on what is given and vanishes without it.

    Args:
        path (`str` or `Path`): the HTML file.
        title (`str`): its heading.
        train (`datasets.Dataset`, *optional*): normal training clips of the schema. `embedding` and
            `pseudo_attribute` are used where there are such columns; recordings are read again to draw them.
        test (`datasets.Dataset`, *optional*): scored clips of the schema with `anomaly_score`, `p_value`,
            `is_anomaly`, `nearest_clip_id` and, for the maps, `embedding`.
        evaluation (`dict`, *optional*): of [`~hf_asd.evaluation.scores.evaluate_scores`].
        skipped (`list[str]`, *optional*): one message for every recording that was dropped.
        threshold_by_machine (`dict[str, float]`, *optional*): drawn into the histograms.
        leave_one_out (`dict[str, dict[str, float]]`, *optional*): by machine and `clip_id` the score of each normal
            training clip against the others; used for machines without new recordings.
        facts (`dict[str, str]`, *optional*): how the detector was made, a line each.
        baselines (`dict[str, dict]`, *optional*): by name the evaluation of other systems on the same clips; their
            official scores stand beside.
        clusters (`dict[str, dict]`, *optional*): of [`~hf_asd.clustering.summary.cluster_report`].
        profiles (`dict[str, NormalProfile]`, *optional*): by machine what normal clips sound like; the clips shown get
            reasons in words.
        channel (`int` or `"mean"`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `Path`: the file.

    Raises:
        ValueError: neither `train` nor `test` is given.
        BadAudioError: a recording that is shown is gone or cannot be read.
    """
    if train is None and test is None:
        raise ValueError("a report needs train (normal clips), test (scored clips) or both.")
    train_rows, test_rows = _rows_by_machine(train), _rows_by_machine(test)
    names = sorted(set(train_rows) | set(test_rows))
    machines = [
        _machine(
            name,
            train_rows.get(name, []),
            test_rows.get(name, []),
            (threshold_by_machine or {}).get(name),
            (leave_one_out or {}).get(name, {}),
            num_clips=min(max(CLIPS // len(names), 2), 8),
            channel=channel,
            profile=(profiles or {}).get(name),
        )
        | {"anchor": f"machine-{number}"}
        | {"clusters": _clusters((clusters or {}).get(name), train_rows.get(name, []), channel)}
        for number, name in enumerate(names, start=1)
    ]
    total = {key: sum(machine[key] for machine in machines) for key in ("train", *COUNTS)}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("report_template.html").render(
        title=title,
        machines=machines,
        total=total,
        suspects=_suspects(machines),
        scores=None if evaluation is None else _scores(evaluation, baselines or {}),
        skipped=skipped,
        facts=facts or {},
        color_bar=plots.color_bar(),
        listen_seconds=plots.LISTEN_SECONDS,
        spectrogram_seconds=plots.SPECTROGRAM_SECONDS,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, path)
    return path


def _scores(evaluation: dict, baselines: dict[str, dict]) -> dict:
    """The table of official scores: a row a machine, the terms of its year, and the baselines' scores beside."""
    terms = [*term_names(evaluation["year"]), "official_score"]
    systems = [evaluation, *baselines.values()]
    return {
        "year": evaluation["year"],
        "interval": evaluation.get("confidence_interval"),
        "confidence": evaluation.get("confidence"),
        "columns": [TERMS[term] for term in terms] + [f"{TERMS['official_score']}: {name}" for name in baselines],
        "rows": [
            {
                "name": machine,
                "values": [means[term] for term in terms]
                + [system["machines"][machine]["official_score"] for system in systems[1:]],
            }
            for machine, means in evaluation["machines"].items()
        ],
        "total": [evaluation[term] for term in terms] + [system["official_score"] for system in systems[1:]],
    }


def _rows_by_machine(dataset: Dataset | None) -> dict[str, list[dict]]:
    """Plain rows by machine, with the embedding as an array."""
    if dataset is None:
        return {}
    embeddings = [None] * len(dataset)
    if "embedding" in dataset.column_names:
        embeddings = dataset.with_format("numpy")["embedding"][:]
        dataset = dataset.remove_columns("embedding")
    rows = {}
    for row, embedding in zip(dataset.to_list(), embeddings, strict=True):
        rows.setdefault(row["machine"], []).append(row | {"embedding": embedding})
    return rows


COUNTS = ("test", "alarms", "faults", "faults_found", "healthy", "false_alarms")


def _counts(test: list[dict]) -> dict[str, int]:
    alarms = Counter(row["condition"] for row in test if row["is_anomaly"])
    all_clips = Counter(row["condition"] for row in test)
    return {
        "test": len(test),
        "alarms": alarms.total(),
        "faults": all_clips["anomaly"],
        "faults_found": alarms["anomaly"],
        "healthy": all_clips["normal"],
        "false_alarms": alarms["normal"],
    }


def _machine(
    name: str,
    train: list[dict],
    test: list[dict],
    threshold: float | None,
    leave_one_out: dict[str, float],
    num_clips: int,
    channel: int | str,
    profile: NormalProfile | None,
) -> dict:
    """Everything the template shows about one machine."""
    ranked = sorted(test, key=lambda row: -row["anomaly_score"])
    content = {"name": name, "train": len(train), "threshold": threshold, **_counts(test)}
    if test:
        scores = np.array([row["anomaly_score"] for row in test])
        condition, domain = (np.array([row[key] for row in test]) for key in ("condition", "domain"))
        by_domain = {
            d: {c: scores[(domain == d) & (condition == c)] for c in ("unknown", "normal", "anomaly")}
            for d in ("source", "target", "unknown")
        }
        by_domain = {d: {c: v for c, v in own.items() if len(v)} for d, own in by_domain.items()}
        content["histogram"] = plots.histogram({d: own for d, own in by_domain.items() if own}, threshold)
        told = condition != "unknown"
        if len(set(condition[told])) == 2:
            alarms = np.array([row["is_anomaly"] for row in test])
            content["roc"] = plots.roc(condition[told], domain[told], scores[told], alarms[told])
        content["listed"] = [_told(row) for row in ranked[:LISTED]]
    elif leave_one_out:
        scores = np.array([leave_one_out[row["clip_id"]] for row in train])
        content["histogram"] = plots.histogram({"unknown": {"normal": scores}}, threshold)
        content["above"] = None if threshold is None else int(np.sum(scores > threshold))
    content["maps"] = _maps(train, test)
    content["clips"] = _clips(train, ranked, leave_one_out, num_clips, channel, profile)
    return content


def _told(row: dict) -> dict:
    """What is said about a scored clip in words and figures."""
    file = Path(row["audio"]["path"] or row["clip_id"]).name
    return {
        "file": file,
        "domain": row["domain"],
        "condition": row["condition"],
        "score": row.get("anomaly_score"),
        "p_value": row.get("p_value"),
        "alarm": row.get("is_anomaly"),
        "nearest": row.get("nearest_clip_id"),
    }


def _maps(train: list[dict], test: list[dict]) -> list[dict]:
    """Maps of the embeddings with what their colors mean."""
    if len(train) < 3 or train[0]["embedding"] is None:
        return []
    labels = [row["attribute_label"] or row.get("pseudo_attribute") for row in train]
    with_test = bool(test) and test[0]["embedding"] is not None
    images = plots.embedding_maps(
        np.stack([row["embedding"] for row in train]),
        labels,
        [row["domain"] for row in train],
        np.stack([row["embedding"] for row in test]) if with_test else None,
        [row["condition"] for row in test],
        [row["domain"] for row in test],
    )
    given = sum(row["attribute_label"] is not None for row in train)
    meaning = "attribute" if given else "pseudo-attribute" if any(labels) else "domain"
    captions = [f"Normal training clips by {meaning}", "New clips among the training clips"]
    return [{"image": image, "caption": caption} for image, caption in zip(images, captions, strict=False)]


def _clips(
    train: list[dict],
    ranked: list[dict],
    leave_one_out: dict[str, float],
    num_clips: int,
    channel: int | str,
    profile: NormalProfile | None,
) -> list[dict]:
    """The most anomalous clips, or without new ones the most unusual normal clips, each beside a normal one."""
    by_id = {row["clip_id"]: row for row in train}
    if ranked:
        pairs = [(row, by_id.get(row["nearest_clip_id"])) for row in ranked[:num_clips]]
    else:
        order = sorted(leave_one_out, key=lambda clip_id: -leave_one_out[clip_id])
        pairs = [
            (by_id[clip_id] | {"leave_one_out_scores": leave_one_out[clip_id]}, by_id[order[-1]]) for clip_id in order
        ]
        pairs = pairs[: min(num_clips, len(order) - 1)]
    if not pairs:
        return []

    chosen = np.unique(np.linspace(0, len(train) - 1, NORMAL_SAMPLE).astype(int)) if train else []
    sample = [read_audio(train[row]["audio"], channel=channel) for row in chosen]
    reference = sample or [read_audio(row["audio"], channel=channel) for row, _ in pairs]
    levels = [plots.log_mel(clip) for clip in reference]
    normal = np.stack([clip.mean(1) for clip in levels]) if sample else None
    limits = tuple(np.percentile(np.concatenate(levels, axis=1), [5, 99.8]))
    gain = 0.5 / np.median([np.abs(clip).max() for clip in reference])

    shown = {}  # several clips often have the same neighbor

    def show(row: dict) -> dict:
        if row["clip_id"] not in shown:
            samples = read_audio(row["audio"], channel=channel)
            spectrum = plots.log_mel(samples)
            seconds = min(len(samples) / SAMPLING_RATE, plots.SPECTROGRAM_SECONDS)
            shown[row["clip_id"]] = {
                "image": plots.spectrogram(spectrum, seconds, limits),
                "sound": plots.sound(samples, gain),
                "levels": spectrum.mean(1),
            }
        return shown[row["clip_id"]] | _told(row)

    cards = []
    for row, nearest in pairs:
        card = show(row) | {"leave_one_out_scores": row.get("leave_one_out_scores"), "limits": limits}
        if profile is not None and ranked:
            told = extract_features(read_audio(row["audio"], channel=channel))
            card["reasons"] = [reason["text"] for reason in explain(told, profile, row["is_anomaly"])]
        if nearest is not None:
            card["reference"] = show(nearest)
        if normal is not None:
            compared = card["reference"]["levels"] if nearest is not None else None
            card["profile"] = plots.level_profile(card["levels"], compared, normal)
        cards.append(card)
    return cards


def _clusters(found: dict | None, train: list[dict], channel: int | str) -> dict | None:
    """A machine's clusters with the sound of each one's middle clip, so that they can be told apart and named."""
    if found is None:
        return None
    by_id = {row["clip_id"]: row for row in train}
    rows = []
    for cluster in found["clusters"]:
        samples = read_audio(by_id[cluster["medoids"][0]]["audio"], channel=channel)
        rows.append(
            cluster | {"sound": plots.sound(samples, 0.5 / np.abs(samples).max()) if len(rows) < HEARD else None}
        )
    return found | {"clusters": rows}


def _suspects(machines: list[dict]) -> list[dict]:
    """The alarms that deserve the first look: the rarest by p-value, over all machines."""
    alarms = [row | {"machine": m["name"]} for m in machines for row in m.get("listed", []) if row["alarm"]]
    return sorted(alarms, key=lambda row: (row["p_value"], -row["score"]))[:5]
