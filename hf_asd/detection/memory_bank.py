"""The normal clips of one machine with their scores and threshold."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from datasets import Dataset

from ..embedding.band_statistics import SPECTRUM_SIZE
from ..embedding.embed import get_embeddings
from .backends.composite import make_scorer
from .backends.cross_scores import MOST_LEFT_OUT, fewest_kept
from .backends.gaussian import Mahalanobis
from .backends.nearest_neighbors import CosineNeighbors, EuclideanNeighbors, NearestNeighbors
from .backends.protocol import Scorer
from .backends.standardized import StandardizedNeighbors
from .config import ScoringConfig
from .explanation.band_deviations import BandDeviations
from .explanation.normal_profile import MINIMUM_CLIPS
from .score_tail import ScoreTail
from .threshold import p_values, promise_without, recording_weights, threshold_from, unusual_threshold


NEAREST_CLIPS = 3
LIKE_FAULT = 0.5  # cosine; of false alarms with confirmed faults one in twenty has more
FEWEST_OTHERS = 10  # clips of other sessions that a session is compared with; fewer do not show what is normal
FEW_SESSIONS = 6  # fewer do not show how much sessions differ (benchmarks/sessions.py)


@dataclass
class MemoryBank:
    """
    Embeddings of one machine's normal clips by domain, with their leave-one-out scores and the threshold.

    Args:
        embeddings (`dict[str, torch.Tensor]`): by domain, each of shape `(clips, dimensions)`, float32.
        clip_ids (`dict[str, list[str]]`): by domain, the clips behind the embeddings.
        normal_scores (`np.ndarray` of shape `(clips,)`): leave-one-out scores of all clips, float64, domains in order.
        threshold (`float`): a clip is anomalous when its score exceeds it.
        false_alarm_rate (`float`): the share of false alarms that the threshold gives on average.
        config ([`ScoringConfig`]): how clips are compared.
        recordings (`np.ndarray` of shape `(clips,)`, *optional*): the number of the recording that each clip is a
            piece of, int64, in the order of `normal_scores`; `None` where each clip is a recording of its own.
        sessions (`list[str]`, *optional*): the session of each clip, in the order of `normal_scores`; `""` where it is
            not known. `None` where that of no clip is.
        num_dropped (`int`, *optional*, defaults to 0): recordings unlike all others that were left out.
        faults (`dict[str, torch.Tensor]`, *optional*): confirmed faults, each an embedding of shape `(dimensions,)`.
    """

    embeddings: dict[str, torch.Tensor]
    clip_ids: dict[str, list[str]]
    normal_scores: np.ndarray
    threshold: float
    false_alarm_rate: float
    config: ScoringConfig
    recordings: np.ndarray | None = None
    sessions: list[str] | None = None
    num_dropped: int = 0
    faults: dict[str, torch.Tensor] = field(default_factory=dict)

    @cached_property
    def scorer(self) -> Scorer:
        """Of [`make_scorer`]; made from the embeddings when it is first needed."""
        groups = by_domain(self.embeddings, self.groups)
        return make_scorer(self.embeddings, self.config, groups, self._weights_of(self.num_clips))

    @cached_property
    def session_numbers(self) -> np.ndarray | None:
        """The number of each clip's session; `None` where fewer than two are known, or where one holds nearly all."""
        return session_numbers(self.sessions, self.config)

    @property
    def groups(self) -> np.ndarray | None:
        """
        What leave-one-out scores leave out together: sessions where several are known, else recordings; `None` where
        that is each clip alone.
        """
        numbers = self.session_numbers
        if numbers is None or len(np.unique(numbers)) == len(numbers):
            return self.recordings
        return numbers

    @cached_property
    def deviations(self) -> BandDeviations | None:
        """For reasons; `None` where embeddings hold no band statistics or are too few to tell their spread by."""
        bank = torch.cat(list(self.embeddings.values()))
        return BandDeviations(bank) if self.config.has_statistics and len(bank) >= MINIMUM_CLIPS else None

    @cached_property
    def weights(self) -> np.ndarray:
        """How much each of the normal scores counts; see [`~hf_asd.detection.threshold.recording_weights`]."""
        return self._weights_of(len(self.normal_scores))

    def _weights_of(self, count: int) -> np.ndarray:
        """Of the first clips: a compact bank has scores of further clips after those that it holds."""
        numbers = [None if values is None else values[:count] for values in (self.recordings, self.session_numbers)]
        return recording_weights(numbers[0], count, numbers[1])

    @cached_property
    def tail(self) -> ScoreTail:
        """How improbable scores are that no normal clip reached."""
        return ScoreTail(self.normal_scores, self.weights)

    @cached_property
    def unusual_threshold(self) -> float:
        """Of [`~hf_asd.detection.threshold.unusual_threshold`], at most the threshold."""
        rate, method = self.false_alarm_rate, self.config.threshold_method
        return min(self.threshold, unusual_threshold(self.normal_scores, rate, method, self.weights))

    def is_unusual(self, scores: np.ndarray) -> np.ndarray:
        """Which scores are not enough for an alarm, but above those of nearly all normal clips."""
        return (scores > self.unusual_threshold) & (scores <= self.threshold)

    def num_as_high(self, scores: np.ndarray) -> np.ndarray:
        """How many of the normal clips score at least as high, int64."""
        ordered = np.sort(self.normal_scores)
        return len(ordered) - np.searchsorted(ordered, scores, side="left")

    @property
    def num_clips(self) -> int:
        """How many clips the bank holds; of a compact one fewer than there are scores."""
        return sum(map(len, self.clip_ids.values()))

    @property
    def num_recordings(self) -> int:
        """How many recordings the normal clips come from."""
        return len(self.normal_scores) if self.recordings is None else len(np.unique(self.recordings))

    @cached_property
    def neighbors(self) -> NearestNeighbors | StandardizedNeighbors:
        """Finds the most similar normal clips of all domains, independent of the backend that scores."""
        bank = torch.cat(list(self.embeddings.values()))
        metrics = {"cosine": CosineNeighbors, "euclidean": EuclideanNeighbors}
        metric = next((metrics[name] for name in self.config.backends or () if name in metrics), None)
        if metric is None and len(bank) >= StandardizedNeighbors.minimum_clips:
            return StandardizedNeighbors(bank)
        return (metric or CosineNeighbors)(bank)

    @property
    def promise(self) -> str:
        """What the threshold promises, in words."""
        text = f"for at most {100 * self.false_alarm_rate:.3g} % false alarms among"
        if self.session_numbers is not None:
            count = len(np.unique(self.session_numbers))
            roughly = "; so few sessions make it a rough promise" if count < FEW_SESSIONS else ""
            return f"{text} recordings of new sessions like these {count}{roughly}"
        if self.recordings is None:
            return f"{text} recordings made like these"
        if self.num_recordings == 1:
            return f"{text} windows that sound like this recording; one recording does not show how others differ"
        return f"{text} the windows of new recordings"

    def recordings_for(self, false_alarm_rate: float) -> int:
        """How many normal recordings a rate needs; see [`~hf_asd.detection.threshold.threshold_from`]."""
        is_cut = self.recordings is not None and self.num_recordings > 1
        return math.ceil(2 * (1 - false_alarm_rate) / false_alarm_rate) if is_cut else round(1 / false_alarm_rate)

    def score(self, embeddings: torch.Tensor) -> dict[str, np.ndarray]:
        """
        Scores clips one by one: no clip's result depends on the others.

        Args:
            embeddings (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `dict[str, np.ndarray]`, each of shape `(clips,)`: `anomaly_score` (float64), `z_score` (float64, the score
            in standard deviations of the normal clips' leave-one-out scores above their mean), `p_value` (float64),
            `is_anomaly` and `is_unusual` (bool), `num_normal_as_high` (int64), `nearest_clip_id` (object) and
            `nearest_clip_ids` (object, lists of the three most similar normal clips, or of as many as there are).
        """
        scores = self.scorer.score(embeddings).cpu().numpy()
        names = np.concatenate([np.array(clip_ids, dtype=object) for clip_ids in self.clip_ids.values()])
        nearest = names[self.neighbors.nearest(embeddings, NEAREST_CLIPS)[1].cpu().numpy()]
        lists = np.empty(len(nearest), dtype=object)
        lists[:] = nearest.tolist()
        return {
            "anomaly_score": scores,
            "z_score": self.z_scores(scores),
            "p_value": p_values(scores, self.normal_scores, self.weights),
            "is_anomaly": scores > self.threshold,
            "is_unusual": self.is_unusual(scores),
            "num_normal_as_high": self.num_as_high(scores),
            "nearest_clip_id": nearest[:, 0],
            "nearest_clip_ids": lists,
        }

    def like_faults(self, embeddings: torch.Tensor) -> list[str | None]:
        """
        The confirmed fault that each clip resembles; `None` where it resembles none.

        What differs from the normal clips has to differ in the same way
        ([`~hf_asd.detection.backends.gaussian.Mahalanobis.likeness`]). On simulated installations six of ten alarms
        of the same fault resemble it, and two of ten of other faults.
        """
        if not self.faults or self.num_clips < Mahalanobis.fewest:
            return [None] * len(embeddings)
        # Events of a single moment say little about the kind of a fault.
        columns = slice(0, SPECTRUM_SIZE) if self.config.has_statistics else slice(None)
        space = Mahalanobis(torch.cat(list(self.embeddings.values()))[:, columns])
        known = torch.stack(list(self.faults.values()))[:, columns]
        names, likeness = list(self.faults), space.likeness(embeddings[:, columns], known)
        best = likeness.max(1)
        return [
            names[place] if value > LIKE_FAULT else None
            for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def z_scores(self, scores: np.ndarray) -> np.ndarray:
        """Scores in standard deviations of the normal clips' leave-one-out scores above their mean."""
        return (scores - self.normal_scores.mean()) / max(self.normal_scores.std(), 1e-6)

    def leave_one_out_scores(self) -> dict[str, float]:
        """The leave-one-out score of every normal clip of the bank, by `clip_id`."""
        names = [name for clip_ids in self.clip_ids.values() for name in clip_ids]
        # A compact bank has further scores after these: of the clips that it no longer holds.
        return dict(zip(names, self.normal_scores.tolist(), strict=False))


def build_memory_bank(rows: Dataset, config: ScoringConfig) -> MemoryBank:
    """
    Learns one machine from its normal clips.

    Args:
        rows (`datasets.Dataset`): normal clips of one machine with `embedding`, `domain`, `machine` and `clip_id`.
            Those with the same `recording_id`, where there is this column, are pieces of one recording, in the order
            of time: scores of normal clips leave the whole recording out, and each recording counts once.
            With a column `session` of two or more sessions, scores of normal clips leave the whole session out, and
            each session counts the same.
        config ([`ScoringConfig`]): how clips are compared.

    Returns:
        [`MemoryBank`].

    Raises:
        ValueError: too few clips.
    """
    is_cut = "recording_id" in rows.column_names and len(set(rows["recording_id"][:])) < len(rows)
    if len(rows) < config.minimum_clips and not is_cut:
        raise ValueError(
            f"{rows[0]['machine']}: {len(rows)} normal recordings are too few, at least {config.minimum_clips} are "
            "needed and 30 or more are better. Long recordings are cut into windows with --window-seconds "
            "(window_seconds)."
        )
    vectors, domains, clip_ids = get_embeddings(rows), np.array(rows["domain"][:]), np.array(rows["clip_id"][:])
    groups = {"source": np.flatnonzero(domains != "target"), "target": np.flatnonzero(domains == "target")}
    groups = {domain: chosen for domain, chosen in groups.items() if len(chosen)}
    embeddings = {domain: vectors[chosen] for domain, chosen in groups.items()}
    order = np.concatenate(list(groups.values()))
    recordings = _recording_numbers(rows, order)
    _check_pieces(rows[0]["machine"], recordings, config)
    bank = MemoryBank(
        embeddings=embeddings,
        clip_ids={domain: clip_ids[chosen].tolist() for domain, chosen in groups.items()},
        normal_scores=np.empty(0),
        threshold=0.0,
        false_alarm_rate=0.0,
        config=config,
        recordings=recordings,
        sessions=_session_names(rows, order),
    )
    return with_threshold(bank)


def with_threshold(bank: MemoryBank) -> MemoryBank:
    """Gives a bank its leave-one-out scores and its threshold, in place; returns it."""
    bank.normal_scores = bank.scorer.leave_one_out().cpu().numpy()
    method, rate = bank.config.threshold_method, bank.config.false_alarm_rate
    bank.threshold, bank.false_alarm_rate = threshold_from(bank.normal_scores, rate, method, bank.weights)
    return bank


def at_rate(bank: MemoryBank, false_alarm_rate: float) -> MemoryBank:
    """
    The same bank with the threshold for another rate of false alarms: the one of fitting with this rate.

    Args:
        bank ([`MemoryBank`]): stays unchanged.
        false_alarm_rate (`float`): accepted share of false alarms among normal clips, between 0 and 1.

    Raises:
        ValueError: the rate is not between 0 and 1.
    """
    config = replace(bank.config, false_alarm_rate=false_alarm_rate)
    if bank.num_clips < len(bank.normal_scores):
        # A compact bank does not hold the clips that its scores would have to be computed from again.
        changed, method = replace(bank), bank.config.threshold_method
        found = threshold_from(bank.normal_scores, false_alarm_rate, method, bank.weights)
        changed.threshold, changed.false_alarm_rate = found
    else:
        changed = with_threshold(replace(bank, config=config))
    if bank.num_dropped:
        promised = promise_without(changed.false_alarm_rate, bank.num_recordings, bank.num_dropped)
        changed.false_alarm_rate = promised
    return changed


def by_domain(embeddings: dict[str, torch.Tensor], recordings: np.ndarray | None) -> dict[str, np.ndarray] | None:
    """Numbers of recordings, which follow one another for all clips, for the clips of each domain."""
    if recordings is None:
        return None
    ends = np.cumsum([len(bank) for bank in embeddings.values()])
    return dict(zip(embeddings, np.split(recordings[: ends[-1]], ends[:-1]), strict=True))


def _recording_numbers(rows: Dataset, order: np.ndarray) -> np.ndarray | None:
    """The number of each clip's recording; `None` where each clip is a recording of its own."""
    if "recording_id" not in rows.column_names:
        return None
    names, numbers = np.unique(np.array(rows["recording_id"][:])[order], return_inverse=True)
    return None if len(names) == len(rows) else numbers


def _session_names(rows: Dataset, order: np.ndarray) -> list[str] | None:
    """The session of each clip, `""` where it is not known; `None` where that of no clip is."""
    sessions = rows["session"][:] if "session" in rows.column_names else []
    return [sessions[row] or "" for row in order.tolist()] if any(sessions) else None


def session_numbers(sessions: list[str] | None, config: ScoringConfig) -> np.ndarray | None:
    """
    The number of each clip's session, int64; clips of no known session are one together.

    Args:
        sessions (`list[str]`, *optional*): of [`MemoryBank`].
        config ([`ScoringConfig`]): how clips are compared.

    Returns:
        `np.ndarray` of shape `(clips,)`, *optional*: `None` where there are not two that can be left out
        ([`~hf_asd.detection.backends.cross_scores.recording_splits`]), or where so few clips remain without one of
        them that they do not show what is normal.
    """
    if sessions is None:
        return None
    _, numbers, sizes = np.unique(sessions, return_inverse=True, return_counts=True)
    if (sizes <= MOST_LEFT_OUT * len(sessions)).sum() < 2:
        return None
    return numbers if fewest_kept(numbers) >= max(FEWEST_OTHERS, config.minimum_clips) else None


def _check_pieces(machine: str, recordings: np.ndarray | None, config: ScoringConfig) -> None:
    if recordings is not None and (fewest := fewest_kept(recordings)) < config.minimum_clips:
        raise ValueError(
            f"{machine}: {len(recordings)} windows of {len(np.unique(recordings))} recording(s) are too few: without "
            f"one of the recordings, or without a window and those next to it, {fewest} of them remain, and at least "
            f"{config.minimum_clips} are needed. Record more, or give shorter windows (--window-seconds)."
        )
