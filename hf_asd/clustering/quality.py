"""The quality of pseudo-attributes: compared with revealed attributes, or without any labels."""

from collections.abc import Callable

import numpy as np
from datasets import Dataset
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.metrics.cluster import contingency_matrix


def cluster_quality(dataset: Dataset, truth: dict[str, str]) -> dict[str, dict[str, float]]:
    """
    The agreement of pseudo-attributes with revealed attributes.

    Args:
        dataset (`datasets.Dataset`): rows with `machine`, `clip_id` and `pseudo_attribute`.
        truth (`dict[str, str]`): the true attribute label by `clip_id`; only evaluation may hold it.

    Returns:
        `dict[str, dict[str, float]]`: by machine the adjusted Rand index (`ari`), the normalized (`nmi`) and the
        adjusted (`ami`) mutual information, `purity`, and the number of clusters and of true labels. NMI and purity
        grow with the number of clusters even for random clusters; ARI and AMI do not.
    """
    result = {}
    machines, names, clips = (
        np.array(dataset[c][:], dtype=object) for c in ("machine", "pseudo_attribute", "clip_id")
    )
    known = np.array([name is not None and clip in truth for name, clip in zip(names, clips, strict=True)], dtype=bool)
    for machine in np.unique(machines[known].astype(str)):
        rows = known & (machines == machine)
        clusters, labels = names[rows].astype(str), np.array([truth[clip] for clip in clips[rows]])
        result[str(machine)] = {
            "ari": float(adjusted_rand_score(labels, clusters)),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
            "ami": float(adjusted_mutual_info_score(labels, clusters)),
            "purity": float(contingency_matrix(labels, clusters).max(0).sum() / rows.sum()),
            "num_clusters": len(np.unique(clusters)),
            "num_true": len(np.unique(labels)),
        }
    return result


def label_free_quality(points: np.ndarray, labels: np.ndarray, num_draws: int = 2000, seed: int = 0) -> float | None:
    """
    Mean silhouette of a clustering, over at most `num_draws` random clips.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`): as they were clustered.
        labels (`np.ndarray` of shape `(clips,)`): clusters.

    Returns:
        `float` between -1 and 1, or `None` where there is one cluster, or one a clip.

    References:
        P. J. Rousseeuw 1987, "Silhouettes".
    """
    chosen = np.random.default_rng(seed).permutation(len(points))[:num_draws]
    if not 1 < len(np.unique(labels[chosen])) < len(chosen):
        return None
    return float(silhouette_score(points[chosen], labels[chosen]))


def stability(
    points: np.ndarray, cluster: Callable[[np.ndarray], np.ndarray], resamples: int = 10, seed: int = 0
) -> float:
    """
    The agreement of a clustering with that of four fifths of its clips.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`): as they are clustered.
        cluster (`Callable`): points -> labels.
        resamples (`int`, *optional*, defaults to 10): how often clips are left out.
        seed (`int`, *optional*, defaults to 0): of the draws.

    Returns:
        `float`: mean adjusted Rand index between the clusters of all clips and those of the clips that stay.

    References:
        A. Ben-Hur et al. 2002, "A Stability Based Method for Discovering Structure in Clustered Data".
    """
    whole, generator = cluster(points), np.random.default_rng(seed)
    scores = []
    for _ in range(resamples):
        kept = generator.permutation(len(points))[: max(1, round(0.8 * len(points)))]
        scores.append(adjusted_rand_score(whole[kept], cluster(points[kept])))
    return float(np.mean(scores))
