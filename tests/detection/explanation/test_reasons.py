from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.signal import butter, sosfilt

from hf_asd import AnomalyDetector
from hf_asd.audio.acoustic_features import extract_features, summarize_features
from hf_asd.audio.reading import DecodedClip
from hf_asd.detection.config import ScoringConfig
from hf_asd.detection.decision import make_decisions
from hf_asd.detection.explanation.normal_profile import FLOORS, NormalProfile
from hf_asd.detection.explanation.reasons import check_and_explain, explain
from hf_asd.detection.memory_bank import MemoryBank
from hf_asd.embedding.band_statistics import STATISTICS_SIZE
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS = 16_000, 5.0


def hum(seed, seconds=SECONDS):
    """A machine: harmonics of 50 Hz, rushing noise, at a level that varies by a dB or two."""
    rng = np.random.default_rng([seed, 3])
    time = np.arange(int(RATE * seconds)) / RATE
    tones = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) / k for k in range(1, 8))
    rushing = sosfilt(butter(1, 2000, fs=RATE, output="sos"), rng.standard_normal(len(time)))
    return (rng.uniform(0.9, 1.1) * (0.02 * tones + 0.03 * rushing)).astype(np.float32)


def profile_of(clips):
    summaries = [
        summarize_features(extract_features(clip))
        | {"clipped": np.zeros(1), "gap": np.zeros(1), "seconds": np.array([len(clip) / RATE])}
        for clip in clips
    ]
    return NormalProfile({name: np.stack([summary[name] for summary in summaries]) for name in summaries[0]})


@pytest.fixture(scope="module")
def profile():
    return profile_of([hum(seed) for seed in range(30)])


def reasons(samples, profile, is_anomaly=False):
    found = explain(extract_features(samples.astype(np.float32)), profile, is_anomaly)
    return [{name: value for name, value in asdict(reason).items() if value is not None} for reason in found]


def test_normal_clips_claim_nothing(profile):
    assert [reasons(hum(seed), profile) for seed in range(100, 130)] == [[]] * 30


def test_every_kind_of_fault_is_told_with_band_moment_and_units(profile):
    clip = hum(200)
    time = np.arange(len(clip)) / RATE
    rng = np.random.default_rng(0)
    band = sosfilt(butter(4, (2000, 4000), "bandpass", fs=RATE, output="sos"), rng.standard_normal(len(clip)))

    (tone,) = reasons(clip + 0.01 * np.sin(2 * np.pi * 66 * time), profile)
    assert tone["kind"] == "tone" and tone["text"].startswith("new tone near 66 Hz, ")
    assert tone["text"].endswith(" dB above normal") and tone["low_hz"] <= 66 <= tone["high_hz"]

    louder = reasons(clip + 0.03 * band, profile)[0]
    assert louder["kind"] == "louder" and "start_s" not in louder
    assert louder["low_hz"] == pytest.approx(2000, rel=0.25) and louder["high_hz"] == pytest.approx(4000, rel=0.25)
    assert louder["text"].startswith("louder from ") and " kHz, " in louder["text"]

    burst = reasons(clip + 0.05 * band * ((time > 1.2) & (time < 2.7)), profile)[0]
    assert burst["kind"] == "louder" and "between 1.2 and 2.7 s" in burst["text"]
    assert (burst["start_s"], burst["end_s"]) == (pytest.approx(1.2, abs=0.2), pytest.approx(2.7, abs=0.2))

    knock = reasons(clip + band * np.where(time > 3.2, np.exp((3.2 - time) / 0.02), 0), profile)[0]
    assert knock["kind"] == "knock" and knock["text"].startswith("a knock at 3.2 s, from ")
    twice = sum(np.where(time > at, np.exp(np.minimum(at - time, 0) / 0.02), 0) for at in (1.0, 3.2))
    assert reasons(clip + band * twice, profile)[0]["text"].startswith("2 knocks, the loudest at ")

    beating = reasons(clip + 0.01 * band * (1 + np.sin(2 * np.pi * 25 * time)), profile)[0]
    assert beating["kind"] == "rhythm" and beating["spacing_hz"] == pytest.approx(25, rel=0.03)
    assert beating["text"].startswith("sidebands 25 Hz apart from ")

    quieter = reasons(sosfilt(butter(4, (600, 1500), "bandstop", fs=RATE, output="sos"), clip), profile)
    assert "quieter" in [reason["kind"] for reason in quieter]

    dropout = reasons(np.where((time > 2.0) & (time < 2.3), 0, clip), profile)
    assert any(r["kind"] == "dropout" and r["start_s"] == pytest.approx(2.15, abs=0.2) for r in dropout)

    assert [r["text"] for r in reasons(0.2 * clip, profile)] == ["level 14 dB below normal"]
    assert [r["text"] for r in reasons(5 * clip, profile)] == ["level 14 dB above normal"]


def test_one_band_is_told_once_and_the_strongest_first(profile):
    clip = hum(201)
    told = reasons(clip + 0.3 * np.sin(2 * np.pi * 700 * np.arange(len(clip)) / RATE), profile)
    assert len([r for r in told if "low_hz" in r and r["low_hz"] < 700 < r["high_hz"]]) == 1
    assert [r["strength"] for r in told] == sorted((r["strength"] for r in told), reverse=True)


def test_a_level_that_a_tone_explains_is_told_as_the_tone(profile):
    clip, time = hum(204), np.arange(int(RATE * SECONDS)) / RATE
    for amplitude in (0.1, 0.3, 0.9):
        told = reasons(clip + amplitude * np.sin(2 * np.pi * 700 * time), profile)
        assert 600 < told[0]["low_hz"] < 700 < told[0]["high_hz"] < 800
        assert not [reason for reason in told if reason["kind"] == "level_rise"]
    # Twice as near and with a tone: both are told, the level last.
    told = reasons(4 * clip + 0.3 * np.sin(2 * np.pi * 700 * time), profile)
    assert "low_hz" in told[0] and told[-1]["kind"] == "level_rise" and told[-1]["db"] == pytest.approx(12, abs=3)


def test_no_reasons_without_an_alarm(profile):
    clip, time = hum(205), np.arange(int(RATE * SECONDS)) / RATE
    samples = clip + 0.3 * np.sin(2 * np.pi * 700 * time)
    assert reasons(samples, profile) and reasons(samples, profile, is_anomaly=True)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((8, STATISTICS_SIZE)).astype(np.float32)
    bank = MemoryBank(
        {"source": torch.from_numpy(vectors)}, {"source": list("abcdefgh")}, np.zeros(8), 1e9, 0.2, ScoringConfig()
    )
    found = check_and_explain(DecodedClip(samples.astype(np.float32), 0.0, SECONDS, RATE, 1), profile, explained=True)
    assert found.reasons
    (decision,) = make_decisions("m", bank, torch.from_numpy(vectors[:1]), [found])
    assert decision.is_anomaly is False and decision.reasons == []


def test_a_knock_at_the_very_start_is_a_knock(profile):
    clip, time = hum(206), np.arange(int(RATE * SECONDS)) / RATE
    knock = np.random.default_rng(0).standard_normal(len(clip)) * np.exp(-time / 0.02)
    assert [r["kind"] for r in reasons(clip + knock, profile) if "start_s" in r] == ["knock"]


def test_a_detector_that_cannot_tell_says_so(profile):
    clip = hum(202)
    assert reasons(clip, None)[0]["text"].startswith("cannot tell: this detector has no recordings")
    (alarm,) = reasons(hum(6), profile, is_anomaly=True)
    assert alarm["kind"] == "cannot_tell" and "as in normal clips" in alarm["text"]
    rows = Dataset.from_dict(
        {
            "machine": ["m"] * 8,
            "domain": ["source"] * 8,
            "condition": ["normal"] * 8,
            "clip_id": list("abcdefgh"),
            "embedding": np.random.default_rng(0).standard_normal((8, STATISTICS_SIZE)).astype(np.float32).tolist(),
        }
    )
    detector = AnomalyDetector().fit(rows)
    assert detector.profiles == {}
    assert detector(clip, RATE, explain=True).reasons[0].kind == "cannot_tell"


def test_after_an_alarm_the_rarest_thing_is_told_with_a_perhaps(profile):
    clip, time = hum(203), np.arange(int(RATE * SECONDS)) / RATE
    for amplitude in np.geomspace(1e-4, 1e-2, 30):
        samples = clip + amplitude * np.sin(2 * np.pi * 1130 * time)
        told = reasons(samples, profile, is_anomaly=True)
        if told[0]["text"].startswith("perhaps "):
            assert "tone near 1.1 kHz" in told[0]["text"] and reasons(samples, profile) == []
            return
    raise AssertionError("no level between normal and new gave a perhaps")


def test_limits_are_the_normal_clips_left_out_one_by_one(profile):
    """Against a profile that is built anew without the clip, which is what the closed form stands for."""
    summaries = profile.summaries
    for kind in ("tone", "knock", "rhythm"):
        leave_one_out_scores = []
        for row in range(30):
            others = np.delete(summaries[kind], row, axis=0).astype(np.float64)
            spread = np.maximum(others.std(0, ddof=1), FLOORS[kind])
            leave_one_out_scores.append(((summaries[kind][row] - others.mean(0)) / spread).max())
        assert profile.limit[kind] == pytest.approx(max(3.0, 1.5 * max(leave_one_out_scores)), rel=1e-5)


@pytest.mark.parametrize("count", [4, 10])
def test_few_normal_clips_claim_nothing_about_others(count):
    few = profile_of([hum(seed) for seed in range(count)])
    assert sum(bool(reasons(hum(seed), few)) for seed in range(100, 120)) <= 1


def test_identical_clips():
    same = profile_of([hum(0)] * 6)
    assert reasons(hum(0), same) == []
    assert reasons(hum(0) + 0.02 * np.sin(np.arange(int(RATE * SECONDS))), same)[0]["kind"] == "tone"


@pytest.mark.slow
def test_a_fault_of_the_factory_is_named():
    """A worn bearing of the pump: blows through the race's resonances above 2 kHz, as the factory's physics has it."""
    clips = [draw_clip(0, "pump", "train", "source", "normal", n) for n in range(24)]
    profile = profile_of([record_clip(clip, 0, SECONDS, (6, 6)) for clip in clips])
    worn = replace(draw_clip(0, "pump", "test", "source", "anomaly", 3), fault="bearing_wear", severity=1.0)
    told = reasons(record_clip(worn, 0, SECONDS, (6, 6)), profile)
    assert {"rhythm", "louder"} & {reason["kind"] for reason in told}
    assert told[0]["high_hz"] > 2000
    healthy = replace(worn, fault=None, severity=0.0)
    assert reasons(record_clip(healthy, 0, SECONDS, (6, 6)), profile) == []
