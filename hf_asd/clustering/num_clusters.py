"""The number of clusters, chosen from the embeddings alone."""

import numpy as np
from scipy.linalg import eigh

from .dendrogram import Dendrogram


def choose_num_clusters(dendrogram: Dendrogram, max_clusters: int) -> int:
    """
    The cut of a dendrogram with the highest Bayesian information criterion of a mixture of round Gaussians with one
    common variance, in the plane of the leading principal components.

    Chosen on the simulated factory (`benchmarks/clustering.py`): silhouette, gap and stability choose two clusters
    where there are a dozen.

    Args:
        dendrogram ([`Dendrogram`]): of a machine's clips.
        max_clusters (`int`): most clusters that are considered; on average a cluster has two clips or more.

    Returns:
        `int`: the number of clusters, from 1.

    References:
        D. Pelleg and A. Moore 2000, "X-means", equations 2 and 3.
    """
    count = int(dendrogram.weights.sum())
    points = leading_components(dendrogram.points, dendrogram.weights)
    best, chosen = -np.inf, 1
    for k in range(1, min(max_clusters, count // 2) + 1):
        labels = dendrogram.cut(k)
        if labels.max() + 1 < k:  # the other clips have equal embeddings
            break
        criterion = information_criterion(points, dendrogram.weights, labels)
        if criterion > best:
            best, chosen = criterion, k
    return chosen


def leading_components(points: np.ndarray, weights: np.ndarray, components: int = 50) -> np.ndarray:
    """Weighted principal components, of shape `(leaves, components)` or fewer."""
    mean = weights @ points / weights.sum()
    centered = points - mean
    scaled = np.sqrt(weights)[:, None] * centered
    count, dimensions = points.shape
    products = scaled.T @ scaled if dimensions <= count else scaled @ scaled.T
    most = len(products) - 1
    axes = eigh(products, subset_by_index=(max(0, most - components + 1), most))[1]
    if dimensions > count:
        axes = scaled.T @ axes
        axes /= np.linalg.norm(axes, axis=0).clip(1e-12)
    return centered @ axes


def information_criterion(points: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> float:
    """
    Log-likelihood of a mixture of round Gaussians with a common variance, less half of log(clips) a parameter.

    Args:
        points (`np.ndarray` of shape `(leaves, dimensions)`), weights (`np.ndarray` of shape `(leaves,)`): leaves and
            their clips.
        labels (`np.ndarray` of shape `(leaves,)`): clusters from 0, none empty.
    """
    count, (k, dimensions) = weights.sum(), (labels.max() + 1, points.shape[1])
    sizes = np.bincount(labels, weights)
    members = labels == np.arange(k)[:, None]
    centers = (members * weights) @ points / sizes[:, None]
    scatter = weights @ ((points - centers[labels]) ** 2).sum(1)
    if scatter <= 0:
        return np.inf
    variance = scatter / ((count - k) * dimensions)
    likelihood = (
        sizes @ np.log(sizes / count) - count * dimensions / 2 * np.log(variance) - (count - k) * dimensions / 2
    )
    return float(likelihood - np.log(count) / 2 * k * (dimensions + 1))
