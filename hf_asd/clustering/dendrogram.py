"""Hierarchical clustering of the embeddings of one machine: a dendrogram that can be cut at any number of clusters."""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from .config import LINKAGES


EXACT_CLIPS = 8000  # more would need more than 2 GiB for their distances
MICRO_CLUSTERS = 2500
MICRO_COMPONENTS = 32


@dataclass
class Dendrogram:
    """
    Args:
        merges (`np.ndarray` of shape `(leaves - 1, 4)`): as scipy's linkage matrix.
        points (`np.ndarray` of shape `(leaves, dimensions)`): the leaves: clips, or centroids of micro-clusters.
        weights (`np.ndarray` of shape `(leaves,)`): clips of a leaf.
        leaves (`np.ndarray` of shape `(clips,)`): the leaf of every clip, int64.
    """

    merges: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    leaves: np.ndarray

    def cut(self, num_clusters: int) -> np.ndarray:
        """
        Labels of the leaves, from 0, for at most `num_clusters` clusters: leaves with equal embeddings stay together.
        """
        if len(self.points) == 1:
            return np.zeros(1, dtype=np.int64)
        return fcluster(self.merges, num_clusters, criterion="maxclust").astype(np.int64) - 1

    def cut_at(self, distance: float) -> np.ndarray:
        """Labels of the leaves, from 0, when nothing is merged over a larger distance."""
        if len(self.points) == 1:
            return np.zeros(1, dtype=np.int64)
        return fcluster(self.merges, distance, criterion="distance").astype(np.int64) - 1


def build_dendrogram(points: np.ndarray, method: str = "ward", exact_clips: int = EXACT_CLIPS) -> Dendrogram:
    """
    Builds the dendrogram of a machine's clips.

    More than `exact_clips` clips are first grouped into 2500 micro-clusters by k-means, whose weighted centroids
    Ward's method then merges: memory grows with the number of clips instead of its square.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`): float.
        method (`str`, *optional*, defaults to `"ward"`): `"ward"` (Euclidean distance), `"average"` or `"complete"`
            (cosine distance).
        exact_clips (`int`, *optional*, defaults to 8000): largest number of clips that are merged one by one.

    Returns:
        [`Dendrogram`].

    Raises:
        ValueError: an unknown method, or one that cannot process that many clips.

    References:
        J. H. Ward 1963, "Hierarchical Grouping to Optimize an Objective Function"; micro-clusters: T. Zhang et al.
        1996, "BIRCH", phase 3.
    """
    if method not in LINKAGES:
        raise ValueError(f"method is {method!r}; accepted are {', '.join(LINKAGES)}.")
    count = len(points)
    if count <= exact_clips:
        merges = np.empty((0, 4))
        if count > 1:
            # The result is scipy's copy, so that of the distances only one stays.
            merges = linkage(distances(points, cosine=method != "ward"), method=method)
        return Dendrogram(merges, points, np.ones(count), np.arange(count))
    if method != "ward":
        raise ValueError(
            f"method is {method!r}, for which {count} clips of a machine are too many; accepted are at most "
            f"{exact_clips}. Use method 'ward' or 'kmeans'."
        )
    micro = min(MICRO_CLUSTERS, count // 2)
    # Micro-clusters are small in any case: leading components and few iterations are enough to find them.
    components = min(MICRO_COMPONENTS, points.shape[1])
    plane = PCA(components, svd_solver="covariance_eigh").fit_transform(points.astype(np.float32, copy=False))
    kmeans = MiniBatchKMeans(micro, init="random", batch_size=4096, n_init=1, max_iter=5, random_state=0)  # pyright: ignore[reportArgumentType]
    leaves = kmeans.fit_predict(plane)
    used, leaves = np.unique(leaves, return_inverse=True)
    weights = np.bincount(leaves).astype(np.float64)
    members = csr_array((np.ones(count, points.dtype), (leaves, np.arange(count))), shape=(len(used), count))
    centroids = (members @ points).astype(np.float64) / weights[:, None]
    return Dendrogram(weighted_ward(centroids, weights), centroids, weights, leaves)


def distances(points: np.ndarray, cosine: bool = False) -> np.ndarray:
    """
    Distances between all clips in scipy's condensed form, through matrix products; those of identical clips are 0.

    Args:
        points (`np.ndarray` of shape `(clips, dimensions)`): float.
        cosine (`bool`, *optional*, defaults to `False`): 1 minus the cosine instead of Euclidean.

    Returns:
        `np.ndarray` of shape `(clips * (clips - 1) / 2,)`, float64.
    """
    points = points.astype(np.float64)
    if cosine:
        points /= np.linalg.norm(points, axis=1, keepdims=True).clip(1e-12)
    squares = np.einsum("nd,nd->n", points, points)
    condensed = np.empty(len(points) * (len(points) - 1) // 2)
    end = 0
    for start in range(0, len(points), 512):
        block = squares[start : start + 512, None] + squares - 2 * points[start : start + 512] @ points.T
        for row, values in enumerate(block, start=start):
            condensed[end : end + len(points) - row - 1] = values[row + 1 :]
            end += len(points) - row - 1
    condensed[condensed < 1e-12 * squares.max(initial=0)] = 0.0  # rounding, which would separate identical clips
    return condensed / 2 if cosine else np.sqrt(condensed)


def weighted_ward(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Ward's method over points that stand for several clips each, by nearest-neighbor chains.

    scipy's `linkage` has no weights; with weights of 1 the results are equal.

    Args:
        points (`np.ndarray` of shape `(leaves, dimensions)`): float64.
        weights (`np.ndarray` of shape `(leaves,)`): clips a point, float64.

    Returns:
        `np.ndarray` of shape `(leaves - 1, 4)`: as scipy's linkage matrix; its last column counts leaves.

    References:
        F. Murtagh and P. Legendre 2014, "Ward's Hierarchical Agglomerative Clustering Method", the update of Lance and
        Williams with sizes; chains: D. Müllner 2011, arXiv 1109.2378, figure 3.
    """
    count, sizes = len(points), weights.astype(np.float64)
    squares = np.einsum("nd,nd->n", points, points)
    gaps = (squares[:, None] + squares - 2 * points @ points.T).clip(0)
    gaps *= 2 * sizes[:, None] * sizes / (sizes[:, None] + sizes)
    np.fill_diagonal(gaps, np.inf)
    pairs, heights, chain = [], [], []
    alive = np.ones(count, dtype=bool)
    while len(pairs) < count - 1:
        if not chain:
            chain.append(int(alive.argmax()))
        while True:
            nearest = int(gaps[chain[-1]].argmin())
            if len(chain) > 1 and gaps[chain[-1], chain[-2]] <= gaps[chain[-1], nearest]:
                break
            chain.append(nearest)
        b, a = chain.pop(), chain.pop()
        height = gaps[a, b]
        merged = ((sizes[a] + sizes) * gaps[a] + (sizes[b] + sizes) * gaps[b] - sizes * height) / (
            sizes[a] + sizes[b] + sizes
        )
        alive[b] = False
        merged[~alive] = merged[a] = np.inf
        gaps[a], gaps[:, a], gaps[b], gaps[:, b] = merged, merged, np.inf, np.inf
        sizes[a] += sizes[b]
        pairs.append((a, b))
        heights.append(np.sqrt(height))
    return _in_order(pairs, np.array(heights), count)


def _in_order(pairs: list[tuple[int, int]], heights: np.ndarray, count: int) -> np.ndarray:
    """Merges by rising height, with clusters numbered as scipy numbers them."""
    merges = np.empty((count - 1, 4))
    parent = np.arange(2 * count - 1)
    members = np.ones(2 * count - 1)

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row, index in enumerate(np.argsort(heights, kind="stable")):
        a, b = sorted(root(node) for node in pairs[index])
        parent[a] = parent[b] = count + row
        members[count + row] = members[a] + members[b]
        merges[row] = a, b, heights[index], members[count + row]
    return merges
