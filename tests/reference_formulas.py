"""
Poolings, losses and scores in plain numpy, in double precision, written from the equations of their papers; for tests
and for `benchmarks/formulas.py`. Nothing here is fast.
"""

import numpy as np


# Poolings. A grid has the shape (times, bands, channels); a frame is the mean over bands.


def rdp_weights(frames, gamma):
    """arXiv 2603.04605, section III-E: deviations from the mean, divided by the largest, then (1 + d)^gamma."""
    deviations = np.linalg.norm(frames - frames.mean(0), axis=1)
    weights = (1 + deviations / deviations.max()) ** gamma
    return weights / weights.sum()


def pooled(grid, pooling, parameter):
    """One embedding of a grid."""
    patches, frames = grid.reshape(-1, grid.shape[-1]), grid.mean(1)
    if pooling == "max":  # section III-B
        return patches.max(0)
    if pooling == "gwrp":  # section III-C; A. Kolesnikov, C. Lampert 2016, equation 3
        ranked = -np.sort(-patches, axis=0)
        weights = parameter ** np.arange(len(ranked))
        return weights @ ranked / weights.sum()
    positive = np.maximum(patches, 0)
    if pooling == "gem":  # section III-D; F. Radenovic et al. 2019, equation 3
        return (positive**parameter).mean(0) ** (1 / parameter)
    if pooling == "rdp":
        return rdp_weights(frames, parameter) @ frames
    if pooling == "rdp_gem":  # section III-F, with p = 3
        cubes = np.maximum(grid, 0) ** 3
        return (rdp_weights(frames, parameter) @ cubes.mean(1)) ** (1 / 3)
    # Per frequency band: arXiv 2608.00447.
    return np.concatenate([rdp_weights(grid[:, band], parameter) @ grid[:, band] for band in range(grid.shape[1])])


# Losses. A state holds the weights of a head by name, a batch embeddings of the shape (clips, dimensions) and labels.


def unit(vectors):
    """Vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    """Mean over a batch."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return -np.log(exponents[np.arange(len(logits)), labels] / exponents.sum(1)).mean()


def with_margin(cosine, margin):
    """J. Deng et al. 2019 (ArcFace), equation 3, and beyond pi - m its authors' linear continuation."""
    angle = np.arccos(cosine)
    return np.where(angle <= np.pi - margin, np.cos(angle + margin), cosine - margin * np.sin(margin))


def loss_and_scale(loss, state, embeddings, labels, num_centers=1, scale=30.0, margin=0.2):
    """Mean cross-entropy of a batch, and the adaptive scale that the batch leads to (None without one)."""
    x, rows = embeddings, np.arange(len(embeddings))
    if loss == "softmax":
        return cross_entropy(x @ state["weight"].T + state["bias"], labels), None
    if loss == "adaproj":
        # K. Wilkinghoff 2024 (AdaProj): squared distance from the projection, both on the unit sphere.
        distances = np.empty((len(x), len(state["bases"])))
        for label, basis in enumerate(state["bases"]):
            # Least squares gives the projection on a span, whatever directions it is given by.
            projected = (basis @ np.linalg.lstsq(basis, unit(x).T, rcond=None)[0]).T
            distances[:, label] = ((unit(x) - unit(projected)) ** 2).sum(1)
        cosines = 1 - distances / 2
    else:
        cosines = unit(x) @ unit(state["weight"]).T
    if loss == "subcenter_arcface":  # J. Deng et al. 2020, section 3: the nearest center
        cosines = cosines.reshape(len(x), -1, num_centers).max(2)
    if loss in ("arcface", "subcenter_arcface"):
        cosines[rows, labels] = with_margin(cosines[rows, labels], margin)
        return cross_entropy(scale * cosines, labels), None

    scale = float(state["scale"])
    by_class = cosines.reshape(len(x), -1, num_centers if loss == "subcluster_adacos" else 1)
    if loss == "subcluster_adacos":  # K. Wilkinghoff 2021, section III
        average = np.mean(np.sum(np.exp(scale * cosines), axis=1))
        own = by_class[rows, labels]
    else:  # X. Zhang et al. 2019 (AdaCos), section 3.3
        others = np.ones_like(cosines, dtype=bool)
        others[rows, labels] = False
        average = np.mean([np.sum(np.exp(scale * row[kept])) for row, kept in zip(cosines, others, strict=True)])
        average += loss == "adaproj"  # exp(0) for the own class
        own = cosines[rows, labels]
    adapted = max(np.log(average) / np.cos(min(np.pi / 4, np.median(np.arccos(own)))), 1.0)
    if loss == "subcluster_adacos":
        probability = np.exp(adapted * by_class).sum(2)
        probability /= probability.sum(1, keepdims=True)
        return -np.log(probability[rows, labels]).mean(), adapted
    return cross_entropy(adapted * cosines, labels), adapted


# Scores. A bank and queries have the shape (clips, dimensions).


def distance(a, b, metric):
    """Between two embeddings: `"euclidean"` or `"cosine"` (one minus the cosine)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if metric == "euclidean":
        return float(np.linalg.norm(a - b))
    return 1 - float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def densities(bank, metric, neighbors):
    """The mean distance of each clip of a bank from its nearest others."""
    found = []
    for i, reference in enumerate(bank):
        others = sorted(distance(reference, other, metric) for j, other in enumerate(bank) if j != i)[:neighbors]
        found.append(sum(others) / len(others) if others else 1.0)
    return found


def varmin_slope(bank, metric, density, transform=float):
    """M. Matsumoto et al. 2025, equation 5: the covariance of distance and density over the density's variance."""
    scores, logs = [], []
    for i, clip in enumerate(bank):
        distances = [distance(clip, other, metric) if j != i else np.inf for j, other in enumerate(bank)]
        scores.append(transform(min(distances)))
        logs.append(transform(density[int(np.argmin(distances))]))
    return np.cov(scores, logs, bias=True)[0, 1] / np.var(logs)


def normalized_distances(bank, query, metric, normalization, density_neighbors):
    """The distance of a clip from each clip of a bank, normalized by the density there."""
    density = densities(bank, metric, density_neighbors)
    found = np.array([distance(query, reference, metric) for reference in bank])
    if normalization == "ratio":  # K. Wilkinghoff et al. 2025 (arXiv 2509.10951)
        return found / density
    if normalization == "difference":
        return found - density
    if normalization == "varmin":
        return found - varmin_slope(bank, metric, density) * np.array(density)
    if normalization == "log_varmin":  # arXiv 2603.04605, section IV-C
        return np.log(found) - varmin_slope(bank, metric, density, np.log) * np.log(density)
    return found


def neighbor_scores(bank, queries, metric, normalization="none", num_neighbors=1, density_neighbors=4):
    """The mean of the smallest normalized distances of each query."""
    options = (metric, normalization, density_neighbors)
    return np.array([np.sort(normalized_distances(bank, query, *options))[:num_neighbors].mean() for query in queries])


def leave_one_out(bank, score):
    """The score of each clip of a bank from the bank without it; `score` is called with bank and queries."""
    return np.concatenate([score(np.delete(bank, row, axis=0), bank[row : row + 1]) for row in range(len(bank))])


def z_scores(scores, left_out):
    """Scores over mean and standard deviation of those of normal clips."""
    return (scores - left_out.mean()) / left_out.std()


def pca_residual(bank, queries, variance):
    """Distance from the span of the fewest principal components that hold more than this share of the variance."""
    mean = bank.mean(0)
    sizes, directions = np.linalg.eigh(np.cov((bank - mean).T, bias=True))
    order = np.argsort(-sizes)
    kept = directions[:, order[: int((np.cumsum(sizes[order]) / sizes.sum() < variance).sum()) + 1]]
    centered = queries - mean
    return np.linalg.norm(centered - centered @ kept @ kept.T, axis=1)
