"""How strong a fault has to be for a detector to hear it in half of the recordings."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from ...audio.reading import OnBadAudio, read_clip
from ...audio.windows import read_span
from ...data.schema import undecoded_audio
from ...embedding.embed import embed_recordings, with_embeddings
from ..backends.cross_scores import cross_splits, recording_splits
from ..backends.protocol import Scorer
from ..long_recordings import scoring_rule
from ..memory_bank import MemoryBank
from ..training_summary import usual_seconds
from .faults import PROBE_FAULTS, ProbeFault


if TYPE_CHECKING:
    from ..detector import AnomalyDetector

MOST_CLIPS = 30  # a machine: more would make the shares more exact and take longer
FEWEST_KEPT = 4  # clips that events need to be compared with
BATCH_CLIPS = 8
SAME_EMBEDDING = 1e-2  # embeddings of the same recording may be stored in half precision

# From a row of the schema to its samples of shape `(samples,)`, float32, 16 kHz.
ReadClip = Callable[[dict], np.ndarray]


@dataclass
class FaultFound:
    """
    What was found of one fault.

    Args:
        fault (`str`): its name.
        unit (`str`): what its strength is counted from.
        found (`dict[str, float]`): by strength in dB, the share of recordings that raise the alarm with it.
        half_db (`float`, *optional*): the least of its strengths at which it is heard in half of the recordings;
            `None` where it is not, up to the strongest.
    """

    fault: str
    unit: str
    found: dict[str, float] = field(default_factory=dict)
    half_db: float | None = None


@dataclass
class MachineProbe:
    """
    What a detector would hear of one machine.

    Args:
        clips (`int`): normal recordings that the faults were put into.
        own_clips (`int`): how many of them the detector was fitted to; it judged each without having it.
        false_alarms (`float`): the share of them that raise the alarm as they are.
        faults (`list[FaultFound]`): of each fault.
    """

    clips: int
    own_clips: int
    false_alarms: float
    faults: list[FaultFound]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def probe(
    detector: "AnomalyDetector", rows: Dataset, read: ReadClip | None = None, most_clips: int = MOST_CLIPS
) -> dict[str, MachineProbe]:
    """
    Puts synthetic faults at graded strengths into normal recordings, and looks which raise the alarm.

    A recording that the detector was fitted to is judged by its other recordings: it is left out of the memory bank
    (with a tenth of the others where there are more than twenty), and its threshold stays. Nothing is random: the same
    recordings give the same result.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): a fitted one.
        rows (`datasets.Dataset`): normal clips of the schema, or windows of long ones (`start_s`, `end_s`).
        read (`Callable[[dict], np.ndarray]`, *optional*): from a row to its samples of shape `(samples,)`, float32,
            16 kHz; by default from its recording.
        most_clips (`int`, *optional*, defaults to 30): clips that are used of each machine, spread evenly.

    Returns:
        `dict[str, MachineProbe]`: by machine; those that are too few to leave some out are missing.
    """
    probes = {}
    for machine, places in _chosen(detector, rows, most_clips).items():
        found = _probe_machine(detector, machine, rows.select(places), read or _reader(detector))
        if found is not None:
            probes[machine] = found
    return probes


def choose_rows(detector: "AnomalyDetector", rows: Dataset) -> Dataset:
    """As many recordings of each machine as [`probe`] uses, spread evenly."""
    return rows.select(np.concatenate(list(_chosen(detector, rows, MOST_CLIPS).values())))


def windows_to_probe(
    detector: "AnomalyDetector", rows: Dataset, on_bad_audio: OnBadAudio = "error"
) -> tuple[Dataset, list[str]]:
    """
    Rows for [`probe`] from recordings that may be long: these are cut into windows as long as the training clips.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): a fitted one.
        rows (`datasets.Dataset`): normal recordings of the schema.
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether unusable recordings are an
            error or left out.

    Returns:
        `tuple[Dataset, list[str]]`: a row for each recording or window, and messages about what was left out.
    """
    machines = [detector.known_machine(name) for name in rows["machine"]]
    rules = [scoring_rule("auto", usual_seconds(detector.training_summary, machine)) for machine in machines]
    options = {"channel": detector.config.channel, "on_bad_audio": on_bad_audio}
    embedded = embed_recordings(rows, detector.encoder, rules=rules, **options)
    return with_embeddings(rows, embedded), embedded.skipped


def _chosen(detector: "AnomalyDetector", rows: Dataset, most_clips: int) -> dict[str, np.ndarray]:
    """By machine the numbers of the rows that are used."""
    names, chosen = np.array([detector.known_machine(name) for name in rows["machine"][:]]), {}
    for machine in sorted(set(names.tolist())):
        own = np.flatnonzero(names == machine)
        chosen[machine] = own[np.unique(np.linspace(0, len(own) - 1, most_clips).astype(int))]
    return chosen


def _probe_machine(detector: "AnomalyDetector", machine: str, rows: Dataset, read: ReadClip) -> MachineProbe | None:
    bank = detector.machines[machine]
    described = rows.remove_columns([name for name in ("embedding", "audio") if name in rows.column_names]).to_list()
    audios = undecoded_audio(rows)
    clips = [read(row | {"audio": audio}) for row, audio in zip(described, audios, strict=True)]
    embeddings = _embed(detector, clips)
    judges = _judges(bank, embeddings)
    if judges is None:
        return None
    own_clips = sum(len(places) for scorer, places in judges if scorer is not bank.scorer)

    def share_of_alarms(vectors: torch.Tensor) -> float:
        alarms = [scorer.score(vectors[places]) > bank.threshold for scorer, places in judges]
        return float(torch.cat(alarms).double().mean())

    def share_found(changed: list[np.ndarray]) -> float:
        return share_of_alarms(_embed(detector, changed))

    results = []
    for fault in tqdm(PROBE_FAULTS, desc=f"probing {machine}", unit="fault", delay=2, leave=False):
        results.append(_search(fault, clips, share_found))
    return MachineProbe(len(clips), own_clips, share_of_alarms(embeddings), results)


def _search(
    fault: ProbeFault, clips: Sequence[np.ndarray], share_found: Callable[[list[np.ndarray]], float]
) -> FaultFound:
    """By halves: stronger where fewer than half of the clips raise the alarm, weaker where more do."""
    result = FaultFound(fault.name, fault.unit)
    sounds = [fault.sound_for(clip, number) for number, clip in enumerate(clips)]
    low, high = 0, len(fault.strengths)
    while low < high:
        middle = (low + high) // 2
        db = fault.strengths[middle]
        share = share_found([fault.add(clip, sound, db) for clip, sound in zip(clips, sounds, strict=True)])
        result.found[f"{db:g}"] = round(share, 3)
        low, high = (low, middle) if share >= 0.5 else (middle + 1, high)
    result.found = dict(sorted(result.found.items(), key=lambda one: float(one[0])))
    result.half_db = float(fault.strengths[low]) if low < len(fault.strengths) else None
    return result


def _judges(bank: MemoryBank, embeddings: torch.Tensor) -> list[tuple[Scorer, torch.Tensor]] | None:
    """Scorers, and the places of the clips that each judges; `None` where too few clips remain."""
    vectors = torch.cat(list(bank.embeddings.values()))
    same = torch.isclose(embeddings[:, None], vectors[None], rtol=SAME_EMBEDDING, atol=SAME_EMBEDDING).all(2)
    judges: list[tuple[Scorer, torch.Tensor]] = []
    is_own = same.any(1)
    if not is_own.all():
        judges.append((bank.scorer, torch.where(~is_own)[0]))
    if not is_own.any():
        return judges
    numbers = None if bank.groups is None else bank.groups[: len(vectors)]
    splits = cross_splits(len(vectors)) if numbers is None else recording_splits(numbers)
    own = torch.where(is_own, same.int().argmax(1), -1)
    for left_out, kept in splits:
        places = torch.where(torch.isin(own, left_out))[0]
        if len(places):
            if len(kept) < max(bank.config.minimum_clips, FEWEST_KEPT):
                return None
            judges.append((_scorer_of(bank, kept), places))
    return judges


def _scorer_of(bank: MemoryBank, kept: torch.Tensor) -> Scorer:
    """Of some of a bank's clips."""
    embeddings, clip_ids, numbers, start = {}, {}, [], 0
    for domain, vectors in bank.embeddings.items():
        own = kept[(kept >= start) & (kept < start + len(vectors))]
        if len(own):
            embeddings[domain] = vectors[own - start]
            clip_ids[domain] = [bank.clip_ids[domain][row - start] for row in own.tolist()]
            numbers.append(own.numpy())
        start += len(vectors)
    rows = np.concatenate(numbers)
    recordings = None if bank.recordings is None else bank.recordings[rows]
    sessions = None if bank.sessions is None else [bank.sessions[row] for row in rows.tolist()]
    part = replace(bank, embeddings=embeddings, clip_ids=clip_ids, recordings=recordings, sessions=sessions)
    return part.scorer


def _embed(detector: "AnomalyDetector", clips: list[np.ndarray]) -> torch.Tensor:
    parts = [detector.encoder(clips[start : start + BATCH_CLIPS]) for start in range(0, len(clips), BATCH_CLIPS)]
    return torch.from_numpy(np.concatenate(parts))


def _reader(detector: "AnomalyDetector") -> ReadClip:
    channel = detector.config.channel

    def read(row: dict) -> np.ndarray:
        if row.get("start_s") is None:
            return read_clip(row["audio"], channel=channel).samples
        return read_span(row["audio"], (row["start_s"], row["end_s"]), channel).samples

    return read
