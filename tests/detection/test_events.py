"""Times, events and severities of decisions, and the schema of the lines that carry them."""

import io
import json
import os
from datetime import UTC, datetime, timedelta

import jsonschema
import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AlarmPolicy, AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.data.recording_time import parse_time, recording_start, time_in_name, time_text
from hf_asd.detection.config import MonitorConfig
from hf_asd.detection.events.lines import DetectorName, line_schema
from hf_asd.detection.events.severity import alarm_severity, anomaly_severity, deviation_part, duration_part
from hf_asd.detection.monitoring.monitor import monitor


NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    recordings, rng = tmp_path_factory.mktemp("all") / "fan", np.random.default_rng(0)
    recordings.mkdir()
    for clip in range(24):
        soundfile.write(recordings / f"{clip:02d}.wav", hum(rng), RATE)
    return AnomalyDetector(None).fit(load_folder(recordings))


def check(lines: list[dict]) -> None:
    schema = line_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for line in lines:
        validator.validate(json.loads(json.dumps(line)))


def stream(pitches: list[int]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([hum(rng, pitch) for pitch in pitches])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pump_20261126T143005Z.wav", "2026-11-26T14:30:05.000Z"),
        ("2026-11-26_14-30-05+01:00.wav", "2026-11-26T13:30:05.000Z"),
        ("2026-11-26 14.30.wav", "2026-11-26T14:30:00.000Z"),
        ("REC_20261126143005_ch1.wav", "2026-11-26T14:30:05.000Z"),
        ("20261126-143005.250.wav", "2026-11-26T14:30:05.250Z"),
        ("2026-11-26.wav", None),
        ("20261326143005.wav", None),
        ("serial_99202611261430051.wav", None),
    ],
)
def test_the_time_in_a_name(name, expected, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    __import__("time").tzset()
    found = time_in_name(name)
    assert (None if found is None else time_text(found)) == expected


def test_without_a_time_in_the_name_the_file_ended_when_it_was_last_modified(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"")
    os.utime(file, (NOON.timestamp(), NOON.timestamp()))
    assert recording_start(file, 10.0) == (NOON - timedelta(seconds=10), "modified")
    assert recording_start(tmp_path / "none.wav", 10.0) is None
    assert parse_time("2026-11-26T13:00:00+01:00") == NOON
    with pytest.raises(ValueError, match="accepted is a date with a time"):
        parse_time("noon")


def test_severities_keep_to_the_bands_of_opc_ua():
    assert deviation_part(0.05, 0.05) == 0 and deviation_part(5e-5, 0.05) == pytest.approx(1)
    assert deviation_part(0.0, 0.05) == 1 and deviation_part(0.5, 0.05) == 0
    assert duration_part(10) == 0 and duration_part(86_400) == 1 and duration_part(1e9) == 1
    assert [anomaly_severity(part) for part in (0, 1)] == [334, 499]
    assert [alarm_severity(*given) for given in ((0, 0), (1, 0), (0, 86_400), (1, 86_400))] == [500, 750, 750, 1000]


def test_an_event_has_one_id_from_raised_to_cleared_and_a_beginning(detector):
    samples = stream([100] * 3 + [170] * 4 + [100] * 4 + [170] * 3)
    pcm = np.round(samples * 2**15).astype("<i2").tobytes()
    config = MonitorConfig(window_seconds=1.0, start="2026-11-26T12:00:00Z")
    lines = list(monitor(detector, "-", config, AlarmPolicy(2, 3), pipe=io.BytesIO(pcm), name="det"))
    check(lines)
    again = list(monitor(detector, "-", config, AlarmPolicy(2, 3), pipe=io.BytesIO(pcm), name="det"))
    assert again == lines and len({line["id"] for line in lines}) == len(lines)  # the same sound, the same lines
    assert [line["time"][11:19] for line in lines[:3]] == ["12:00:00", "12:00:01", "12:00:02"]
    events = {line["event"]: line for line in lines[:11] if line["event"]}
    raised, cleared = events["raised"], events["cleared"]
    assert raised["start_s"] == 4 and raised["since"] == "2026-11-26T12:00:03.000Z"
    inside = [line for line in lines if raised["time"] <= line["time"] <= cleared["time"]]
    assert {(line["event_id"], line["since"]) for line in inside} == {(raised["event_id"], raised["since"])}
    outside = [line for line in lines if line["time"] > cleared["time"] and not line["alarm"]]
    assert all(line["event_id"] is None and line["since"] is None for line in [*lines[:4], *outside])
    assert lines[-1]["event_id"] not in (None, raised["event_id"])
    assert lines[0]["severity"] in (0, 150) and 334 <= lines[3]["severity"] < 500 <= raised["severity"] <= 1000
    severities = [line["severity"] for line in inside]
    assert severities[:-1] == sorted(severities[:-1]) and severities[-1] == 0  # while it stands; cleared
    assert lines[0]["detector"] == "det" and lines[0]["machine"] == "fan" and lines[0]["time_from"] == "start"


def test_lines_about_what_cannot_be_read_or_decided_follow_the_schema(detector, tmp_path):
    soundfile.write(tmp_path / "20261126T120000Z.wav", np.zeros(RATE), RATE)
    (tmp_path / "20261126T120100Z.wav").write_bytes(b"no sound")
    lines = list(monitor(detector, tmp_path, MonitorConfig(window_seconds=1.0)))
    check(lines)
    assert [line["severity"] for line in lines] == [200, 300]
    assert [line["time"] for line in lines] == ["2026-11-26T12:00:00.000Z", "2026-11-26T12:01:00.000Z"]


def test_the_version_changes_with_what_a_decision_depends_on(detector):
    before = DetectorName.of(detector).version
    bank = detector.machines["fan"]
    bank.threshold += 1
    try:
        assert DetectorName.of(detector).version != before
    finally:
        bank.threshold -= 1
    assert DetectorName.of(detector).version == before


@pytest.mark.slow
def test_recordings_in_a_row_are_one_event_of_score(detector, tmp_path, capsys):
    saved, new = str(detector.save_pretrained(tmp_path / "detector")), tmp_path / "new"
    new.mkdir()
    rng = np.random.default_rng(2)
    for hour, pitch in enumerate([170, 100, 170, 170, 100]):
        # Names in another order than times.
        soundfile.write(new / f"{9 - hour} 20261126T{hour:02d}0000Z.wav", hum(rng, pitch), RATE)
    command = ["score", saved, str(new), "--json", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv")]
    assert main(command) == 0
    lines = [json.loads(line) for line in open(tmp_path / "out.json")]
    check(lines)
    lines.sort(key=lambda line: line["time"])
    assert [line["event"] for line in lines] == ["raised", "cleared", "raised", None, "cleared"]
    ids = [line["event_id"] for line in lines]
    assert ids[0] == ids[1] != ids[2] and ids[2] == ids[3] == ids[4]
    assert [line["since"][11:13] for line in lines] == ["00", "00", "02", "02", "02"]
    assert lines[3]["severity"] > lines[2]["severity"] >= 500 and lines[0]["detector"] == saved
    header = open(tmp_path / "out.csv").readline().strip().split(",")
    assert header == list(lines[0])
    assert main([*command[:2], str(new / "5 20261126T040000Z.wav"), "--start", "yesterday"]) == 2
    assert "--start is 'yesterday'" in capsys.readouterr().err
    assert main([*command[:3], "--start", "2026-11-26T00:00"]) == 2
    assert "for 5 recordings; it is for one" in capsys.readouterr().err
