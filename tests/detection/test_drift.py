"""Drift: what raises it, what it says, and what does not raise it."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.detection.drift.change import describe_change
from hf_asd.detection.drift.recordings import common_cause
from hf_asd.detection.drift.session_test import PERIOD, SessionTest, clip_levels
from hf_asd.detection.drift.session_test import RATE as PROMISED
from hf_asd.detection.drift.watch import Drift, DriftWatch, Session, find_trend
from hf_asd.detection.memory_bank import MemoryBank, build_memory_bank
from hf_asd.embedding.band_statistics import DECIBELS, STATISTICS_SIZE
from hf_asd.embedding.statistics import SpectralStatistics


def days(rng: np.random.Generator, count: int, clips: int = 4, shift: float = 0.0) -> list[np.ndarray]:
    """Embeddings whose levels differ by 1 dB from day to day and by 1 dB from clip to clip, in correlated bands."""
    found = []
    for _ in range(count):
        level = rng.normal(0, 1) + shift + 0.5 * rng.standard_normal(31) + rng.normal(0, 1, (clips, 1, 1))
        noise = 0.7 * rng.standard_normal((clips, 3, 31)) + level
        embeddings = rng.standard_normal((clips, STATISTICS_SIZE))
        embeddings[:, :93] = (noise - 40).reshape(clips, -1) / DECIBELS
        found.append(embeddings.astype(np.float32))
    return found


def bank_of(sessions: list[np.ndarray]) -> MemoryBank:
    numbers = np.concatenate([[number] * len(own) for number, own in enumerate(sessions)])
    rows = {
        "embedding": np.concatenate(sessions),
        "domain": ["source"] * len(numbers),
        "machine": ["fan"] * len(numbers),
    }
    rows |= {"clip_id": [f"fan/{n}" for n in range(len(numbers))], "recording_id": [f"day {n}" for n in numbers]}
    return build_memory_bank(Dataset.from_dict(rows), DetectorConfig(statistics="band_statistics"))


def session(name: str, embeddings: np.ndarray, score: float = 0.0) -> Session:
    return Session(name, embeddings, np.full(len(embeddings), score), np.full(len(embeddings), score > 2))


def test_levels_are_those_of_the_band_statistics():
    time = np.arange(RATE) / RATE
    quiet, loud = (a * np.sin(2 * np.pi * 1000 * time).astype(np.float32) for a in (0.01, 0.1))
    levels = clip_levels(SpectralStatistics()([quiet, loud]))
    assert levels.shape == (2, 3, 31)
    assert (levels[1] - levels[0]).max() == pytest.approx(20, abs=0.1)


def test_without_drift_it_is_seldom_raised_and_a_shift_is():
    rng, raised, found, p_values = np.random.default_rng(0), 0, 0, []
    for _ in range(40):
        bank = bank_of(days(rng, 6, 8))
        test = SessionTest(bank)
        results = [test.add(clip_levels(one)) for one in days(rng, 10)]
        raised += any(one.is_drift for one in results)
        p_values += [one.p_value for one in results]
        found += any(test.add(clip_levels(one)).is_drift for one in days(rng, 2, shift=8.0))
    assert raised <= 2 and found >= 38
    assert 0.05 < np.mean(np.array(p_values) < 0.1) < 0.2
    assert PERIOD == 30 and PROMISED == 0.05


def test_without_known_sessions_the_first_new_ones_are_the_usual_ones():
    rng = np.random.default_rng(1)
    one = bank_of([np.concatenate(days(rng, 6))])
    test = SessionTest(one)
    results = [test.add(clip_levels(day)) for day in days(rng, 8)]
    assert test.num_sessions == 9 and results[0].p_value is None and results[-1].p_value is not None
    assert not any(result.is_drift for result in results)
    assert any(test.add(clip_levels(day)).is_drift for day in days(rng, 2, shift=15.0))


def test_what_is_said_about_a_moved_microphone_and_a_machine():
    rng = np.random.default_rng(2)
    bank, usual, moved = bank_of(days(rng, 6, 8)), days(rng, 6), days(rng, 2, shift=-9.0)
    watch = DriftWatch("fan", bank)
    raised = [watch.add(session(f"day {n}", one, 3.0 if n >= 6 else 0.0)) for n, one in enumerate(usual + moved)]
    drift = watch.result()
    assert any(raised) and drift.is_drift and drift.since == "day 6" and drift.change is not None
    assert drift.change.cause == "recording" and drift.change.level_db == pytest.approx(-9, abs=2)
    assert drift.num_earlier == 12 and (drift.num_since, drift.num_anomalies_since) == (8, 8)
    assert drift.text().startswith(
        "DRIFT since day 6: 8 recordings of 2 sessions, 8 of them anomalous, are unlike the 12"
    )
    assert "was the microphone moved" in drift.text() and json.dumps(drift.to_dict())
    assert "most bands are quieter at once" in drift.text() and "dB, the noise floor 9 dB lower: " in drift.text()

    levels = clip_levels(np.concatenate(usual))
    band = levels.copy()
    band[:, :, 18:21] += 9
    change = describe_change(levels, band)
    assert (
        change.cause == "machine"
        and change.text.startswith("louder from 2.2 to 3.3 kHz")
        and "by up to 9 dB" in change.text
    )


def test_a_slow_rise_below_the_threshold_is_a_trend():
    rng, names = np.random.default_rng(3), [f"day {n}" for n in range(12)]
    assert find_trend(names, (rng.normal(0, 0.1, 12)).tolist(), 2.0) is None
    trend = find_trend(names, (np.linspace(0, 1.5, 12) + rng.normal(0, 0.1, 12)).tolist(), 2.0)
    assert trend is not None and 0 < trend.first < 0.4 and 1.1 < trend.last < 1.6 and trend.quarter == 3
    assert "(threshold 2) from day 0 to day 11" in trend.text() and "of at most 1 % of machines" in trend.text()
    assert find_trend(names[:4], [0.0, 0.5, 1.0, 1.5], 2.0) is None


def test_machines_that_change_at_once_are_said_first():
    drifts = [Drift(name, 6, 8, 30, True, "2026-11-12") for name in ("fan", "pump")]
    text = common_cause([*drifts, Drift("saw", 6, 8, 30, False)])
    assert text is not None and text.startswith("2 of 3 machines changed at once, since 2026-11-12")
    assert common_cause([drifts[0], Drift("saw", 6, 8, 30, False)]) is None


def test_a_detector_without_band_statistics_cannot_tell():
    bank = build_memory_bank(
        Dataset.from_dict(
            {
                "embedding": torch.randn(8, 128).tolist(),
                "domain": ["source"] * 8,
                "machine": ["fan"] * 8,
                "clip_id": [f"fan/{n}" for n in range(8)],
            }
        ),
        DetectorConfig(statistics="mean"),
    )
    with pytest.raises(ValueError, match="no band statistics"):
        SessionTest(bank)


@pytest.mark.slow
def test_drift_of_a_folder_and_as_a_line_of_monitor(tmp_path, capsys):
    rng = np.random.default_rng(4)
    for number in range(20):
        (tmp_path / "fan").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "fan" / f"{number}.wav", hum(rng), RATE)
    saved = str(AnomalyDetector(None).fit(load_folder(tmp_path / "fan")).save_pretrained(tmp_path / "detector"))
    (tmp_path / "new").mkdir()
    for day in range(9):
        gain = 0.2 if day >= 7 else 1.0
        for hour in range(4):
            time = datetime(2026, 11, 1, 8, tzinfo=UTC) + timedelta(days=day, hours=hour)
            name = tmp_path / "new" / f"{time:%Y%m%dT%H%M%SZ}.wav"
            soundfile.write(name, gain * hum(rng), RATE, subtype="FLOAT")
    assert main(["drift", saved, str(tmp_path / "new"), "--fail-on-drift", "--json", str(tmp_path / "d.json")]) == 1
    text = capsys.readouterr().out
    assert text.startswith(
        "fan: DRIFT since 2026-11-08: 8 recordings of 2 sessions, 0 of them anomalous and 8 without"
    )
    assert "most bands are quieter at once, by 1" in text
    assert json.loads((tmp_path / "d.json").read_text())["since"] == "2026-11-08"
    main(["monitor", saved, str(tmp_path / "new")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (drift,) = [line for line in lines if "drift" in line]
    assert drift["drift_since"] == "2026-11-08" and drift["drift_cause"] == "recording" and drift["severity"] == 400
    assert len(lines) == 37 and len({line["id"] for line in lines}) == 37
