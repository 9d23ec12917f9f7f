"""From normal recordings to a detector: heard once, kept, and learned from again when others come or go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from datasets import Dataset, DatasetDict

from ..audio.reading import OnBadAudio
from ..data.names import date_in
from ..data.own_rows import complete_rows
from ..distributed import alone
from ..embedding.embed import EmbeddedRows, Visit, embed, embed_recordings, get_embeddings, with_embeddings
from .explanation.normal_profile import fit_profiles
from .fitting import TrainingClips, check_heard, describe_training, drop_outliers, profiles_of, rows_by_machine
from .heard_clips import HeardClips
from .long_recordings import WindowSeconds, training_rule
from .memory_bank import MemoryBank, build_memory_bank
from .threshold import promise_without
from .training_summary import RecordingFacts, facts_from_headers, summarize_training
from .verdicts import attach_faults, heard_in_verdicts


if TYPE_CHECKING:
    from ..embedding.transformer import TransformerEncoder
    from .detector import AnomalyDetector

COMPARED_CLIPS = 16


@dataclass(frozen=True)
class Hearing:
    """
    How normal recordings are heard; see [`AnomalyDetector.fit_recordings`].

    Args:
        with_reasons, window_seconds, on_bad_audio, visit, output_dir: as there.
    """

    with_reasons: bool = True
    window_seconds: WindowSeconds = "auto"
    on_bad_audio: OnBadAudio = "error"
    visit: Visit | None = None
    output_dir: str | Path | None = None


def fit_detector(
    detector: "AnomalyDetector", dataset: Dataset | DatasetDict, hearing: Hearing
) -> tuple[Dataset, list[str]]:
    """Does what [`AnomalyDetector.fit_recordings`] documents."""
    rows = _normal_rows(dataset)
    if "embedding" not in rows.column_names:
        everything, heard, skipped = _hear(detector, rows, hearing)
        detector.precision_cosine = _precision_cosine(detector, everything)
        return _learn(detector, heard, everything, {}), skipped
    detector.findings, detector.heard = {}, None
    if len(rows[0]["embedding"]) != detector.encoder.dimensions:
        # From elsewhere: no band statistics are among them.
        detector.config = replace(detector.config, statistics=None, with_statistics=False)
    train, _, num_dropped = _without_outliers(detector, rows)
    has_audio = hearing.with_reasons and "audio" in train.features
    detector.profiles = fit_profiles(train, detector.config.channel) if has_audio else {}
    detector.precision_cosine = _precision_cosine(detector, train)
    _learn_from(detector, train, rows, facts_from_headers(train), num_dropped, {})
    return train, []


def fit_in_batches(detector: "AnomalyDetector", batches: Iterable[Dataset], hearing: Hearing) -> list[str]:
    """
    As [`fit_detector`], for recordings of which only some are in memory at a time: the detector is the same.

    Args:
        detector ([`AnomalyDetector`]): an empty one.
        batches (`Iterable[datasets.Dataset]`): normal recordings, each with a `clip_id` of its own.
        hearing ([`Hearing`]): how they are heard.

    Returns:
        `list[str]`: messages about recordings that were left out.

    Raises:
        ValueError: clips known to be anomalous, or too few clips of a machine.
    """
    heard, skipped, count = [], [], 0
    for batch in batches:
        rows = _normal_rows(batch)
        clips, embedded = _listen(detector, rows, hearing)
        skipped, count = skipped + embedded.skipped, count + len(rows)
        if len(embedded.row_numbers):
            everything = with_embeddings(rows, embedded)
            heard.append(clips.heard(everything, embedded, hearing.window_seconds))
            if len(heard) == 1:
                detector.precision_cosine = _precision_cosine(detector, everything)
    if not heard:
        raise _nothing_usable(count, skipped)
    whole = HeardClips.concatenated(heard)
    heard.clear()
    _learn(detector, whole, whole.dataset(), {})
    return skipped


def add_to_detector(
    detector: "AnomalyDetector", dataset: Dataset | DatasetDict, hearing: Hearing
) -> tuple[Dataset, list[str]]:
    """Does what [`AnomalyDetector.add_recordings`] documents."""
    before = _kept(detector)
    rows = _with_own_ids(_normal_rows(dataset), set(before.rows["recording_id"][:]))
    if "embedding" in rows.column_names:
        raise ValueError("recordings that are added have to be heard; remove the column embedding.")
    hearing = replace(hearing, with_reasons=before.has_summaries, window_seconds=before.window_seconds)
    everything, heard, skipped = _hear(detector, rows, hearing)
    whole = before.joined(heard)
    whole = whole.joined(heard_in_verdicts(detector, whole))
    learned = set(_learn(detector, whole, whole.dataset(), _rates(detector))["clip_id"][:])
    return everything.select([row for row, name in enumerate(everything["clip_id"][:]) if name in learned]), skipped


def forget_sessions(detector: "AnomalyDetector", sessions: Sequence[str], machine: str | None) -> None:
    """Does what [`AnomalyDetector.forget`] documents."""
    heard = _kept(detector)
    known = {name: heard.sessions_of(name) for name in detector.machines if machine in (None, name)}
    listed = list(dict.fromkeys(session for own in known.values() for session in own if session))
    for session in sessions:
        if session not in listed:
            names = ", ".join(listed) or "no named session"
            raise ValueError(f"session {session!r} is not known; this detector learned from {names}.")
    _forget(detector, heard, {(name, session) for name in known for session in sessions})


def keep_last_sessions(detector: "AnomalyDetector", count: int, machine: str | None) -> None:
    """Does what [`AnomalyDetector.keep_last`] documents."""
    if count < 1:
        raise ValueError(f"keep_last is {count}; accepted is 1 or more.")
    heard, gone = _kept(detector), set()
    for name in detector.machines:
        if machine in (None, name):
            gone |= {(name, session) for session in in_order(heard.sessions_of(name))[:-count]}
    _forget(detector, heard, gone)


def in_order(sessions: Sequence[str]) -> list[str]:
    """Sessions by their days where all are named by days, else in the order in which they were learned."""
    days = {session: date_in(session) for session in sessions}
    known = {session: day for session, day in days.items() if day is not None}
    return sorted(sessions, key=lambda session: known[session]) if len(known) == len(days) else list(sessions)


def _forget(detector: "AnomalyDetector", heard: HeardClips, gone: set[tuple[str, str]]) -> None:
    machines = heard.rows["machine"][:]
    clips = zip(machines, heard.rows["session"][:], strict=True)
    places = [place for place, (name, session) in enumerate(clips) if (name, session or "") not in gone]
    left = {machines[place] for place in places}
    if empty := sorted(set(detector.machines) - left):
        raise ValueError(f"no normal recordings of {', '.join(empty)} would be left. Keep at least one session.")
    rest = heard.select(places)
    _learn(detector, rest, rest.dataset(), _rates(detector))


def _kept(detector: "AnomalyDetector") -> HeardClips:
    detector._check_fitted()
    if detector.heard is None:
        raise ValueError(
            "this detector does not keep what it needs of its normal recordings to learn again: it is compact, or was "
            "fitted to embeddings. Add to the detector that it was made of, or fit again."
        )
    return detector.heard


def _normal_rows(dataset: Dataset | DatasetDict) -> Dataset:
    rows = dataset["train"] if isinstance(dataset, DatasetDict) and "train" in dataset else dataset
    rows = complete_rows(rows, "machine", "domain", "condition", "clip_id")
    if not len(rows):
        raise ValueError("there are no training clips; fit needs normal recordings.")
    anomalies = sum(condition == "anomaly" for condition in rows["condition"])
    if anomalies:
        raise ValueError(
            f"{anomalies} of {len(rows)} training clips are marked as anomalies; fit takes normal clips only."
        )
    return rows


def _with_own_ids(rows: Dataset, taken: set[str]) -> Dataset:
    """The rows, of which none has the name of a recording that was heard before."""
    clip_ids, today = rows["clip_id"][:], date.today().isoformat()
    if not taken & set(clip_ids):
        return rows
    names = []
    for clip_id in clip_ids:
        name, number = clip_id, 1
        while name in taken:
            name, number = f"{clip_id} ({today}{f', {number}' if number > 1 else ''})", number + 1
        names.append(name)
    order = rows.column_names
    return rows.remove_columns("clip_id").add_column("clip_id", names).select_columns(order)


def _hear(detector: "AnomalyDetector", rows: Dataset, hearing: Hearing) -> tuple[Dataset, HeardClips, list[str]]:
    """Decodes and embeds normal recordings; returns a row for each clip and what is kept of them."""
    clips, embedded = _listen(detector, rows, hearing)
    everything = with_embeddings(rows, embedded)
    _check_usable(everything, rows, embedded.skipped)
    return everything, clips.heard(everything, embedded, hearing.window_seconds), embedded.skipped


def _listen(detector: "AnomalyDetector", rows: Dataset, hearing: Hearing) -> tuple[TrainingClips, EmbeddedRows]:
    rules = [training_rule(hearing.window_seconds)] * len(rows)
    clips = TrainingClips(hearing.with_reasons, hearing.visit)
    embedded = embed_recordings(
        rows,
        detector.encoder,
        hearing.output_dir,
        channel=detector.config.channel,
        on_bad_audio=hearing.on_bad_audio,
        visit=clips,
        rules=rules,
    )
    return clips, embedded


def _precision_cosine(detector: "AnomalyDetector", clips: Dataset) -> float | None:
    """
    The lowest cosine between the embeddings of some whole recordings and those of an encoder that computes in float32;
    `None` where it does, or where no recordings are there.
    """
    if getattr(detector.encoder, "precision", "fp32") == "fp32" or "audio" not in clips.features:
        return None
    encoder = cast("TransformerEncoder", detector.encoder)
    spans = clips["start_s"][:] if "start_s" in clips.column_names else [None] * len(clips)
    some = clips.select([row for row, start in enumerate(spans) if start is None][:COMPARED_CLIPS])
    if not len(some) or len(some[0]["embedding"]) != encoder.dimensions:
        return None
    with alone(), encoder.computing_in("fp32"):
        exact = embed(some.remove_columns("embedding"), encoder, channel=detector.config.channel)
    first = 0 if encoder.statistics is None else encoder.statistics.dimensions  # these stay as they are
    rounded, exact = get_embeddings(some)[:, first:], get_embeddings(exact)[:, first:]
    return min(float(torch.nn.functional.cosine_similarity(rounded.double(), exact.double()).min()), 1.0)


def _rates(detector: "AnomalyDetector") -> dict[str, float]:
    """By machine, the rate of false alarms that was asked for."""
    return {machine: bank.config.false_alarm_rate for machine, bank in detector.machines.items()}


def _learn(detector: "AnomalyDetector", heard: HeardClips, everything: Dataset, rates: dict[str, float]) -> Dataset:
    """
    Learns from what was heard.

    Args:
        detector ([`AnomalyDetector`]): gets everything but its encoder.
        heard ([`HeardClips`]): all clips.
        everything (`datasets.Dataset`): a row for each of them, with `embedding`.
        rates (`dict[str, float]`): by machine, the rate of false alarms, where it is another one than the config's.

    Returns:
        `datasets.Dataset`: the rows of the clips that are learned from.
    """
    detector.findings, kept = check_heard(heard)
    fit_clips = everything.select(kept) if len(kept) < len(everything) else everything
    train, places, num_dropped = _without_outliers(detector, fit_clips)
    _check_usable(train, everything, [])
    kept = [kept[place] for place in places]
    detector.heard, detector.profiles = heard, profiles_of(heard, kept)
    facts = heard.facts()
    own_facts = {number: facts[place] for number, place in enumerate(kept)}
    _learn_from(detector, train, everything, own_facts, num_dropped, rates)
    return train


def _without_outliers(detector: "AnomalyDetector", train: Dataset) -> tuple[Dataset, list[int], dict[str, int]]:
    """With `drop_outliers` the rows that are not unlike all others, and their numbers; else all."""
    if not detector.config.drop_outliers:
        return train, list(range(len(train))), {}
    kept, num_dropped = drop_outliers(train, detector.findings, detector.config)
    return train.select(kept), kept, num_dropped


def _learn_from(
    detector: "AnomalyDetector",
    train: Dataset,
    everything: Dataset,
    facts: dict[int, RecordingFacts],
    num_dropped: dict[str, int],
    rates: dict[str, float],
) -> None:
    detector.training_summary = summarize_training(train, facts)
    detector.machines = _memory_banks(detector, train, num_dropped, rates)
    attach_faults(detector)
    seconds = {machine: summary["seconds"] for machine, summary in detector.training_summary.items()}
    describe_training(detector.findings, detector.machines, train, everything, seconds)


def _memory_banks(
    detector: "AnomalyDetector", rows: Dataset, num_dropped: dict[str, int], rates: dict[str, float]
) -> dict[str, MemoryBank]:
    banks = {}
    for machine, own in rows_by_machine(rows).items():
        config = replace(detector.config, false_alarm_rate=rates.get(machine, detector.config.false_alarm_rate))
        banks[machine] = bank = build_memory_bank(rows.select(own), config)
        if dropped := num_dropped.get(machine, 0):
            bank.num_dropped = dropped
            bank.false_alarm_rate = promise_without(bank.false_alarm_rate, bank.num_recordings, dropped)
    return banks


def _check_usable(usable: Dataset, rows: Dataset, skipped: list[str]) -> None:
    if not len(usable):
        raise _nothing_usable(len(rows), skipped)


def _nothing_usable(count: int, skipped: list[str]) -> ValueError:
    return ValueError("\n  ".join([f"none of the {count} recordings can be used to learn from.", *skipped]))
