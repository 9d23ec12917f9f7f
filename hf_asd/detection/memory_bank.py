"""The normal clips of one machine, and everything a decision about that machine needs."""

from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from ..embedding import embeddings_of
from .deviations import StandardisedDeviations
from .neighbours import NearestNeighbours
from .threshold import p_values, threshold_from


# Fewest normal clips that a backend can make something of.
MINIMUM_CLIPS = {"neighbours": 2, "deviations": 4}


@dataclass
class MemoryBank:
    """
    Embeddings of one machine's normal clips, in one bank a domain, with their leave-one-out scores and the threshold.

    A new clip is scored against every domain's bank and keeps the lowest score: nobody knows its domain.

    Args:
        embeddings (`dict[str, torch.Tensor]`): by domain, each of shape `(clips, dimensions)`, float32.
        clip_ids (`dict[str, list[str]]`): by domain, the clips behind the embeddings.
        backends (`dict`): by domain, [`NearestNeighbours`] or [`StandardisedDeviations`].
        normal_scores (`np.ndarray` of shape `(clips,)`): leave-one-out scores of all clips, float64, domains in order.
        threshold (`float`): a clip is anomalous when its score exceeds it.
        false_alarm_rate (`float`): the share of false alarms that the threshold stands for.
    """

    embeddings: dict[str, torch.Tensor]
    clip_ids: dict[str, list[str]]
    backends: dict
    normal_scores: np.ndarray
    threshold: float
    false_alarm_rate: float

    def score(self, embeddings: torch.Tensor) -> dict[str, np.ndarray]:
        """
        Scores clips one by one: no clip's result depends on the others.

        Args:
            embeddings (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `dict[str, np.ndarray]`, each of shape `(clips,)`: `anomaly_score` (float64), `p_value` (float64),
            `is_anomaly` (bool) and `nearest_clip_id` (object).
        """
        scores, nearest = _lowest_over_domains(self.backends, embeddings)
        names = [self.clip_ids[domain][row] for domain, row in nearest]
        return {
            "anomaly_score": scores,
            "p_value": p_values(scores, self.normal_scores),
            "is_anomaly": scores > self.threshold,
            "nearest_clip_id": np.array(names, dtype=object),
        }

    def left_out(self) -> dict[str, float]:
        """The leave-one-out score of every normal clip of the bank, by `clip_id`."""
        names = [name for clip_ids in self.clip_ids.values() for name in clip_ids]
        # A compact bank knows more scores, behind these: of the clips that it dropped.
        return dict(zip(names, self.normal_scores.tolist(), strict=False))


def build_memory_bank(
    rows: Dataset, backend: str, num_neighbours: int, density_neighbours: int, false_alarm_rate: float
) -> MemoryBank:
    """
    Learns one machine from its normal clips.

    Args:
        rows (`datasets.Dataset`): normal clips of one machine with `embedding`, `domain`, `machine` and `clip_id`.
        backend (`"neighbours"` or `"deviations"`): how a clip is compared with the bank.
        num_neighbours, density_neighbours (`int`): see [`NearestNeighbours`].
        false_alarm_rate (`float`): accepted share of false alarms.

    Returns:
        [`MemoryBank`].

    Raises:
        ValueError: too few clips.
    """
    minimum = MINIMUM_CLIPS[backend]
    if len(rows) < minimum:
        raise ValueError(
            f"{rows[0]['machine']}: {len(rows)} normal recordings are too few, at least {minimum} are needed and "
            "30 or more are better. One long recording can be cut into several files of some 10 s."
        )
    vectors, domains, clip_ids = embeddings_of(rows), np.array(rows["domain"][:]), np.array(rows["clip_id"][:])
    is_target = domains == "target"
    groups = {"source": np.flatnonzero(~is_target), "target": np.flatnonzero(is_target)}
    if min(map(len, groups.values())) < minimum:  # a domain too small for a bank of its own shares the other's
        groups = {"source": np.arange(len(rows))}
    embeddings = {domain: vectors[chosen] for domain, chosen in groups.items()}
    backends = {
        domain: make_backend(backend, bank, num_neighbours, density_neighbours) for domain, bank in embeddings.items()
    }
    normal_scores = []
    for domain, own in backends.items():
        left_out = own.leave_one_out().numpy()
        others = {name: other for name, other in backends.items() if name != domain}
        if others:
            left_out = np.minimum(left_out, _lowest_over_domains(others, embeddings[domain])[0])
        normal_scores.append(left_out)
    normal_scores = np.concatenate(normal_scores)
    threshold, promised = threshold_from(normal_scores, false_alarm_rate)
    return MemoryBank(
        embeddings=embeddings,
        clip_ids={domain: clip_ids[chosen].tolist() for domain, chosen in groups.items()},
        backends=backends,
        normal_scores=normal_scores,
        threshold=threshold,
        false_alarm_rate=promised,
    )


def make_backend(name: str, bank: torch.Tensor, num_neighbours: int, density_neighbours: int):
    """The backend of that name over one domain's bank."""
    if name == "neighbours":
        return NearestNeighbours(bank, num_neighbours, density_neighbours)
    return StandardisedDeviations(bank)


def _lowest_over_domains(backends: dict, embeddings: torch.Tensor) -> tuple[np.ndarray, list[tuple[str, int]]]:
    domains = list(backends)
    scored = [backend.score(embeddings) for backend in backends.values()]
    scores, winner = torch.stack([scores for scores, _ in scored]).min(0)
    nearest = [(domains[w], int(scored[w][1][clip])) for clip, w in enumerate(winner.tolist())]
    return scores.numpy(), nearest
