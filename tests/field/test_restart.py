"""`monitor --state` killed and started again: the same events and days as without the break."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AlarmPolicy, AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.detection.config import MonitorConfig
from hf_asd.detection.monitoring.monitor import monitor


DAYS = 9


def squeal(rng: np.random.Generator) -> np.ndarray:
    return hum(rng) + (0.05 * np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A detector, and recordings of nine days; on the fifth and sixth a squeal, which is an alarm and drift."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    for number in range(24):
        (folder / "fan").mkdir(exist_ok=True)
        soundfile.write(folder / "fan" / f"{number:02d}.wav", hum(rng), RATE)
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    (folder / "new").mkdir()
    for day in range(DAYS):
        for hour in range(3):
            sound = np.concatenate([squeal(rng) if day in (4, 5) else hum(rng) for _ in range(2)])
            time = datetime(2026, 11, 1 + day, 8 + hour)
            name = f"fan_{time:%Y%m%dT%H%M%SZ}.wav"
            soundfile.write(folder / "new" / name, sound, RATE)
    return folder


@pytest.fixture(scope="module")
def detector(plant):
    return AnomalyDetector.from_pretrained(plant / "detector")


def lines_of(detector, plant, **options):
    config = MonitorConfig(window_seconds=1.0, **options)
    return monitor(detector, plant / "new", config, AlarmPolicy(2, 3), name=str(plant / "detector"))


@pytest.fixture(scope="module")
def unbroken(detector, plant):
    return list(lines_of(detector, plant))


def once(lines: list[dict]) -> list[dict]:
    """As a receiver that drops what comes twice; lines with one id have to be the same but for the clock."""
    found: dict[str, dict] = {}
    for line in lines:
        before = found.setdefault(line["id"], line)
        assert before == line or (line["time_from"] == "clock" and "drift" in line)
    return list(found.values())


def test_the_example_has_an_alarm_and_drift(unbroken):
    assert [line["event"] for line in unbroken if line.get("event")] == ["raised", "cleared"]
    (raised,) = [line for line in unbroken if line.get("event") == "raised"]
    assert raised["since"].startswith("2026-11-05T08:00:00")
    assert {line["event_id"] for line in unbroken if line.get("alarm")} == {raised["event_id"]}
    assert [line["drift_since"] for line in unbroken if "drift" in line] == ["2026-11-05"]


@pytest.mark.parametrize("after", [5, 29])
def test_a_monitor_that_is_started_again_and_again_says_the_same(detector, plant, unbroken, tmp_path, after):
    lines, is_done = [], False
    while not is_done:
        running = lines_of(detector, plant, state=tmp_path / "state")
        part = [line for line, _ in zip(running, range(after), strict=False)]
        is_done = len(part) < after
        lines += part
        running.close()  # as a kill: nothing is written any more
    assert once(lines) == unbroken


@pytest.mark.slow
def test_a_monitor_that_is_killed_goes_on_with_its_event(plant, unbroken, tmp_path, capsys):
    options = ["--state", str(tmp_path / "state"), "--window-seconds", "1", "--raise-at", "2", "--of-last", "3"]
    command = ["monitor", str(plant / "detector"), str(plant / "new"), *options]
    process = subprocess.Popen([sys.executable, "-m", "hf_asd", *command], stdout=subprocess.PIPE, text=True)
    first = [json.loads(process.stdout.readline()) for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first[-1]["alarm"], "it was killed during an alarm"
    first += [json.loads(line) for line in process.stdout.read().splitlines() if line.endswith("}")]
    process.stdout.close()
    assert main(command) == 0
    rest = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert once(first + rest) == unbroken
    (cleared,) = [line for line in rest if line.get("event") == "cleared"]
    assert cleared["event_id"] == first[29]["event_id"] and cleared["since"] == first[29]["since"]


def test_another_version_of_the_detector_begins_anew(detector, plant, unbroken, tmp_path):
    running = lines_of(detector, plant, state=tmp_path / "state")
    part = [line for line, _ in zip(running, range(30), strict=False)]
    running.close()
    assert part[-1]["alarm"]
    stricter = AnomalyDetector.from_pretrained(plant / "detector").set_false_alarm_rate(0.2)
    first = next(lines_of(stricter, plant, state=tmp_path / "state"))
    assert first["detector_version"] != part[-1]["detector_version"]
    assert not first["alarm"] or first["event"] == "raised"


def test_a_state_that_was_cut_off_or_is_something_else(detector, plant, unbroken, tmp_path):
    state = tmp_path / "state"
    running = lines_of(detector, plant, state=state)
    part = [line for line, _ in zip(running, range(30), strict=False)]
    running.close()
    written = state.read_text()
    assert "levels" in written and len(written) < 40_000  # less than 1 kB for each recording
    state.write_text(written[:-200])  # the computer stopped while the last line was written
    assert once(part + list(lines_of(detector, plant, state=state))) == unbroken
    state.write_text(json.dumps({"memory": [{"version": part[0]["detector_version"], "events": 3, "days": {}}]}))
    with pytest.raises(ValueError, match="holds alarms and days that cannot be read. Give it a file of its own"):
        next(lines_of(detector, plant, state=state))
    assert os.path.getsize(state)  # it is left as it was


def test_a_day_that_is_looked_at_twice_has_one_line_of_drift(detector, plant, unbroken, tmp_path):
    lines = list(lines_of(detector, plant, state=tmp_path / "state"))
    again = list(lines_of(detector, plant, state=tmp_path / "state"))
    assert once(lines) == unbroken
    assert {line["id"] for line in again} <= {line["id"] for line in lines}
