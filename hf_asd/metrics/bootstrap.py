"""Confidence intervals of the official score: a stratified bootstrap, vectorized over its resamples."""

import numpy as np

from ..data.dcase.years import DEFAULT_YEAR, year_rules
from .functional import check
from .official_score import mean_of_terms, section_rows, weighted_terms


def bootstrap_official_scores(
    labels,
    scores,
    machines,
    sections,
    domains,
    year: int = DEFAULT_YEAR,
    *,
    resamples: int = 1000,
    seed: int = 0,
    max_fpr: float = 0.1,
) -> np.ndarray:
    """
    Official scores of resampled test sets. Clips are drawn with replacement within their stratum (machine, section,
    domain, condition), so that every resample has as many clips of each as the test set (Efron and Tibshirani, 1993).

    Args:
        labels (array of `int`, shape `(clips,)`): 1 anomaly, 0 normal.
        scores (array of `float`, shape `(clips,)` or `(systems, clips)`): all systems get the same
            resamples, so that their differences are paired.
        machines, sections, domains (arrays of `str`, shape `(clips,)`): as for
            [`~hf_asd.metrics.official_score.score_table`].
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
        resamples (`int`, *optional*, defaults to 1000): how many test sets are drawn.
        seed (`int`, *optional*, defaults to 0): seed of the random draws.
        max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.

    Returns:
        `np.ndarray` of shape `(resamples,)` or `(systems, resamples)`.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples!r}; accepted are positive numbers.")
    labels, scores, domains = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(domains)
    systems = np.atleast_2d(scores)
    for system in systems:
        check(labels, system)
    generator = np.random.default_rng(seed)
    terms = []
    for _, _, rows in section_rows(machines, sections):
        weights = _draw(labels[rows], domains[rows], resamples, generator)
        values = [
            weighted_terms(labels[rows], system[rows], domains[rows], weights, year, max_fpr) for system in systems
        ]
        terms += [[system[name] for system in values] for name in year_rules(year).terms]
    official = np.asarray(mean_of_terms(terms, year, axis=0))
    return official if scores.ndim == 2 else official[0]


def confidence_interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """
    The percentile interval of a bootstrap.

    Args:
        samples (`np.ndarray` of shape `(resamples,)`): resampled values.
        confidence (`float`, *optional*, defaults to 0.95): between 0 and 1.

    Returns:
        `tuple[float, float]`: low and high.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}; accepted are values between 0 and 1.")
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def two_sided_p_value(differences: np.ndarray) -> float:
    """Twice the share of resampled differences on the other side of 0; above 0, because resamples are finite."""
    above, below = (differences >= 0).sum(), (differences <= 0).sum()
    return float(min(1.0, 2 * (min(above, below) + 1) / (len(differences) + 1)))


def _draw(labels: np.ndarray, domains: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each clip of a section is drawn, of shape `(resamples, clips)`."""
    weights = np.zeros((resamples, len(labels)))
    for domain in np.unique(domains):
        for label in (0, 1):
            stratum = np.flatnonzero((domains == domain) & (labels == label))
            if len(stratum):
                share = np.full(len(stratum), 1 / len(stratum))
                weights[:, stratum] = generator.multinomial(len(stratum), share, size=resamples)
    return weights
