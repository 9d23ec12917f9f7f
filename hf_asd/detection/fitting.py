"""What `fit` keeps of each normal clip while it is decoded, so that no recording is decoded twice."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..audio.clock import Span
from ..audio.windows import Window
from ..distributed import gather_lists
from ..embedding.embed import EmbeddedRows, Visit
from ..threads import map_on_cores
from .config import ScoringConfig, WindowSeconds
from .explanation.normal_profile import NormalProfile, choose_profile_rows, make_profiles, summarize_clip
from .heard_clips import HeardClips
from .memory_bank import MemoryBank, build_memory_bank
from .training_clips.checks import check_clips
from .training_clips.effects import describe_effects, find_outliers
from .training_clips.findings import TrainingFindings
from .training_clips.measures import ClipMeasures
from .training_clips.sessions import session_remarks


WindowKey = tuple[int, Span | None]  # number of a row, and the window of its recording


class TrainingClips:
    """
    Called with some decoded clips or windows at a time; collects what a detector keeps of each.

    Args:
        with_profiles (`bool`): whether profiles are wanted.
        visit (`Callable`, *optional*): called with each clip as well, one after the other.
    """

    def __init__(self, with_profiles: bool, visit: Visit | None):
        self._with_profiles, self._visit = with_profiles, visit
        self._summaries: dict[WindowKey, dict[str, np.ndarray]] = {}
        self._measures: dict[WindowKey, ClipMeasures] = {}

    def __call__(self, windows: Sequence[tuple[int, Window]]) -> None:
        described = map_on_cores(self._describe, [window for _, window in windows])
        for (row, window), (measures, summary) in zip(windows, described, strict=True):
            self._measures[row, window.span] = measures
            if summary is not None:
                self._summaries[row, window.span] = summary
            if self._visit is not None:
                self._visit(row, window)

    def _describe(self, window: Window) -> tuple[ClipMeasures, dict[str, np.ndarray] | None]:
        assert window.clip is not None  # others are not visited
        summary = summarize_clip(window.clip) if self._with_profiles else None
        return ClipMeasures.of(window.clip, summary), summary

    def heard(self, train: Dataset, embedded: EmbeddedRows, window_seconds: WindowSeconds) -> HeardClips:
        """What was heard by all processes; `train` has a row for each clip that was embedded."""
        measures = dict(gather_lists(list(self._measures.items())))
        summaries = dict(gather_lists(list(self._summaries.items())))
        keys: list[WindowKey] = list(zip(embedded.row_numbers.tolist(), embedded.spans, strict=True))
        return HeardClips.of(
            train,
            embedded.row_numbers,
            [measures[key] for key in keys],
            [summaries[key] for key in keys] if self._with_profiles else None,
            window_seconds,
        )


def check_heard(heard: HeardClips) -> tuple[dict[str, TrainingFindings], list[int]]:
    """What stands out, by machine, and the numbers of the clips to learn from."""
    measures, names = heard.measures(), clip_names(heard.rows)
    is_whole = [start is None for start in heard.rows["start_s"][:]]
    findings, kept = {}, []
    for machine, rows in rows_by_machine(heard.rows).items():
        own = [measures[row] for row in rows]
        found, places = check_clips([names[row] for row in rows], own, [is_whole[row] for row in rows])
        findings[machine] = found
        kept += [rows[place] for place in places]
    return findings, sorted(kept)


def profiles_of(heard: HeardClips, kept: Sequence[int]) -> dict[str, NormalProfile]:
    """
    By machine, of clips that were heard.

    Args:
        heard ([`HeardClips`]): all clips.
        kept (`Sequence[int]`): the places of those that are learned from.
    """
    if not heard.has_summaries:
        return {}
    recordings, firsts = np.unique(heard.arrays["row"], return_index=True)
    wanted = [recordings[rows] for rows in choose_profile_rows(heard.rows.select(firsts)).values()]
    is_wanted = np.isin(heard.arrays["row"], np.concatenate(wanted))
    places = [place for place in kept if is_wanted[place]]
    if not places:
        return {}
    # Of a long recording there are many windows, which may be more than a profile takes.
    chosen = choose_profile_rows(heard.rows.select(places))
    used = np.concatenate(list(chosen.values())).tolist()
    summaries = heard.summaries([places[number] for number in used])
    return make_profiles(chosen, {number: summaries[places[number]] for number in used})


def rows_by_machine(train: Dataset) -> dict[str, list[int]]:
    """Numbers of the rows of each machine, in the order of the names."""
    machines = np.array(train["machine"][:])
    return {machine: np.flatnonzero(machines == machine).tolist() for machine in sorted(set(machines.tolist()))}


def clip_names(train: Dataset) -> list[str]:
    """Names of clips as their folder has them: ids without the machine."""
    return [
        clip_id.removeprefix(f"{machine}/")
        for clip_id, machine in zip(train["clip_id"][:], train["machine"][:], strict=True)
    ]


def drop_outliers(
    train: Dataset, findings: dict[str, TrainingFindings], config: ScoringConfig
) -> tuple[list[int], dict[str, int]]:
    """
    Leaves out normal recordings that are unlike all others of their machine.

    Args:
        train (`datasets.Dataset`): the normal clips with embeddings. Windows of long recordings are not left out: one
            of them is no recording.
        findings (`dict[str, TrainingFindings]`): by machine; changed.
        config ([`ScoringConfig`]): how clips are compared.

    Returns:
        `tuple[list[int], dict[str, int]]`: the numbers of the rows that are kept, and by machine how many are not.
    """
    names, clip_ids, kept, dropped = clip_names(train), train["clip_id"][:], [], {}
    for machine, rows in rows_by_machine(train).items():
        bank = build_memory_bank(train.select(rows), config)
        found = find_outliers(bank) if bank.recordings is None else {}
        kept += [row for row in rows if clip_ids[row] not in found]
        dropped[machine] = len(found)
        left_out = findings.setdefault(machine, TrainingFindings()).left_out
        left_out |= {names[row]: found[clip_ids[row]] for row in rows if clip_ids[row] in found}
    return sorted(kept), dropped


def describe_training(
    findings: dict[str, TrainingFindings],
    banks: dict[str, MemoryBank],
    kept: Dataset,
    everything: Dataset,
    seconds: dict[str, float],
) -> None:
    """
    Adds to what was found what it does to the thresholds, and what the promise is worth for new sessions.

    Args:
        findings (`dict[str, TrainingFindings]`): by machine; changed.
        banks (`dict[str, MemoryBank]`): by machine.
        kept, everything (`datasets.Dataset`): the normal clips with embeddings, without and with those left out.
        seconds (`dict[str, float]`): by machine, the length of its clips together.
    """
    names, kept_rows, all_rows = clip_names(everything), rows_by_machine(kept), rows_by_machine(everything)
    for machine, bank in banks.items():
        own, kept_clips = all_rows[machine], kept.select(kept_rows[machine])
        found = findings.setdefault(machine, TrainingFindings())
        describe_effects(found, bank, kept_clips, everything.select(own), [names[row] for row in own])
        found.remarks += session_remarks(bank, kept_clips, seconds[machine])
