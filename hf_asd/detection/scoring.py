"""From recordings to decisions: of a dataset, and of recordings one after the other."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset

from ..audio.clock import Span, span_text
from ..audio.reading import BadAudioError, OnBadAudio
from ..audio.source import MEMORY_NAME
from ..audio.windows import Window, WindowRule, windows_of
from ..data.own_rows import complete_rows
from ..data.schema import side_by_side
from ..distributed import gather_lists
from ..embedding.embed import BATCH_CLIPS, EmbeddedRows, Visit, embed_recordings, get_embeddings, with_embeddings
from ..threads import map_on_cores
from .decision import DECISION_FEATURES, Decision, make_decisions
from .explanation.reasons import InputFindings, check_and_explain
from .long_recordings import WindowSeconds, decide_recording, scoring_rule
from .training_summary import usual_seconds


if TYPE_CHECKING:
    from .detector import AnomalyDetector

logger = logging.getLogger(__name__)

# A file, a file's content or mono samples; their rate in Hz; the machine.
GivenRecording = tuple[Any, int | None, str | None]


def score_dataset(
    detector: "AnomalyDetector",
    dataset: Dataset,
    *,
    check_input: bool,
    explain: bool,
    on_bad_audio: OnBadAudio,
    visit: Visit | None,
    output_dir: str | Path | None,
    window_seconds: WindowSeconds,
) -> tuple[Dataset, list[str]]:
    """Does what [`AnomalyDetector.score_recordings`] documents."""
    options: dict[str, Any] = {"on_bad_audio": on_bad_audio, "visit": visit, "output_dir": output_dir}
    dataset, embedded, decisions = decide_windows(
        detector, dataset, check_input=check_input, explain=explain, window_seconds=window_seconds, **options
    )
    return _one_row_a_recording(detector, dataset, embedded, decisions), embedded.skipped


def decide_windows(
    detector: "AnomalyDetector",
    dataset: Dataset,
    *,
    check_input: bool = True,
    explain: bool = False,
    on_bad_audio: OnBadAudio = "error",
    visit: Visit | None = None,
    output_dir: str | Path | None = None,
    window_seconds: WindowSeconds = "auto",
) -> tuple[Dataset, EmbeddedRows, list[Decision]]:
    """
    Decides about each recording, and about each window of a long one.

    Args: as for [`AnomalyDetector.score_recordings`].

    Returns:
        `tuple[Dataset, EmbeddedRows, list[Decision]]`: the rows, what was embedded, and a decision for each embedding.
    """
    has_machines = not isinstance(dataset, Dataset) or "machine" in dataset.column_names
    if not has_machines and len(detector.machines) > 1:
        raise ValueError(f"the dataset has no column machine; this detector knows {', '.join(detector.machines)}.")
    # A detector of one machine takes every clip for that one.
    needed = ("clip_id",) if has_machines and len(detector.machines) == 1 else ("machine", "clip_id")
    dataset = complete_rows(dataset, *needed)
    machines = [detector.known_machine(machine) for machine in dataset["machine"]]
    rules = {machine: _rule(detector, machine, window_seconds) for machine in set(machines)}
    findings: dict[tuple[int, Span | None], InputFindings] = {}

    def check(one: tuple[int, Window]) -> InputFindings | None:
        row, window = one
        if window.clip is None or not (check_input or explain):
            return None
        profile = detector.profiles.get(machines[row])
        deviations = detector.machines[machines[row]].deviations if explain else None
        return check_and_explain(window.clip, profile, deviations, check=check_input, explained=explain)

    def look_at(windows: Sequence[tuple[int, Window]]) -> None:
        for (row, window), found in zip(windows, map_on_cores(check, windows), strict=True):
            if found is not None:
                findings[row, window.span] = found
            if visit is not None:
                visit(row, window)

    if "embedding" not in dataset.column_names:
        wanted = check_input or explain or visit is not None
        embedded = embed_recordings(
            dataset,
            detector.encoder,
            output_dir,
            channel=detector.config.channel,
            allow_silence=check_input,
            on_bad_audio=on_bad_audio,
            visit=look_at if wanted else None,
            rules=[rules[machine] for machine in machines],
        )
        findings = dict(gather_lists(list(findings.items())))
    elif explain:
        raise ValueError("reasons need the recordings; remove the column embedding, or leave explain out.")
    else:
        embedded = EmbeddedRows(get_embeddings(dataset).numpy(), np.arange(len(dataset)), [None] * len(dataset), [])
        dataset = dataset.remove_columns("embedding")
    numbers = embedded.row_numbers.tolist()
    found = [findings.get((row, span)) for row, span in zip(numbers, embedded.spans, strict=True)]
    decisions = _decide(detector, [machines[row] for row in numbers], torch.from_numpy(embedded.embeddings), found)
    return dataset, embedded, decisions


def decide_recordings(
    detector: "AnomalyDetector",
    recordings: Iterable[GivenRecording],
    *,
    explain: bool,
    window_seconds: WindowSeconds,
    batch_size: int,
    visit: Visit | None,
) -> Iterator[Decision]:
    """Does what [`AnomalyDetector.decide_recordings`] documents."""
    recordings, first = iter(recordings), 0
    while group := list(islice(recordings, batch_size)):
        yield from _decide_together(detector, group, explain, window_seconds, visit, first)
        first += len(group)


def _decide_together(
    detector: "AnomalyDetector",
    group: list[GivenRecording],
    explain: bool,
    window_seconds: WindowSeconds,
    visit: Visit | None,
    first: int,
) -> Iterator[Decision]:
    machines = [detector.known_machine(machine) for _, _, machine in group]
    decided: list[list[tuple[Decision, Span | None]]] = [[] for _ in group]
    waiting: list[tuple[int, Window]] = []

    def decide_waiting():
        clips = [window.clip for _, window in waiting if window.clip is not None]
        embeddings = torch.from_numpy(detector.encoder([clip.samples for clip in clips]))
        # One by one: a matrix product of another shape rounds differently.
        for (number, window), clip, embedding in zip(waiting, clips, embeddings, strict=True):
            name = machines[number]
            deviations = detector.machines[name].deviations if explain else None
            found = check_and_explain(clip, detector.profiles.get(name), deviations, explained=explain)
            (decision,) = make_decisions(name, detector.machines[name], embedding[None], [found])
            decided[number].append((decision, window.span))
        waiting.clear()

    for number, (audio, sampling_rate, _) in enumerate(group):
        rule = _rule(detector, machines[number], window_seconds)
        for window in _windows(detector, audio, sampling_rate, rule):
            if visit is not None:
                visit(first + number, window)
            waiting.append((number, window))
            if len(waiting) == BATCH_CLIPS:
                decide_waiting()
    if waiting:
        decide_waiting()
    for name, own in zip(machines, decided, strict=True):
        decisions, spans = zip(*own, strict=True)
        yield decide_recording(detector.machines[name], decisions, spans)[0]


def _windows(
    detector: "AnomalyDetector", audio: Any, sampling_rate: int | None, rule: WindowRule | None
) -> Iterator[Window]:
    """The windows of one recording; one that cannot be used is an error."""
    for window in windows_of(audio, sampling_rate, rule, detector.config.channel):
        if window.error is not None and window.span is not None:
            name = audio if isinstance(audio, str | Path) else MEMORY_NAME
            raise BadAudioError(f"{name}: {window.error} ({span_text(window.span)})")
        for note in window.clip.notes if window.clip else ():
            logger.warning(note)
        yield window


def _rule(detector: "AnomalyDetector", machine: str, window_seconds: WindowSeconds) -> WindowRule | None:
    return scoring_rule(window_seconds, usual_seconds(detector.training_summary, machine))


def _decide(
    detector: "AnomalyDetector",
    machines: list[str],
    embeddings: torch.Tensor,
    findings: Sequence[InputFindings | None],
) -> list[Decision]:
    """Decisions in the order of the embeddings; those of one machine are made together."""
    names, decisions = np.array(machines, dtype=object), np.empty(len(machines), dtype=object)
    for machine in dict.fromkeys(machines):
        places = np.flatnonzero(names == machine).tolist()
        own = [findings[place] for place in places]
        made = make_decisions(machine, detector.machines[machine], embeddings[places], own)
        for place, decision in zip(places, made, strict=True):
            decisions[place] = decision
    return decisions.tolist()


def _one_row_a_recording(
    detector: "AnomalyDetector", dataset: Dataset, embedded: EmbeddedRows, decisions: list[Decision]
) -> Dataset:
    """The rows with their decisions and, for a recording in windows, the embedding of the worst one."""
    rows, firsts = np.unique(embedded.row_numbers, return_index=True)
    bounds = [*firsts.tolist(), len(decisions)]
    about, worst = [], []
    for start, end in zip(bounds, bounds[1:], strict=False):
        bank = detector.machines[decisions[start].machine]
        decision, place = decide_recording(bank, decisions[start:end], embedded.spans[start:end])
        about.append(decision)
        worst.append(start + place)
    whole = EmbeddedRows(embedded.embeddings[worst], rows, [None] * len(rows), embedded.skipped)
    return _with_decisions(with_embeddings(dataset, whole), about)


def _with_decisions(rows: Dataset, decisions: list[Decision]) -> Dataset:
    """The rows with the fields of their decisions as columns."""
    plain = [decision.to_dict() for decision in decisions]
    columns = {name: [row[name] for row in plain] for name in DECISION_FEATURES}
    names = [row["machine"] for row in plain]
    if names != rows["machine"][:]:
        order = rows.column_names
        rows = rows.remove_columns("machine").add_column("machine", names).select_columns(order)
    return side_by_side(rows, Dataset.from_dict(columns, features=DECISION_FEATURES))
