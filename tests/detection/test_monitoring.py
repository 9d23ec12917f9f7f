import io
import json
import threading
import time

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AlarmPolicy, AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.detection.config import MonitorConfig
from hf_asd.detection.monitoring.monitor import monitor


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("fan"), np.random.default_rng(0)
    for clip in range(60):
        soundfile.write(folder / f"{clip:02d}.wav", hum(rng), RATE)
    return AnomalyDetector(config=DetectorConfig(false_alarm_rate=0.01)).fit(load_folder(folder))


def stream(pitches):
    rng = np.random.default_rng(1)
    return np.concatenate([hum(rng, pitch) for pitch in pitches])


def pcm(samples):
    return np.round(samples * 2**15).astype("<i2").tobytes()


def watch(detector, source, **options):
    pipe = options.pop("pipe", None)
    config = MonitorConfig(**{"window_seconds": 1.0} | options)
    return list(monitor(detector, source, config, AlarmPolicy(2, 3), pipe=pipe))


def test_a_pipe_raises_an_alarm_and_clears_it(detector):
    samples = stream([100] * 4 + [170] * 3 + [100] * 4)
    lines = watch(detector, "-", pipe=io.BytesIO(pcm(samples)), explain=True)
    assert [line["is_anomaly"] for line in lines] == [False] * 4 + [True] * 3 + [False] * 4
    assert [(line["start_s"], line["event"]) for line in lines if line["event"]] == [(5.0, "raised"), (9.0, "cleared")]
    assert [line["alarm"] for line in lines] == [False] * 5 + [True] * 4 + [False] * 2
    assert all(line["reasons"] for line in lines[4:7]) and json.dumps(lines)
    # The same as the windows one by one.
    alone = detector(np.frombuffer(pcm(samples)[:32_000], "<i2").astype(np.float32) / 2**15, RATE, explain=True)
    alone = alone.to_dict()
    assert {name: lines[0][name] for name in alone} == alone


def test_other_rates_and_channels_in_a_pipe(detector):
    samples = stream([100, 100])
    twice = np.repeat(np.repeat(samples, 2)[:, None], 2, axis=1)  # 32 kHz, two channels
    lines = watch(detector, "-", pipe=io.BytesIO(pcm(twice)), sampling_rate=32_000, channels=2)
    assert [line["end_s"] for line in lines] == [1.0, 2.0]
    lines = watch(detector, "-", pipe=io.BytesIO(pcm(samples) + b"\0"))
    assert [("error" in line) for line in lines] == [False, False, True]
    assert "within a sample: 1 of 2 bytes" in lines[-1]["error"]


def test_bad_windows_are_told_and_the_next_one_is_taken(detector):
    good, silence = hum(np.random.default_rng(2)), np.zeros(RATE, dtype=np.float32)
    clipped = np.clip(20 * good, -0.99, 0.99)
    lines = watch(detector, "-", pipe=io.BytesIO(pcm(np.concatenate([good, silence, clipped, good]))))
    assert [line["is_anomaly"] for line in lines] == [False, None, None, False]
    assert "silent" in lines[1]["abstain_reason"] and "clipped" in lines[2]["abstain_reason"]


def test_a_folder_with_unusable_files(detector, tmp_path):
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "a.wav", hum(rng), RATE)
    (tmp_path / "b.wav").write_text("no recording")
    soundfile.write(tmp_path / "c.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "d.wav", hum(rng, seconds=0.2), RATE)
    soundfile.write(tmp_path / "e.flac", hum(rng, seconds=2.6), RATE)
    (tmp_path / "notes.txt").write_text("no audio")
    lines = watch(detector, tmp_path)
    told = [(line["source"].rsplit("/")[-1], line["start_s"], line.get("error", "")[:14]) for line in lines]
    assert told == [
        ("a.wav", 0.0, ""),
        ("b.wav", 0.0, "cannot be read"),
        ("c.wav", 0.0, "holds 16000 sa"),
        ("d.wav", 0.0, "is too short, "),
        ("e.flac", 0.0, ""),
        ("e.flac", 1.0, ""),
        ("e.flac", 2.0, ""),  # more than half a window
    ]


@pytest.mark.slow
def test_a_growing_file_is_followed(detector, tmp_path):
    path, samples = tmp_path / "growing.wav", stream([100, 100, 170, 170])
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        file.write(samples[: RATE + 100])
        file.flush()

        def record():
            for start in range(RATE + 100, len(samples), RATE // 2):
                time.sleep(0.1)
                file.write(samples[start : start + RATE // 2])
                file.flush()

        recorder = threading.Thread(target=record)
        recorder.start()
        lines = watch(detector, path, wait_seconds=2.0)
        recorder.join()
    assert [line["start_s"] for line in lines] == [0.0, 1.0, 2.0, 3.0]
    assert [line["is_anomaly"] for line in lines] == [False, False, True, True]
    assert lines[-1]["event"] == "raised"


@pytest.mark.slow
def test_a_file_put_into_a_watched_folder_is_found(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_asd.detection.monitoring.arrivals.SETTLED_SECONDS", 0.2)
    monkeypatch.setattr("hf_asd.detection.monitoring.folder.POLL_SECONDS", 0.05)
    rng = np.random.default_rng(4)
    soundfile.write(tmp_path / "first.wav", hum(rng), RATE)
    lines = monitor(detector, tmp_path, MonitorConfig(window_seconds=1.0, wait_seconds=1.5))
    assert next(lines)["source"].endswith("first.wav")
    soundfile.write(tmp_path / "another.wav", hum(rng), RATE)
    assert [line["source"].rsplit("/")[-1] for line in lines] == ["another.wav"]


def test_the_command(detector, tmp_path, capsys):
    detector.save_pretrained(tmp_path / "detector")
    soundfile.write(tmp_path / "new.wav", stream([100, 170, 170]), RATE)
    command = [
        "monitor",
        str(tmp_path / "detector"),
        str(tmp_path / "new.wav"),
        "--window-seconds",
        "1",
        "--raise-at",
        "2",
    ]
    assert main(command) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["event"] for line in told.out.splitlines()] == [None, None, "raised"]
    assert told.err.splitlines()[-1] == "3 windows, 2 anomalies, 0 undecided, 1 alarm, 0 errors"
    (tmp_path / "bad.wav").write_bytes(b"")
    assert main(["monitor", str(tmp_path / "detector"), str(tmp_path / "bad.wav")]) == 2
    assert "cannot be read as audio" in json.loads(capsys.readouterr().out)["error"]
    assert main([*command[:2], "nowhere"]) == 2 and "no such file or folder" in capsys.readouterr().err
    assert main([*command, "--clear-at", "5"]) == 2 and "--clear-at is 5" in capsys.readouterr().err
