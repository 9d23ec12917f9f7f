"""Pseudo-attributes: Ward clusters of each machine's embeddings stand in for attributes that nobody wrote down."""

from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset, Value
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score


@dataclass
class ClusteringConfig:
    """How pseudo-attributes are assigned. The paper's cluster counts are not public; these are ours."""

    num_clusters: int | None = field(
        default=None,
        metadata={"help": "clusters a machine; by default chosen by silhouette between 2 and max_clusters"},
    )
    max_clusters: int = field(default=32, metadata={"help": "most clusters a machine that are considered"})

    def __post_init__(self):
        if self.num_clusters is not None and self.num_clusters < 1:
            raise ValueError(f"num_clusters is {self.num_clusters}; accepted are whole numbers from 1, or none.")
        if self.max_clusters < 2:
            raise ValueError(f"max_clusters is {self.max_clusters}; accepted are whole numbers from 2.")


def ward_clusters(embeddings: np.ndarray, num_clusters: int | None = None, max_clusters: int = 32) -> np.ndarray:
    """
    Agglomerative hierarchical clustering with Ward's linkage, of embeddings scaled to unit length.

    Args:
        embeddings (`np.ndarray` of shape `(clips, dimensions)`): float.
        num_clusters (`int`, *optional*): where the dendrogram is cut; by default where the mean silhouette is highest.
        max_clusters (`int`, *optional*, defaults to 32): most clusters that are considered.

    Returns:
        `np.ndarray` of shape `(clips,)`, int64: clusters, numbered from 0 by falling size.

    References:
        J. H. Ward 1963, "Hierarchical Grouping to Optimize an Objective Function"; P. J. Rousseeuw 1987,
        "Silhouettes"; the use for missing attributes: Fang et al., arXiv 2509.12845.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    if len(unit) == 1:
        return np.zeros(1, dtype=np.int64)
    dendrogram = linkage(unit.astype(np.float64), method="ward")

    def cut(k: int) -> np.ndarray:
        return fcluster(dendrogram, k, criterion="maxclust")

    if num_clusters is None:
        best, num_clusters = 0.0, 1  # a silhouette below zero speaks for one cluster
        for k in range(2, min(max_clusters, len(unit) - 1) + 1):
            labels = cut(k)
            if len(np.unique(labels)) == k:  # identical clips cannot be parted
                score = silhouette_score(unit, labels)
                if score > best:
                    best, num_clusters = score, k
    labels = cut(min(num_clusters, len(unit)))
    sizes = np.bincount(labels)
    order = np.argsort(-sizes, kind="stable")  # largest first; number 0 of fcluster is never used and sorts last
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[labels]


def assign_pseudo_attributes(dataset: Dataset, config: ClusteringConfig | None = None) -> Dataset:
    """
    Adds a `pseudo_attribute` column: a cluster's name where the true attributes are hidden, `None` where they are
    known.

    A machine's source and target clips are clustered together: a domain shift is itself a change of attributes.

    Args:
        dataset (`datasets.Dataset`): normal training clips with `embedding`, `machine` and `attribute_label`.
        config ([`ClusteringConfig`], *optional*): how the dendrograms are cut.

    Returns:
        `datasets.Dataset`: the same rows with `pseudo_attribute` (string), for example `"cluster=3"`.
    """
    config = config or ClusteringConfig()
    features = dataset.features.copy()
    features["pseudo_attribute"] = Value("string")
    return dataset.map(
        _cluster_machines,
        batched=True,
        batch_size=None,  # clustering needs all rows of a machine at once
        fn_kwargs={"num_clusters": config.num_clusters, "max_clusters": config.max_clusters},
        features=features,
        desc="clustering",
    )


def _cluster_machines(rows: dict, num_clusters: int | None, max_clusters: int) -> dict:
    machines, labels = np.array(rows["machine"]), rows["attribute_label"]
    hidden = np.array([label is None for label in labels])
    embeddings = np.array(rows["embedding"], dtype=np.float32)
    names = np.full(len(machines), None, dtype=object)
    for machine in np.unique(machines[hidden]):
        chosen = np.flatnonzero(hidden & (machines == machine))
        clusters = ward_clusters(embeddings[chosen], num_clusters, max_clusters)
        names[chosen] = [f"cluster={cluster}" for cluster in clusters]
    return {"pseudo_attribute": names.tolist()}


def cluster_quality(dataset: Dataset, truth: dict[str, str]) -> dict[str, dict[str, float]]:
    """
    How well pseudo-attributes agree with revealed attributes.

    Args:
        dataset (`datasets.Dataset`): rows with `machine`, `clip_id` and `pseudo_attribute`.
        truth (`dict[str, str]`): the true attribute label by `clip_id`; only evaluation may hold it.

    Returns:
        `dict[str, dict[str, float]]`: by machine the adjusted Rand index (`ari`), the normalised mutual information
        (`nmi`), and the number of clusters and of true labels.
    """
    result = {}
    machines, names, clips = (
        np.array(dataset[c][:], dtype=object) for c in ("machine", "pseudo_attribute", "clip_id")
    )
    told = np.array([name is not None and clip in truth for name, clip in zip(names, clips, strict=True)])
    for machine in np.unique(machines[told].astype(str)):
        rows = told & (machines == machine)
        clusters, labels = names[rows].astype(str), np.array([truth[clip] for clip in clips[rows]])
        result[str(machine)] = {
            "ari": float(adjusted_rand_score(labels, clusters)),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
            "num_clusters": len(np.unique(clusters)),
            "num_true": len(np.unique(labels)),
        }
    return result
