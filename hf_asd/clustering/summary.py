"""Clusters in words and clips: how large, how sure, and which clips to listen to."""

from dataclasses import replace
from functools import partial

import numpy as np
from datasets import Dataset

from ..reporting import plots
from .config import LINKAGES, ClusteringConfig
from .dendrogram import EXACT_CLIPS, build_dendrogram
from .pseudo_attributes import centers_of, cluster_points, clustered_space, to_centers
from .quality import label_free_quality, stability


MEDOIDS = 3
STABILITY_CLIPS = 2000


def describe_clusters(dataset: Dataset, config: ClusteringConfig | None = None) -> list[dict]:
    """
    The clusters of every machine whose attributes are hidden.

    Args:
        dataset (`datasets.Dataset`): of [`~hf_asd.assign_pseudo_attributes`].
        config ([`ClusteringConfig`], *optional*): the one that clusters were assigned with.

    Returns:
        `list[dict]`: a row a cluster, the largest of a machine first, with `machine`, `cluster` (its number), `name`,
        `clips`, `source` and `target` (clips of each domain), `confidence` (mean) and `medoids`, the `clip_id`s of
        the clips nearest to its center.
    """
    names = np.array(dataset["pseudo_attribute"][:], dtype=object)
    machines, domains, clip_ids = (np.array(dataset[column][:]) for column in ("machine", "domain", "clip_id"))
    sure = np.array(dataset["pseudo_attribute_confidence"][:], dtype=float)
    embeddings = dataset.with_format("numpy")["embedding"]
    named = np.array([name is not None for name in names], dtype=bool)
    result = []
    for machine in np.unique(machines[named]):
        rows = np.flatnonzero(named & (machines == machine))
        found, labels, sizes = np.unique(names[rows].astype(str), return_inverse=True, return_counts=True)
        points = clustered_space(embeddings[rows], config or ClusteringConfig())
        gaps = to_centers(points, centers_of(points, labels))
        for number, cluster in enumerate(sorted(range(len(found)), key=lambda c: (-sizes[c], _natural(found[c])))):
            members = np.flatnonzero(labels == cluster)
            nearest = members[np.argsort(gaps[members, cluster], kind="stable")[:MEDOIDS]]
            result.append(
                {
                    "machine": str(machine),
                    "cluster": number,
                    "name": str(found[cluster]),
                    "clips": len(members),
                    "source": int((domains[rows[members]] == "source").sum()),
                    "target": int((domains[rows[members]] == "target").sum()),
                    "confidence": float(sure[rows[members]].mean()),
                    "medoids": clip_ids[rows[nearest]].tolist(),
                }
            )
    return result


def _natural(name: str) -> tuple:
    """`cluster=10` behind `cluster=9`."""
    return tuple(int(word) if word.isdigit() else word for word in name.replace("=", " ").split())


def cluster_report(dataset: Dataset, config: ClusteringConfig | None = None) -> dict[str, dict]:
    """
    What a report shows about the clusters of every machine.

    Args:
        dataset (`datasets.Dataset`): of [`~hf_asd.assign_pseudo_attributes`].
        config ([`ClusteringConfig`], *optional*): the one that clusters were assigned with.

    Returns:
        `dict[str, dict]`: by machine `clusters` (of [`describe_clusters`]), `silhouette` (`None` for one cluster),
        `stability` of so many clusters, over at most 2000 clips, and `dendrogram`, an SVG as a data URI (`None` for
        methods without, and for more than 8000 clips).
    """
    config = config or ClusteringConfig()
    clusters = describe_clusters(dataset, config)
    names, machines = np.array(dataset["pseudo_attribute"][:], dtype=object), np.array(dataset["machine"][:])
    embeddings = dataset.with_format("numpy")["embedding"]
    result = {}
    for machine in dict.fromkeys(row["machine"] for row in clusters):
        rows = np.flatnonzero((machines == machine) & (names != None))  # noqa: E711, elementwise
        points = clustered_space(embeddings[rows], config)
        own = [row for row in clusters if row["machine"] == machine]
        fixed = replace(config, num_clusters=len(own), distance_threshold=None)
        few = points[np.random.default_rng(0).permutation(len(points))[:STABILITY_CLIPS]]
        drawn = None
        if config.method in LINKAGES and 1 < len(points) <= EXACT_CLIPS:
            drawn = plots.dendrogram(build_dendrogram(points, config.method).merges, len(own))
        result[machine] = {
            "clusters": own,
            "silhouette": label_free_quality(points, names[rows].astype(str)),
            "stability": stability(few, partial(cluster_points, config=fixed), resamples=5),
            "dendrogram": drawn,
        }
    return result
