import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt

from hf_asd.audio.acoustic_features import extract_features, summarize_features
from hf_asd.detection.backends.gaussian import NUM_DEVIATIONS, ConditionalDeviations
from hf_asd.detection.explanation.band_deviations import BandDeviations, mel_hertz
from hf_asd.detection.explanation.normal_profile import NormalProfile
from hf_asd.detection.explanation.reasons import explain
from hf_asd.embedding.band_statistics import STATISTICS_SIZE, event_moments, event_statistics
from hf_asd.embedding.statistics import SpectralStatistics


RATE, SECONDS = 16_000, 4.0
TIME = np.arange(int(RATE * SECONDS)) / RATE


def noise(seed, low=None, high=None):
    rng = np.random.default_rng([seed, 7])
    samples = rng.standard_normal(len(TIME))
    if low is None:
        return samples
    return sosfilt(butter(4, (low, high), "bandpass", fs=RATE, output="sos"), samples)


def machine(seed):
    """Noise at a level that varies by some decibels, more so at low frequencies, and a hum that comes and goes."""
    rng = np.random.default_rng([seed, 5])
    rumble = sosfilt(butter(2, 300, fs=RATE, output="sos"), noise(seed + 1000)) * rng.uniform(0.5, 2)
    hum = rng.uniform(0, 0.02) * np.sin(2 * np.pi * 100 * TIME)
    return (0.05 * (rng.uniform(0.8, 1.2) * noise(seed) + rumble) + hum).astype(np.float32)


CLIPS = [machine(seed) for seed in range(12)]
STATISTICS = SpectralStatistics()


@pytest.fixture(scope="module")
def bank():
    return torch.from_numpy(STATISTICS(CLIPS))


def profile_of(clips):
    facts = {"clipped": np.zeros(1), "gap": np.zeros(1), "seconds": np.array([SECONDS])}
    summaries = [summarize_features(extract_features(clip)) | facts for clip in clips]
    return NormalProfile({name: np.stack([summary[name] for summary in summaries]) for name in summaries[0]})


@pytest.fixture(scope="module")
def profile():
    return profile_of(CLIPS)


def told(samples, profile, bank, is_anomaly=True):
    samples = samples.astype(np.float32)
    bands = BandDeviations(bank).compare(samples)
    return explain(extract_features(samples), profile, is_anomaly, bands=bands)


def test_deviations_are_those_of_the_score_with_their_signs(bank):
    spectrum = bank[:, :279]
    gaussian = ConditionalDeviations(spectrum)
    queries = torch.from_numpy(STATISTICS([machine(50), machine(51) * np.float32(2)]))[:, :279]
    deviations = gaussian.deviations_of(queries)
    largest = np.sort(np.abs(deviations.numpy()), axis=1)[:, -NUM_DEVIATIONS:].mean(1)
    assert gaussian.score(queries).numpy() == pytest.approx(largest)
    # By the regression itself: from all other dimensions, by the shrunk covariance.
    z, n = gaussian.references.numpy(), len(spectrum)
    covariance = (1 - gaussian.shrinkage) * z.T @ z / n + gaussian.ridge * np.eye(279)
    query, dimension = gaussian.standardize(queries).double().numpy()[1], 17
    others = np.arange(279) != dimension
    weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, dimension])
    variance = covariance[dimension, dimension] - covariance[dimension, others] @ weights
    expected = (query[dimension] - query[others] @ weights) / np.sqrt(variance)
    assert float(deviations[1, dimension]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mel", [5, 20, 60, 100, 127])
def test_a_tone_is_loudest_in_the_mel_at_its_frequency(mel):
    tone = np.sin(2 * np.pi * mel_hertz(mel) * TIME).astype(np.float32)
    level = STATISTICS.feature_extractor.log_mel(torch.from_numpy(tone)[None])[0].mean(0)
    assert abs(int(level.argmax()) - (mel - 1)) <= 1


def test_event_statistics_are_the_extremes_of_the_moments():
    log_mel = STATISTICS.feature_extractor.log_mel(torch.from_numpy(CLIPS[0])[None])[0]
    moments = event_moments(log_mel)
    expected = moments.amax(0) - moments.median(0).values
    assert torch.equal(event_statistics(log_mel)[:-1], expected[:-1])
    dropout = float((moments.median(0).values - moments.amin(0))[-1])
    assert float(event_statistics(log_mel)[-1]) == pytest.approx(dropout)


def test_a_line_is_named_although_one_normal_clip_hides_it_from_the_profile():
    stray = (machine(40) + 0.1 * np.sin(2 * np.pi * 1000 * TIME)).astype(np.float32)
    clips = [*CLIPS, stray]
    profile, bank = profile_of(clips), torch.from_numpy(STATISTICS(clips))
    clip = machine(60) + 0.02 * np.sin(2 * np.pi * 330 * TIME)
    assert not explain(extract_features(clip.astype(np.float32)), profile)
    first = told(clip, profile, bank)[0]
    assert first.kind == "tone" and first.low_hz <= 330 <= first.high_hz and 15 < first.db < 30
    assert " tone near 330 Hz, " in first.text and " dB above normal" in first.text
    assert ", steady (" in first.text and first.text.endswith(" standard deviations)")


def test_a_band_is_named_with_its_edges_level_and_deviations(profile, bank):
    louder = told(machine(61) + 0.05 * noise(3, 2000, 3500), profile, bank)[0]
    assert louder.kind == "louder" and 1500 < louder.low_hz < 2500 and 3000 < louder.high_hz < 4500
    assert 2 < louder.db < 8 and "dB above normal" in louder.text
    quieter = sosfilt(butter(4, (1500, 3000), "bandstop", fs=RATE, output="sos"), machine(62))
    assert "quieter" in [reason.kind for reason in told(quieter, profile, bank)]


def test_flutter_alone_is_a_reason(bank):
    band = noise(4, 3000, 4500) * 0.05
    clip = (machine(63) - 0.0 * band).astype(np.float64)
    rest = clip - sosfilt(butter(4, (3000, 4500), "bandpass", fs=RATE, output="sos"), clip)
    moving = rest + sosfilt(butter(4, (3000, 4500), "bandpass", fs=RATE, output="sos"), clip) * np.where(
        np.sin(2 * np.pi * 12 * TIME) > 0, 1.3, 0.5
    )
    found = BandDeviations(bank).compare(moving.astype(np.float32))
    inside = [one for one in found if one.low_hz < 4500 and one.high_hz > 3000 and one.flutter is not None]
    assert inside and inside[0].flutter > 1.2


def test_a_short_event_is_named_with_its_moment(profile, bank):
    knock = noise(5, 1000, 2000) * np.where(TIME > 2.5, np.exp(-np.maximum(TIME - 2.5, 0) / 0.02), 0)
    for strength in (0.5, 1.0, 2.0):
        findings = BandDeviations(bank).compare((machine(64) + strength * knock).astype(np.float32))
        event = next(one for one in findings if one.kind == "event")
        assert event.seconds == pytest.approx(2.5, abs=0.1) and event.low_hz < 2000 and event.high_hz > 1000
    reason = told(machine(64) + knock, profile, bank)[0]
    assert reason.kind == "knock" and reason.start_s == pytest.approx(2.5, abs=0.1)


def test_without_a_deciding_band_the_largest_difference_is_named(profile, bank):
    (reason,) = told(CLIPS[0], profile, bank)  # one of the normal clips itself
    assert reason.text.startswith("small differences in many bands, the largest: ")


def test_an_alarm_always_has_a_reason_and_a_normal_clip_none(profile, bank):
    for seed in range(70, 90):
        assert "cannot_tell" not in {reason.kind for reason in told(machine(seed), profile, bank)}
        assert len(told(machine(seed), profile, bank)) <= 4
    assert sum(bool(told(machine(seed), profile, bank, is_anomaly=False)) for seed in range(70, 90)) <= 1


def test_what_an_encoder_gives_beside_the_statistics_is_not_looked_at(bank):
    wider = torch.cat([bank, torch.randn(len(bank), 8)], dim=1)
    assert wider.shape[1] > STATISTICS_SIZE
    assert BandDeviations(wider).compare(CLIPS[0]) == BandDeviations(bank).compare(CLIPS[0])
