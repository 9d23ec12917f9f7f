"""Backends that scikit-learn has: mixture and local outlier factor."""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor


FOLDS = 10
MIXTURE_CLIPS = 10  # fewer clips a component tell no spread
MIXTURE_COMPONENTS = 4
OUTLIER_NEIGHBOURS = 20  # scikit-learn's default


class Estimator:
    """
    A scikit-learn estimator over one domain's bank.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32.
        kind (`str`): what scores a clip:
            - `"mixture"`: minus the log-likelihood of a Gaussian mixture with diagonal covariances, of 4 components or
              as many as there are tens of clips;
            - `"outlier_factor"`: local outlier factor (M. Breunig et al. 2000) among 20 neighbours.
    """

    def __init__(self, bank: torch.Tensor, kind: str):
        self.bank, self.kind = bank, kind
        clips = _array(bank)
        # Identical clips have no spread to divide by.
        self.mean, self.scale = clips.mean(0), max(float(clips.std()), 1e-6)
        clips = (clips - self.mean) / self.scale
        if kind == "mixture":
            components = max(1, min(MIXTURE_COMPONENTS, len(clips) // MIXTURE_CLIPS))
            mixture = GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, random_state=0)
            self.estimator = mixture.fit(clips)
        else:
            self.estimator = LocalOutlierFactor(min(OUTLIER_NEIGHBOURS, len(clips) - 1), novelty=True).fit(clips)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        clips = (_array(queries) - self.mean) / self.scale
        return torch.from_numpy(-self.estimator.score_samples(clips)).to(self.bank.device)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank by an estimator that did not see it; see [`cross_scores`]."""
        return cross_scores(lambda bank: Estimator(bank, self.kind), self.bank)


def cross_scores(build, bank: torch.Tensor) -> torch.Tensor:
    """
    The score of each clip of a bank by a backend that was built without it: in ten folds, or without exactly this clip
    where there are at most twenty. Where a backend of fewer clips scores higher, so do these scores, and a threshold
    from them raises rather fewer false alarms.

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


def _array(rows: torch.Tensor) -> np.ndarray:
    return rows.double().cpu().numpy()
