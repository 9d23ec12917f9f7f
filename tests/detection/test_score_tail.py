import numpy as np
import pytest

from hf_asd.detection.score_tail import ScoreTail
from hf_asd.detection.threshold import threshold_from


def tail_of(scores, **options):
    return ScoreTail(np.asarray(scores, dtype=float), np.ones(len(scores)), **options)


@pytest.mark.parametrize("count", [5, 10, 30, 100, 990])
def test_scores_and_p_values_are_inverse_and_fall(count):
    tail = tail_of(np.random.default_rng(0).standard_exponential(count))
    p_values = np.array([0.5, 0.2, 0.05, 0.01, 1e-4, 1e-6])
    scores = np.array([tail.score(p_value) for p_value in p_values])
    np.testing.assert_allclose(tail.p_values(scores), p_values)
    assert (np.diff(scores) > 0).all()
    np.testing.assert_array_equal(tail.p_values(np.array([-9.0])), [count / (count + 1)])


@pytest.mark.parametrize(
    ("count", "rate", "lowest", "highest"),
    [
        # One of 10 is 9 %: the threshold for 5 % is no higher than the highest of them.
        (10, 0.05, 0.9, 1.9),
        (20, 0.05, 0.85, 1.25),
        (30, 0.05, 0.85, 1.2),
        # Beyond what the clips show, the tail is taken for a little heavier than this one.
        (30, 0.01, 0.45, 1.0),
        (100, 0.05, 0.9, 1.15),
        (100, 0.01, 0.85, 1.2),
        (990, 0.05, 0.95, 1.05),
        (990, 0.01, 0.9, 1.15),
    ],
)
def test_false_alarms_come_as_often_as_accepted(count, rate, lowest, highest):
    """Over 2000 installations whose scores fall off exponentially; what one has is the share above its threshold."""
    rng = np.random.default_rng(count)
    thresholds = [threshold_from(rng.standard_exponential(count), rate)[0] for _ in range(2000)]
    assert lowest < np.mean(np.exp(-np.array(thresholds))) / rate < highest


def test_one_unusual_recording_does_not_set_the_threshold_alone():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(30)
    plain, promised = threshold_from(scores, 0.05)
    unusual = np.append(scores[1:], 40.0)
    assert promised == 0.05
    assert threshold_from(unusual, 0.05)[0] < plain + 2
    assert threshold_from(unusual, 0.05, "conformal")[0] > plain  # the second highest; of 20 clips it is the highest
    assert threshold_from(unusual[-20:], 0.05)[0] < 6 < threshold_from(unusual[-20:], 0.05, "conformal")[0]
    # Where its scale is not robust, it does.
    assert tail_of(unusual, robust=False).score(0.05) > tail_of(unusual).score(0.05) + 1


def test_with_many_clips_the_threshold_is_no_higher_than_the_quantile_of_type_6():
    for count, rate in ((19, 0.05), (30, 0.05), (200, 0.01)):
        scores = np.random.default_rng(count).standard_t(2, count)
        sixth = np.quantile(scores, 1 - rate, method="weibull")
        by_tail = tail_of(scores).score(rate)
        assert threshold_from(scores, rate) == (pytest.approx(min(sixth, by_tail)), rate)


def test_what_few_clips_can_promise_is_said():
    scores = np.arange(10.0)
    assert threshold_from(scores, 0.05)[1] == pytest.approx(1 / 11) and threshold_from(scores, 0.05)[0] <= 9
    threshold, promised = threshold_from(scores, 0.01)  # far below what ten clips show: by the tail alone
    assert promised == pytest.approx(1 / 11) and threshold > 9
    assert threshold_from(np.arange(30.0), 0.01)[1] == 0.01


def test_pieces_of_a_recording_count_once_together():
    rng = np.random.default_rng(0)
    scores = rng.standard_exponential(40)
    alone, pieces = ScoreTail(scores, np.ones(40)), ScoreTail(np.repeat(scores, 10), np.full(400, 0.1))
    assert pieces.scale == pytest.approx(alone.scale, rel=0.1)
    assert pieces.score(0.05) == pytest.approx(alone.score(0.05), rel=0.2)


def test_identical_scores_have_a_finite_threshold():
    threshold, _ = threshold_from(np.ones(12), 0.05)
    assert threshold == pytest.approx(1, abs=1e-6)
