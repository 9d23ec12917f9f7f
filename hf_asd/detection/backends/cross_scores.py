"""Leave-one-out scores of backends that have no closed form for them."""

from collections.abc import Callable

import numpy as np
import torch

from .protocol import Scorer


FOLDS = 10


def cross_scores(build: Callable[[torch.Tensor], Scorer], bank: torch.Tensor) -> torch.Tensor:
    """
    The score of each clip of a bank by a backend that was built without it: in ten folds, or without exactly this clip
    where there are at most twenty. Where a backend of fewer clips gives higher scores, so are these, and a threshold
    from them raises fewer false alarms, not more.

    Args:
        build (`Callable`): makes a backend of a bank.
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips.

    Returns:
        `torch.Tensor` of shape `(references,)`, float64.
    """
    count = len(bank)
    order = torch.from_numpy(np.random.default_rng(0).permutation(count)).to(bank.device)
    scores = torch.empty(count, dtype=torch.float64, device=bank.device)
    for fold in order.tensor_split(count if count <= 2 * FOLDS else FOLDS):
        kept = torch.ones(count, dtype=torch.bool, device=bank.device)
        kept[fold] = False
        scores[fold] = build(bank[kept]).score(bank[fold])
    return scores
