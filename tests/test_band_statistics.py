import numpy as np
import torch

from hf_asd.embedding.band_statistics import (
    QUANTILES,
    band_statistics,
    event_statistics,
    quantiles_over_time,
    spectrum_statistics,
)


def test_levels_and_flutter_match_the_plain_formulas():
    log_mel = np.random.default_rng(0).standard_normal((300, 128)).cumsum(0) / 9
    found = spectrum_statistics(torch.from_numpy(log_mel).float()).numpy().reshape(9, 31)
    rows = [np.quantile(log_mel, share, axis=0) for share in (0.1, 0.5, 0.9)]
    for frames in (1, 2, 4, 8, 16, 32):
        differences = [log_mel[later] - log_mel[later - frames] for later in range(frames, 300)]
        rows.append(np.log(np.std(differences, axis=0, ddof=1) + 1e-3))
    for row, expected in zip(found, rows, strict=True):
        np.testing.assert_allclose(row, [expected[4 * band : 4 * band + 8].mean() for band in range(31)], atol=1e-4)


def test_events_match_the_plain_formulas():
    log_mel = np.random.default_rng(0).standard_normal((101, 128))
    found = event_statistics(torch.from_numpy(log_mel).float()).numpy()
    power = np.exp(log_mel)
    moments = np.array([power[start : start + 5].mean(0).reshape(16, 8).mean(1) for start in range(0, 97, 2)])
    level, loudness = 10 * np.log10(moments), 10 * np.log10(moments.sum(1))
    np.testing.assert_allclose(found[:16], level.max(0) - np.median(level, 0), atol=1e-3)
    np.testing.assert_allclose(found[16], np.median(loudness) - loudness.min(), atol=1e-3)


def test_a_knock_is_an_event_of_its_band_and_silence_a_dropout():
    log_mel = torch.randn(500, 128, generator=torch.Generator().manual_seed(0)) / 9
    plain = band_statistics(log_mel)[279:]
    assert (plain < 3).all()
    knocked, cut = log_mel.clone(), log_mel.clone()
    knocked[200:206, 40:48] += 30 * np.log(10) / 10
    cut[300:320] -= 30 * np.log(10) / 10
    events = band_statistics(knocked)[279:]
    assert events[5] > 28 and (np.delete(events, [5, 16]) < 3).all()
    assert band_statistics(cut)[-1] == 20


def test_the_shortest_and_the_most_uniform_clips_have_finite_statistics():
    for log_mel in (torch.zeros(3, 128), torch.full((48, 128), -15.9), torch.randn(4, 128)):
        assert band_statistics(log_mel).isfinite().all()


def test_quantiles_are_those_of_numpy_to_the_bit():
    rng = np.random.default_rng(0)
    for frames in (3, 4, 10, 11, 101, 998):
        log_mel = rng.standard_normal((frames, 128)).astype(np.float32)
        expected = np.quantile(log_mel, QUANTILES, axis=0).astype(np.float32)
        np.testing.assert_array_equal(quantiles_over_time(log_mel), expected)
