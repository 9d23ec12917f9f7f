"""Pseudo-attributes: clusters of each machine's embeddings stand in for attributes that nobody wrote down."""

import warnings
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Value
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from ..data.schema import side_by_side
from .asdkit_labels import read_asdkit_labels
from .cluster_names import NAME, read_names
from .config import LINKAGES, ClusteringConfig
from .dendrogram import build_dendrogram
from .num_clusters import choose_num_clusters


# Raise it whenever the same rows would get other clusters: `datasets` does not notice that code has changed.
CLUSTERING_VERSION = 1
PSEUDO_ATTRIBUTE_FEATURES = Features(
    {"pseudo_attribute": Value("string"), "pseudo_attribute_confidence": Value("float32")}
)


def assign_pseudo_attributes(dataset: Dataset, config: ClusteringConfig | None = None) -> Dataset:
    """
    Adds `pseudo_attribute`, a cluster's name where the true attributes are hidden and `None` where they are known, and
    `pseudo_attribute_confidence`.

    Args:
        dataset (`datasets.Dataset`): normal training clips with `embedding`, `machine`, `domain`, `clip_id` and
            `attribute_label`.
        config ([`ClusteringConfig`], *optional*): how.

    Returns:
        `datasets.Dataset`: the same rows with `pseudo_attribute` (string), for example `"cluster=3"` (clusters are
        numbered by falling size), and `pseudo_attribute_confidence` (float32): 1 at a cluster's center, 0 half-way
        to the next (see [`confidence_of`]).

    Raises:
        ValueError: `config.names_file` was written for other clusters, or a clip is not in `config.labels_file`.
    """
    config = config or ClusteringConfig()
    if config.labels_file is not None:
        return _from_labels(dataset, config.labels_file)
    if len(dataset) == 0:  # map would add no columns
        return side_by_side(
            dataset, Dataset.from_dict(dict.fromkeys(PSEUDO_ATTRIBUTE_FEATURES, []), PSEUDO_ATTRIBUTE_FEATURES)
        )
    needed = ["machine", "domain", "attribute_label", "embedding"]
    # As Arrow: the embeddings of many clips are clustered in place, not copied into Python objects.
    columns = dataset.select_columns(needed).with_format("arrow")
    assigned = columns.map(
        _assign,
        batched=True,
        batch_size=None,  # clustering needs all rows of a machine at once
        fn_kwargs={
            "options": asdict(config),
            "names": read_names(config.names_file) if config.names_file is not None else {},
            "version": CLUSTERING_VERSION,
        },
        remove_columns=needed,
        features=PSEUDO_ATTRIBUTE_FEATURES,
        desc="clustering",
    )
    return side_by_side(dataset, assigned.with_format(None))


def _from_labels(dataset: Dataset, file: str) -> Dataset:
    labels = read_asdkit_labels(file)
    clip_ids, hidden = dataset["clip_id"][:], [label is None for label in dataset["attribute_label"][:]]
    missing = [clip for clip, is_hidden in zip(clip_ids, hidden, strict=True) if is_hidden and clip not in labels]
    if missing:
        raise ValueError(f"{file}: has no label for {len(missing)} clips, such as {missing[0]}.")
    pairs = list(zip(clip_ids, hidden, strict=True))
    columns = {
        "pseudo_attribute": [labels[clip] if is_hidden else None for clip, is_hidden in pairs],
        "pseudo_attribute_confidence": [1.0 if is_hidden else None for _, is_hidden in pairs],
    }
    return side_by_side(dataset, Dataset.from_dict(columns, features=PSEUDO_ATTRIBUTE_FEATURES))


def _assign(rows: pa.Table, options: dict, names: dict, version: int) -> pa.Table:
    config = ClusteringConfig(**options)
    machines, domains = (np.array(rows[column].to_pylist(), dtype=str) for column in ("machine", "domain"))
    hidden = rows["attribute_label"].is_null().to_numpy()
    embeddings = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    pseudo = np.full(len(machines), None, dtype=object)
    confidence = np.full(len(machines), None, dtype=object)
    for machine in np.unique(machines[hidden]):
        chosen = np.flatnonzero(hidden & (machines == machine))
        own = embeddings if len(chosen) == len(embeddings) else embeddings[chosen]
        clusters, confidences = cluster_machine(own, domains[chosen], config, machine)
        sizes = np.bincount(clusters).tolist()
        named = {cluster: row for (name, cluster), row in names.items() if name == machine}
        if named and [named[cluster][1] for cluster in sorted(named)] != sizes:
            raise ValueError(
                f"{config.names_file}: was written for other clusters of {machine}; now they have {sizes} clips. "
                "Write it again with hf-asd clusters, and edit its names."
            )
        for cluster in range(len(sizes)):
            pseudo[chosen[clusters == cluster]] = named[cluster][0] if named else NAME.format(cluster)
        confidence[chosen] = confidences.tolist()
    columns = {"pseudo_attribute": pseudo.tolist(), "pseudo_attribute_confidence": confidence.tolist()}
    return pa.Table.from_pydict(columns, schema=PSEUDO_ATTRIBUTE_FEATURES.arrow_schema)


def cluster_machine(
    embeddings: np.ndarray, domains: np.ndarray, config: ClusteringConfig, machine: str = "machine"
) -> tuple[np.ndarray, np.ndarray]:
    """
    Clusters the clips of one machine.

    Args:
        embeddings (`np.ndarray` of shape `(clips, dimensions)`): float.
        domains (`np.ndarray` of shape `(clips,)`): `"source"`, `"target"` or `"unknown"`.
        config ([`ClusteringConfig`]): how.
        machine (`str`, *optional*): its name, for warnings.

    Returns:
        clusters (`np.ndarray` of shape `(clips,)`, int64), numbered from 0 by falling size, and confidences (float32).
    """
    points = prepare_points(embeddings, config)
    target = domains == "target"
    if config.domains == "together" or not target.any() or target.all():
        labels = cluster_points(points, config, machine)
    elif config.domains == "apart":
        labels = np.empty(len(points), dtype=np.int64)
        labels[~target] = cluster_points(points[~target], config, machine)
        labels[target] = labels[~target].max() + 1 + cluster_points(points[target], config, machine)
    else:
        labels = np.empty(len(points), dtype=np.int64)
        labels[~target] = cluster_points(points[~target], config, machine)
        labels[target] = distances_to_centers(points[target], get_centers(points[~target], labels[~target])).argmin(1)
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels], confidence_of(points, labels)


def prepare_points(embeddings: np.ndarray, config: ClusteringConfig) -> np.ndarray:
    """Embeddings as the config clusters them: scaled to unit length, as principal components, whitened."""
    points = np.asarray(embeddings, dtype=np.float32)
    if config.normalize:
        points = points / np.sqrt(np.einsum("nd,nd->n", points, points))[:, None].clip(1e-12)
    if config.pca_components is not None:
        components = min(config.pca_components, len(points), points.shape[1])
        solver = "covariance_eigh" if len(points) > points.shape[1] else "full"
        points = PCA(components, whiten=config.whiten, svd_solver=solver).fit_transform(points)
    return points


def cluster_points(points: np.ndarray, config: ClusteringConfig, machine: str = "machine") -> np.ndarray:
    """
    Labels of points from 0, in no particular order.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`): of [`prepare_points`].
        config ([`ClusteringConfig`]): method and number. k-means and Gaussian mixture without a number take that of
            Ward's dendrogram.
        machine (`str`, *optional*): its name, for warnings.
    """
    wanted = config.num_clusters
    if config.method in LINKAGES:
        dendrogram = build_dendrogram(points, config.method)
        if config.distance_threshold is not None:
            labels = dendrogram.cut_at(config.distance_threshold)[dendrogram.leaves]
        else:
            wanted = wanted or choose_num_clusters(dendrogram, config.max_clusters)
            labels = dendrogram.cut(min(wanted, len(points)))[dendrogram.leaves]
    else:
        wanted = wanted or choose_num_clusters(build_dendrogram(points), config.max_clusters)
        labels = _other_method(points, min(wanted, len(np.unique(points, axis=0))), config)
    found = len(np.unique(labels))
    if wanted is not None and found < wanted:
        warnings.warn(
            f"{machine}: {wanted} clusters were asked for, but its {len(points)} clips have only {found} different "
            f"embeddings; there are {found} clusters.",
            stacklevel=2,
        )
    elif found == 1 and config.num_clusters != 1:
        warnings.warn(f"{machine}: its {len(points)} clips form one cluster.", stacklevel=2)
    return labels


def _other_method(points: np.ndarray, num_clusters: int, config: ClusteringConfig) -> np.ndarray:
    if config.method == "kmeans":
        model = KMeans(num_clusters, n_init=4, random_state=config.seed)  # pyright: ignore[reportArgumentType]
    else:
        # Diagonal, because a machine has fewer clips than a full covariance has entries.
        model = GaussianMixture(num_clusters, covariance_type="diag", reg_covar=1e-6, random_state=config.seed)
    labels = model.fit_predict(points.astype(np.float64))
    return np.unique(labels, return_inverse=True)[1]  # a component may have no clip


def get_centers(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means of clusters, of shape `(clusters, dimensions)`."""
    return np.stack([points[labels == cluster].mean(0) for cluster in range(labels.max() + 1)])


def distances_to_centers(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Euclidean distances of shape `(clips, clusters)`."""
    squares = np.einsum("nd,nd->n", points, points)[:, None] + np.einsum("kd,kd->k", centers, centers)
    return np.sqrt((squares - 2 * points @ centers.T).clip(0))


def confidence_of(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    Confidence of each clip's cluster: 1 minus its distance to the center of its cluster divided by that to the nearest
    other center, 0 where another center is nearer; 1 where there is one cluster. It is the simplified silhouette,
    clipped at 0.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`), labels (`np.ndarray` of shape `(clips,)`): clusters
            from 0, none empty.

    Returns:
        `np.ndarray` of shape `(clips,)`, float32.

    References:
        E. Hruschka et al. 2004, "Evolutionary algorithms for clustering gene-expression data", section 3.
    """
    if labels.max() == 0:
        return np.ones(len(points), dtype=np.float32)
    gaps = distances_to_centers(points, get_centers(points, labels))
    rows = np.arange(len(points))
    own = gaps[rows, labels].copy()
    gaps[rows, labels] = np.inf
    return (1 - own / gaps.min(1).clip(1e-12)).clip(0, 1).astype(np.float32)
