"""The normal clips of one machine with their scores and threshold."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from datasets import Dataset

from ..embedding.embed import get_embeddings
from .backends.composite import make_scorer
from .backends.nearest_neighbors import CosineNeighbors, EuclideanNeighbors, NearestNeighbors
from .backends.protocol import Scorer
from .backends.standardized import StandardizedNeighbors
from .config import ScoringConfig
from .threshold import p_values, threshold_from


NEAREST_CLIPS = 3


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
    """

    embeddings: dict[str, torch.Tensor]
    clip_ids: dict[str, list[str]]
    normal_scores: np.ndarray
    threshold: float
    false_alarm_rate: float
    config: ScoringConfig

    @cached_property
    def scorer(self) -> Scorer:
        """Of [`make_scorer`]; made from the embeddings when it is first needed."""
        return make_scorer(self.embeddings, self.config)

    @cached_property
    def neighbors(self) -> NearestNeighbors | StandardizedNeighbors:
        """Finds the most similar normal clips of all domains, independent of the backend that scores."""
        bank = torch.cat(list(self.embeddings.values()))
        metrics = {"cosine": CosineNeighbors, "euclidean": EuclideanNeighbors}
        metric = next((metrics[name] for name in self.config.backends or () if name in metrics), None)
        if metric is None and len(bank) >= StandardizedNeighbors.minimum_clips:
            return StandardizedNeighbors(bank)
        return (metric or CosineNeighbors)(bank)

    def score(self, embeddings: torch.Tensor) -> dict[str, np.ndarray]:
        """
        Scores clips one by one: no clip's result depends on the others.

        Args:
            embeddings (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `dict[str, np.ndarray]`, each of shape `(clips,)`: `anomaly_score` (float64), `z_score` (float64, the score
            in standard deviations of the normal clips' leave-one-out scores above their mean), `p_value` (float64),
            `is_anomaly` (bool), `nearest_clip_id` (object) and `nearest_clip_ids` (object, lists of the three most
            similar normal clips, or of as many as there are).
        """
        scores = self.scorer.score(embeddings).cpu().numpy()
        names = np.concatenate([np.array(clip_ids, dtype=object) for clip_ids in self.clip_ids.values()])
        nearest = names[self.neighbors.nearest(embeddings, NEAREST_CLIPS)[1].cpu().numpy()]
        lists = np.empty(len(nearest), dtype=object)
        lists[:] = nearest.tolist()
        return {
            "anomaly_score": scores,
            "z_score": (scores - self.normal_scores.mean()) / max(self.normal_scores.std(), 1e-6),
            "p_value": p_values(scores, self.normal_scores),
            "is_anomaly": scores > self.threshold,
            "nearest_clip_id": nearest[:, 0],
            "nearest_clip_ids": lists,
        }

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
        config ([`ScoringConfig`]): how clips are compared.

    Returns:
        [`MemoryBank`].

    Raises:
        ValueError: too few clips.
    """
    if len(rows) < config.minimum_clips:
        raise ValueError(
            f"{rows[0]['machine']}: {len(rows)} normal recordings are too few, at least {config.minimum_clips} are "
            "needed and 30 or more are better. One long recording can be cut into several files of some 10 s."
        )
    vectors, domains, clip_ids = get_embeddings(rows), np.array(rows["domain"][:]), np.array(rows["clip_id"][:])
    groups = {"source": np.flatnonzero(domains != "target"), "target": np.flatnonzero(domains == "target")}
    groups = {domain: chosen for domain, chosen in groups.items() if len(chosen)}
    embeddings = {domain: vectors[chosen] for domain, chosen in groups.items()}
    scorer = make_scorer(embeddings, config)
    normal_scores = scorer.leave_one_out().cpu().numpy()
    threshold, promised = threshold_from(normal_scores, config.false_alarm_rate, config.threshold_method)
    bank = MemoryBank(
        embeddings=embeddings,
        clip_ids={domain: clip_ids[chosen].tolist() for domain, chosen in groups.items()},
        normal_scores=normal_scores,
        threshold=threshold,
        false_alarm_rate=promised,
        config=config,
    )
    bank.scorer = scorer  # already made
    return bank
