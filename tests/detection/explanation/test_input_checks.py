from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.clipping import clipped_share
from hf_asd.audio.reading import read_clip
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS = 16_000, 4.0


def clip(number, split="test", condition="normal", snr_db=6.0, fault=None, **kwargs):
    drawn = draw_clip(0, "pump", split, "source", condition, number)
    if fault is not None:
        drawn = replace(drawn, fault=fault, severity=1.0)
    return record_clip(drawn, 0, SECONDS, (snr_db, snr_db), **kwargs)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "pump"
    folder.mkdir()
    for number in range(24):
        soundfile.write(folder / f"{number}.wav", clip(number, "train"), RATE)
    return AnomalyDetector().fit(load_folder(folder))


def abstain_reason(detector, samples, rate=RATE):
    result = detector(samples.astype(np.float32), rate)
    assert (result.is_anomaly is None) == (result.abstain_reason is not None)
    return result.abstain_reason or ""


def test_normal_clips_and_faults_are_decided(detector):
    assert [abstain_reason(detector, clip(number)) for number in range(6)] == [""] * 6
    for fault in MACHINES["pump"].faults:
        assert abstain_reason(detector, clip(0, condition="anomaly", fault=fault)) == ""


def test_unfit_recordings_are_not(detector):
    samples = clip(0)
    assert abstain_reason(detector, np.zeros(RATE)).startswith("silent")
    assert abstain_reason(detector, np.clip(30 * samples, -0.9, 0.9)).startswith("clipped")
    assert abstain_reason(detector, soxr.resample(samples, RATE, 8000), 8000).startswith("nothing above 3.9 kHz")
    off = [abstain_reason(detector, clip(number, snr_db=9.0, is_running=False)) for number in range(4)]
    assert all(text.startswith("machine off: quieter than every normal clip, by ") for text in off)


def test_a_machine_that_is_off_is_the_background_at_the_same_gain():
    on, off = clip(3, snr_db=6.0), clip(3, snr_db=6.0, is_running=False)
    level = 10 * np.log10(np.mean(np.square(off)) / np.mean(np.square(on)))
    assert level == pytest.approx(-10 * np.log10(1 + 10**0.6), abs=0.5)


def test_a_detector_of_8_khz_recordings_refuses_more(tmp_path):
    (tmp_path / "pump").mkdir()
    for number in range(8):
        low = soxr.resample(clip(number, "train"), RATE, 8000)
        soundfile.write(tmp_path / "pump" / f"{number}.wav", low, 8000)
    detector = AnomalyDetector().fit(load_folder(tmp_path / "pump"))
    assert abstain_reason(detector, soxr.resample(clip(0), RATE, 8000), 8000) == ""
    assert abstain_reason(detector, clip(0)).startswith("sound above 3.9 kHz, where the normal clips hold nothing")


def test_clipping_is_seen_before_resampling(tmp_path):
    samples = soxr.resample(clip(1), RATE, 48_000)
    for name, content in (("whole", samples), ("clipped", np.clip(30 * samples, -0.9, 0.9))):
        soundfile.write(tmp_path / f"{name}.wav", content, 48_000, subtype="PCM_24")
    assert read_clip(tmp_path / "whole.wav").clipped_share == 0
    clipped = read_clip(tmp_path / "clipped.wav")
    assert clipped.clipped_share > 0.05 and clipped_share(clipped.samples) < clipped.clipped_share / 10
    tone = np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE)
    assert clipped_share(np.round(tone * 2**15) / 2**15) < 0.001 < clipped_share(np.clip(tone, -0.9, 0.9))
    assert clipped_share(np.zeros(100)) == 0


def test_mild_clipping_is_seen_and_unclipped_sounds_are_not():
    """One sample in a hundred cut off, at whatever level, and what else has many samples at its extreme."""
    rng, time = np.random.default_rng(0), np.arange(10 * RATE) / RATE
    hiss, hum = rng.standard_normal(len(time)), np.sin(2 * np.pi * 50 * time)
    for sound in (hiss, hum + 0.3 * hiss, clip(1), rng.laplace(size=len(time))):
        top = np.quantile(np.abs(sound), 0.99)
        for level in (0.99, 0.1):
            for cut in (np.clip(sound, -top, top), np.clip(sound, -np.inf, np.quantile(sound, 0.99))):
                cut = np.round(cut * level / np.abs(cut).max() * 2**15) / 2**15
                assert clipped_share(cut) == pytest.approx(0.01, rel=0.05)
            for step in (2.0**-7, 2.0**-15, 2.0**-23):
                assert clipped_share(np.round(sound * level / np.abs(sound).max() / step) * step) < 0.001
    for hertz in (20, 50, 440, 1000, 2500):
        for level in (1.0, 0.01, 0.001):
            tone = level * np.sin(2 * np.pi * hertz * time)
            assert clipped_share(tone) == clipped_share(np.round(tone * 2**15) / 2**15) == 0


def test_a_dataset_is_checked_unless_it_is_switched_off(detector, tmp_path):
    (tmp_path / "new").mkdir()
    soundfile.write(tmp_path / "new" / "good.wav", clip(2), RATE)
    soundfile.write(tmp_path / "new" / "silent.wav", np.zeros(RATE), RATE)
    rows = load_folder(tmp_path / "new", to_score=True)["test"]
    scored = detector.score(rows, explain=True)
    assert scored["is_anomaly"][:] == [False, None]
    assert scored["abstain_reason"][0] is None
    assert [reason["text"] for reason in scored["reasons"][1]] == [scored["abstain_reason"][1]]
    unchecked = detector.score(rows.select([0]), check_input=False)
    assert unchecked["abstain_reason"][:] == [None] and unchecked["reasons"][:] == [None]


def test_what_normal_clips_sound_like_travels_with_the_detector(detector, tmp_path):
    again = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "detector"))
    faulty = clip(1, condition="anomaly", fault="cavitation")
    assert again(faulty, RATE, explain=True) == detector(faulty, RATE, explain=True)
    assert again(clip(2), RATE, explain=True) == detector(clip(2), RATE, explain=True)
    size = (tmp_path / "detector" / "normal_profiles.safetensors").stat().st_size
    assert size < 24 * 1600  # bytes a normal clip
