"""The bootstrap of the official score against a plain resampling, and the intervals that come of it."""

import numpy as np
import pytest

from hf_asd.metrics.bootstrap import _draw, bootstrap_official_scores, confidence_interval, two_sided_p_value
from hf_asd.metrics.official_score import score_table


def columns(shift: float = 1.0, seed: int = 0, num_clips: int = 10, num_machines: int = 3):
    random = np.random.default_rng(seed)
    labels = np.tile(np.repeat([0, 1, 0, 1], num_clips), num_machines)
    domains = np.tile(np.repeat(["source", "source", "target", "target"], num_clips), num_machines)
    machines = np.repeat([f"machine{number}" for number in range(num_machines)], 4 * num_clips)
    # Rounded, so that clips tie.
    scores = np.round(random.normal(size=len(labels)) + shift * labels, 1)
    return labels, scores, machines, np.full(len(labels), "00"), domains


@pytest.mark.parametrize("year", [2020, 2021, 2025])
def test_equals_scoring_every_resample_on_its_own(year):
    labels, scores, machines, numbers, domains = columns()
    found = bootstrap_official_scores(labels, scores, machines, numbers, domains, year, resamples=20, seed=3)
    # The same draws, spelled out: machine after machine from one generator.
    generator = np.random.default_rng(3)
    weights = np.zeros((20, len(labels)), int)
    for machine in ("machine0", "machine1", "machine2"):
        rows = np.flatnonzero(machines == machine)
        weights[:, rows] = _draw(labels[rows], domains[rows], 20, generator)
    for weight, score in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(len(labels)), weight)
        result = score_table(*(column[drawn] for column in columns()), year)
        assert score == pytest.approx(result["official_score"], abs=1e-12)


def test_every_resample_has_the_make_up_of_the_test_set():
    labels, _, _, _, domains = columns(num_machines=1)
    weights = _draw(labels, domains, 50, np.random.default_rng(0))
    for domain in ("source", "target"):
        for label in (0, 1):
            assert (weights[:, (domains == domain) & (labels == label)].sum(axis=1) == 10).all()
    assert weights.max() > 1 and weights.min() == 0


def test_seeds_decide_and_the_score_lies_in_its_interval():
    first = bootstrap_official_scores(*columns(), resamples=200, seed=1)
    assert np.array_equal(first, bootstrap_official_scores(*columns(), resamples=200, seed=1))
    assert not np.array_equal(first, bootstrap_official_scores(*columns(), resamples=200, seed=2))
    low, high = confidence_interval(first)
    assert low < score_table(*columns())["official_score"] < high
    narrow = confidence_interval(first, 0.5)
    assert low < narrow[0] < narrow[1] < high


def test_the_interval_covers_the_true_score_about_as_often_as_it_says():
    """Normal scores with a shift: the true AUC is known, and with it the true harmonic mean of the two of 2020."""
    truth = score_table(*columns(1.0, seed=99, num_clips=20_000, num_machines=1), 2020)["official_score"]
    covered = 0
    for seed in range(60):
        samples = bootstrap_official_scores(*columns(1.0, seed, num_clips=40), 2020, resamples=200)
        low, high = confidence_interval(samples, 0.9)
        covered += low <= truth <= high
    assert 46 <= covered <= 60, f"{covered} of 60 intervals of 90 % hold the true score"


def test_systems_are_resampled_together():
    labels, scores, machines, numbers, domains = columns()
    both = bootstrap_official_scores(labels, np.stack([scores, 2 * scores]), machines, numbers, domains, resamples=50)
    assert both.shape == (2, 50) and np.array_equal(both[0], both[1])
    alone = bootstrap_official_scores(labels, scores, machines, numbers, domains, resamples=50)
    assert np.array_equal(both[0], alone)
    assert two_sided_p_value(both[1] - both[0]) == 1.0


def test_p_values():
    assert two_sided_p_value(np.full(99, 0.1)) == pytest.approx(0.02)
    assert two_sided_p_value(np.full(99, -0.1)) == pytest.approx(0.02)
    assert two_sided_p_value(np.array([0.1, -0.1] * 50)) == 1.0


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_out_of_range(confidence):
    with pytest.raises(ValueError, match="accepted are values between 0 and 1"):
        confidence_interval(np.zeros(3), confidence)


def test_bad_input():
    labels, scores, machines, numbers, domains = columns()
    with pytest.raises(ValueError, match="resamples is 0; accepted are positive numbers"):
        bootstrap_official_scores(labels, scores, machines, numbers, domains, resamples=0)
    scores[3] = np.nan
    with pytest.raises(ValueError, match="1 of 120 scores are NaN, the first at position 3"):
        bootstrap_official_scores(labels, scores, machines, numbers, domains)
