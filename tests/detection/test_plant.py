"""Many machines in one run: false discoveries, urgency, subfolders, several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig
from hf_asd.cli import main
from hf_asd.data.plant_folder import read_plant
from hf_asd.detection.config import MonitorConfig
from hf_asd.detection.events.plant import (
    MachineSummary,
    control_false_discoveries,
    explain_false_discoveries,
    machine_summaries,
)
from hf_asd.detection.monitoring.monitor import monitor


PITCHES = {"fan": 100, "pump": 130, "Saw 2": 160}
CLIPS = 24


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A folder with normal recordings of three machines, one with new ones: the pump is faulty, the saw unlike."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    for machine, pitch in PITCHES.items():
        for kind in ("normal", "new"):
            (folder / kind / machine).mkdir(parents=True)
        for clip in range(CLIPS):
            soundfile.write(folder / "normal" / machine / f"{clip:02d}.wav", hum(rng, pitch), RATE)
        for clip in range(12):
            fault = 1.7 if machine == "pump" and clip >= 6 else 1.0
            soundfile.write(folder / "new" / machine / f"20261126T{clip:02d}0000Z.wav", hum(rng, pitch * fault), RATE)
    return folder


@pytest.fixture(scope="module")
def detector(plant):
    return AnomalyDetector(None).fit(read_plant([plant / "normal"]).dataset)


@pytest.fixture(scope="module")
def saved(detector, plant):
    return str(detector.save_pretrained(plant / "detector"))


def summary(machine: str, p_value: float) -> MachineSummary:
    return MachineSummary(machine, 0, 0, 0, 1, None, "", p_value)


def test_discoveries_are_those_of_benjamini_and_hochberg(detector):
    banks = {str(number): detector.machines["fan"] for number in range(5)}
    values = [0.6, 0.001, 0.02, 0.03, 0.045]
    # Step up by hand: 0.045 > 0.04, 0.03 <= 0.05 * 3 / 5, so the three smallest are found.
    found = control_false_discoveries([summary(str(n), p) for n, p in enumerate(values)], banks, 0.05)
    assert [one.machine for one in found if one.is_discovery] == ["1", "2", "3"]
    assert found[0].adjusted_p_value == pytest.approx(0.005)
    assert "3 of 5 machines found" in explain_false_discoveries(found, banks, 0.05)


def test_p_values_that_cannot_pass_are_refused_or_explained(plant):
    config = DetectorConfig(threshold_method="conformal", false_alarm_rate=0.1)
    banks = AnomalyDetector(None, config).fit(read_plant([plant / "normal"]).dataset).machines
    machines = [summary(machine, 1 / (CLIPS + 1)) for machine in banks]
    with pytest.raises(ValueError, match=r"smaller than 0.04 \(1 of 25\). That needs 49 normal recordings"):
        control_false_discoveries(machines, banks, 0.02)
    text = explain_false_discoveries(control_false_discoveries(machines, banks, 0.05), banks, 0.05)
    assert "3 of 3 machines found" in text  # all together
    assert "3 of them cannot be found alone: their p-values go down to 0.04" in text and "needs 0.017" in text


def test_machines_are_sorted_by_urgency(detector):
    rows = [
        {"machine": machine, "file": f"{machine}.wav", "anomaly_score": 0.0, "is_anomaly": is_anomaly, "p_value": 0.5}
        | {"since": None, "severity": severity, "time": "2026"}
        for machine, is_anomaly, severity in (("fan", False, 0), ("pump", True, 700), ("Saw 2", None, 200))
    ]
    found = machine_summaries(rows, detector.machines)
    assert [(one.machine, one.num_anomalies, one.num_undecided) for one in found] == [
        ("pump", 1, 0),
        ("Saw 2", 0, 1),
        ("fan", 0, 0),
    ]
    assert found[1].p_value == 1


@pytest.mark.slow
def test_score_of_a_plant(saved, plant, capsys, tmp_path):
    command = ["score", saved, str(plant / "new"), "--machines", "--fdr", "0.05", "--fail-on-anomaly"]
    assert main(command) == 1
    printed = capsys.readouterr().out
    table = printed[printed.index("machines, the most urgent first:") :].splitlines()
    assert table[2].split()[1] == "pump" and "6 of 12" in table[2] and "2026-11-26 06:00:00" in table[2]
    assert table[2].endswith("FOUND") and "1 of 3 machines found at a false-discovery rate of 5 %" in table[-1]
    (tmp_path / "other" / "lathe").mkdir(parents=True)
    soundfile.write(tmp_path / "other" / "lathe" / "a.wav", hum(np.random.default_rng(1)), RATE)
    assert main(["score", saved, str(tmp_path / "other"), "--machines"]) == 2
    assert "is of lathe by its subfolder; this detector knows Saw 2, fan, pump" in capsys.readouterr().err
    assert main(["score", saved, str(plant), "--machines", "--machine", "fan"]) == 2


@pytest.mark.slow
def test_two_processes_write_what_one_writes(saved, plant, tmp_path, capsys):
    command = ["score", saved, str(plant / "new"), "--machines", "--fdr", "0.1", "--json"]
    assert main([*command, str(tmp_path / "one.json")]) == 0
    # It starts torchrun, without a GPU too; with --cpu it would start one process.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "hf_asd"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    two = [sys.executable, *launch, *command, str(tmp_path / "two.json")]
    done = subprocess.run(two, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = [(tmp_path / f"{name}.json").read_text() for name in ("one", "two")]
    assert capsys.readouterr().out.replace("one.json", "two.json") == done.stdout
    assert results[0] == results[1] and len(results[0].splitlines()) == 36


def test_monitor_of_a_plant_has_an_alarm_for_each_machine(detector, plant, tmp_path):
    lines = list(monitor(detector, plant / "new", MonitorConfig(machines=True)))
    raised = [line["machine"] for line in lines if line["event"] == "raised"]
    assert len(lines) == 36 and raised == ["pump"]
    alarms = {line["machine"] for line in lines if line["alarm"]}
    assert alarms == {"pump"}  # the normal ones between do not clear it
    (tmp_path / "lathe").mkdir()
    for place in (tmp_path / "lathe", tmp_path):
        soundfile.write(place / "a.wav", hum(np.random.default_rng(1)), RATE)
    errors = [line["error"] for line in monitor(detector, tmp_path, MonitorConfig(machines=True))]
    assert "lies in no subfolder" in errors[0] and "is of lathe by its subfolder" in errors[1]
    with pytest.raises(ValueError, match="machines is given; it is for a folder"):
        monitor(detector, plant / "new", MonitorConfig(machines=True), machine="fan")


@pytest.mark.slow
def test_monitor_ends_with_a_summary_by_urgency(saved, plant, capsys):
    assert main(["monitor", saved, str(plant / "new"), "--machines"]) == 0
    shown = capsys.readouterr()
    assert len([json.loads(line) for line in shown.out.splitlines()]) == 36
    table = shown.err[shown.err.index("machines, the most urgent first:") :].splitlines()
    assert "pump" in table[1] and "alarm since 2026-11-26 06:00:00 UTC" in table[1] and len(table) == 4
