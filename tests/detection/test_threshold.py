import warnings

import numpy as np
import pytest
from scipy import stats

from hf_asd.detection.threshold import p_values, threshold_from


def test_p_values_and_threshold_agree():
    normal = np.random.default_rng(0).standard_normal(99)
    scores = np.random.default_rng(1).standard_normal(1000)
    for rate in (0.01, 0.05, 0.1, 0.5):
        threshold, promised = threshold_from(normal, rate, "conformal")
        assert promised == rate
        np.testing.assert_array_equal(scores > threshold, p_values(scores, normal) <= rate)
    assert p_values(np.array([np.inf]), normal) == 0.01
    assert p_values(np.array([-np.inf]), normal) == 1


def test_a_rate_that_few_clips_cannot_promise():
    threshold, promised = threshold_from(np.arange(10.0), 0.01, "conformal")
    assert threshold == 9 and promised == pytest.approx(1 / 11)
    with pytest.raises(ValueError, match="false_alarm_rate is 0"):
        threshold_from(np.arange(10.0), 0)
    with pytest.raises(ValueError, match="threshold_method is 'best'; accepted are tail, conformal, quantile, gamma"):
        threshold_from(np.arange(10.0), 0.1, "best")


def test_false_alarms_come_at_the_promised_rate():
    # 2000 installations with 19 normal clips each: on average one fresh clip in ten exceeds the threshold.
    generator = np.random.default_rng(0)
    alarms = [generator.standard_normal() > threshold_from(generator.standard_normal(19), 0.1)[0] for _ in range(2000)]
    assert abs(np.mean(alarms) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 2000)


def test_the_empirical_quantile():
    normal = np.arange(101.0)
    assert threshold_from(normal, 0.1, "quantile") == (90.0, 0.1)


def test_a_gamma_threshold_is_the_distributions_quantile():
    normal = np.random.default_rng(0).gamma(3.0, 2.0, size=5000) - 40
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threshold, promised = threshold_from(normal, 0.01, "gamma")
    assert promised == 0.01
    assert threshold == pytest.approx(stats.gamma.ppf(0.99, 3.0, -40, 2.0), abs=0.6)


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (np.random.default_rng(0).gamma(2.0, size=30), "30 normal clips .* too few"),
        (np.ones(50), "identical"),
        (np.concatenate([np.linspace(0, 1, 60), np.linspace(90, 91, 60)]), "do not follow a gamma distribution"),
    ],
)
def test_a_gamma_distribution_that_does_not_fit_is_not_used(normal, message):
    with pytest.warns(UserWarning, match=message):
        assert threshold_from(normal, 0.1, "gamma") == threshold_from(normal, 0.1, "conformal")
