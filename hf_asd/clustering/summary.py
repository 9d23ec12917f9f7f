"""The size, confidence and typical clips of every cluster."""

import numpy as np
from datasets import Dataset

from .config import ClusteringConfig
from .pseudo_attributes import distances_to_centers, get_centers, prepare_points


MEDOIDS = 3


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
    confidences = np.array(dataset["pseudo_attribute_confidence"][:], dtype=float)
    embeddings = dataset.with_format("numpy")["embedding"]
    named = np.array([name is not None for name in names], dtype=bool)
    result = []
    for machine in np.unique(machines[named]):
        rows = np.flatnonzero(named & (machines == machine))
        found, labels, sizes = np.unique(names[rows].astype(str), return_inverse=True, return_counts=True)
        points = prepare_points(embeddings[rows], config or ClusteringConfig())
        gaps = distances_to_centers(points, get_centers(points, labels))
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
                    "confidence": float(confidences[rows[members]].mean()),
                    "medoids": clip_ids[rows[nearest]].tolist(),
                }
            )
    return result


def _natural(name: str) -> tuple:
    """A sorting key that puts `cluster=10` after `cluster=9`."""
    return tuple(int(word) if word.isdigit() else word for word in name.replace("=", " ").split())
