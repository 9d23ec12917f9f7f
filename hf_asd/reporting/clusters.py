"""What a report shows about the clusters of normal recordings (pseudo-attributes)."""

from dataclasses import replace
from functools import partial

import numpy as np
from datasets import Dataset

from ..clustering.config import LINKAGES, ClusteringConfig
from ..clustering.dendrogram import EXACT_CLIPS, build_dendrogram
from ..clustering.pseudo_attributes import cluster_points, prepare_points
from ..clustering.quality import label_free_quality, stability
from ..clustering.summary import describe_clusters
from .embedding_plots import dendrogram


STABILITY_CLIPS = 2000


def cluster_report(dataset: Dataset, config: ClusteringConfig | None = None) -> dict[str, dict]:
    """
    Describes and draws the clusters of every machine.

    Args:
        dataset (`datasets.Dataset`): the result of [`~hf_asd.assign_pseudo_attributes`].
        config ([`ClusteringConfig`], *optional*): the config that the clusters were assigned with.

    Returns:
        `dict[str, dict]`: for each machine `clusters` (see [`~hf_asd.clustering.summary.describe_clusters`]),
        `silhouette` (`None` for one cluster), `stability` of this number of clusters, over at most 2000 clips, and
        `dendrogram`, an SVG as a data URI (`None` for methods without one, and for more than 8000 clips).
    """
    config = config or ClusteringConfig()
    clusters = describe_clusters(dataset, config)
    names, machines = np.array(dataset["pseudo_attribute"][:], dtype=object), np.array(dataset["machine"][:])
    has_cluster = np.array([name is not None for name in names], dtype=bool)
    embeddings = dataset.with_format("numpy")["embedding"]
    result = {}
    for machine in dict.fromkeys(row["machine"] for row in clusters):
        rows = np.flatnonzero((machines == machine) & has_cluster)
        points = prepare_points(embeddings[rows], config)
        own = [row for row in clusters if row["machine"] == machine]
        fixed = replace(config, num_clusters=len(own), distance_threshold=None)
        few = points[np.random.default_rng(0).permutation(len(points))[:STABILITY_CLIPS]]
        result[machine] = {
            "clusters": own,
            "silhouette": label_free_quality(points, names[rows].astype(str)),
            "stability": stability(few, partial(cluster_points, config=fixed), resamples=5),
            "dendrogram": _draw_dendrogram(points, config.method, len(own)),
        }
    return result


def _draw_dendrogram(points: np.ndarray, method: str, num_clusters: int) -> str | None:
    if method not in LINKAGES or not 1 < len(points) <= EXACT_CLIPS:
        return None
    return dendrogram(build_dendrogram(points, method).merges, num_clusters)
