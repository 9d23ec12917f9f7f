"""Other references than the normal clips themselves: fewer (cluster centers) or more (mixed target clips)."""

import numpy as np
import torch

from .nearest_neighbors import CosineNeighbors, EuclideanNeighbors


MIX_SHARE = 0.9
MIX_NEIGHBORS = 1
SMOTE_NEIGHBORS = 2


def k_means(bank: torch.Tensor, count: int) -> torch.Tensor:
    """
    Centers of k-means.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): float32.
        count (`int`): how many centers; a bank of at most as many clips is returned as it is.

    Returns:
        `torch.Tensor` of shape `(count, dimensions)`, float32.
    """
    if len(bank) <= count:
        return bank
    from sklearn.cluster import KMeans  # takes a second, and few detectors need it

    # Distinct clips may be fewer than centers asked for.
    count = min(count, len(torch.unique(bank, dim=0)))
    centers = KMeans(count, n_init=1, random_state=0).fit(bank.double().cpu().numpy()).cluster_centers_  # pyright: ignore[reportArgumentType]
    return torch.from_numpy(centers).to(bank)


def k_center(bank: torch.Tensor, count: int) -> torch.Tensor:
    """The references of [`k_center_rows`]; a bank of at most as many clips is returned as it is."""
    return bank if len(bank) <= count else bank[k_center_rows(bank, count)]


def k_center_rows(bank: torch.Tensor, count: int) -> list[int]:
    """
    References chosen so that none lies far from the next chosen one: the one nearest to the mean, and then, one by
    one, the farthest from all chosen ones (T. Gonzalez 1985; the core set of PatchCore, K. Roth et al. 2022).

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): float32.
        count (`int`): how many.

    Returns:
        `list[int]`: rows of the bank in rising order; all of them where there are no more than `count`.
    """
    if len(bank) <= count:
        return list(range(len(bank)))
    chosen = [int((bank - bank.mean(0)).square().sum(1).argmin())]
    distances = torch.full((len(bank),), torch.inf, device=bank.device)
    while len(chosen) < count:
        distances = torch.minimum(distances, (bank - bank[chosen[-1]]).square().sum(1))
        chosen.append(int(distances.argmax()))
    return sorted(chosen)


def mem_mixup(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """
    Target references mixed with the source reference nearest to each: 0.9 target, 0.1 source (MemMixup of P.
    Saengthong, T. Shinozaki 2024, "GenRep", arXiv 2409.05035).

    Args:
        target (`torch.Tensor` of shape `(targets, dimensions)`): float32.
        source (`torch.Tensor` of shape `(sources, dimensions)`): float32.

    Returns:
        `torch.Tensor` of shape `(targets, dimensions)`, float32.
    """
    nearest = CosineNeighbors(source).nearest(target, MIX_NEIGHBORS)[1]
    return MIX_SHARE * target + (1 - MIX_SHARE) * source[nearest].mean(1)


def smote(target: torch.Tensor, count: int) -> torch.Tensor:
    """
    Target references with synthetic ones between neighbors, at random places (N. Chawla et al. 2002, "SMOTE").

    Args:
        target (`torch.Tensor` of shape `(targets, dimensions)`): float32.
        count (`int`): how many there should be in the end; a single clip stays alone.

    Returns:
        `torch.Tensor` of shape `(max(count, targets), dimensions)`: the given references, then the synthetic ones.
    """
    missing = count - len(target)
    if missing <= 0 or len(target) < 2:
        return target
    own = torch.arange(len(target))
    neighbors = EuclideanNeighbors(target).nearest(target, SMOTE_NEIGHBORS + 1)[1].cpu()
    rng = np.random.default_rng(0)
    first = torch.from_numpy(rng.integers(len(target), size=missing))
    others = [
        [n for n in row if n != i][:SMOTE_NEIGHBORS] for i, row in zip(own.tolist(), neighbors.tolist(), strict=True)
    ]
    second = torch.tensor([rng.choice(others[i]) for i in first.tolist()])
    share = torch.from_numpy(rng.random((missing, 1))).to(target)
    return torch.cat([target, target[first] + share * (target[second] - target[first])])
