"""Another threshold for a detector that is finished."""

import json

import numpy as np
import pytest
import soundfile
from datasets import Dataset
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.detection.compact import compact
from hf_asd.detection.threshold import threshold_from


def rows(sessions=None, machines=("fan",), count=40, seed=0):
    rng, names = np.random.default_rng(seed), [name for name in machines for _ in range(count)]
    total = len(names)
    return Dataset.from_dict(
        {
            "machine": names,
            "clip_id": [f"{name}/{number}" for number, name in enumerate(names)],
            "session": (sessions or [None] * count) * len(machines),
            "embedding": rng.standard_normal((total, 296)).astype(np.float32),
        }
    )


def same(bank, other):
    np.testing.assert_array_equal(bank.normal_scores, other.normal_scores)
    found = (bank.threshold, bank.false_alarm_rate, bank.unusual_threshold)
    return found == (other.threshold, other.false_alarm_rate, other.unusual_threshold)


@pytest.mark.parametrize("sessions", [None, [f"day {number % 4}" for number in range(40)]])
@pytest.mark.parametrize("method", ["tail", "conformal"])
def test_another_threshold_is_that_of_fitting_with_its_rate(sessions, method, tmp_path):
    before = AnomalyDetector(config=DetectorConfig(threshold_method=method)).fit(rows(sessions))
    before.save_pretrained(tmp_path / "detector")
    wanted = AnomalyDetector(config=DetectorConfig(threshold_method=method, false_alarm_rate=0.2)).fit(rows(sessions))
    changed = AnomalyDetector.from_pretrained(tmp_path / "detector").set_false_alarm_rate(0.2)
    assert same(changed.machines["fan"], wanted.machines["fan"]) and changed.config == wanted.config
    assert changed.machines["fan"].threshold < before.machines["fan"].threshold
    changed.save_pretrained(tmp_path / "changed")
    assert same(AnomalyDetector.from_pretrained(tmp_path / "changed").machines["fan"], wanted.machines["fan"])
    assert same(changed.set_false_alarm_rate(0.05).machines["fan"], before.machines["fan"])


def test_each_machine_has_its_own_rate(tmp_path, capsys):
    AnomalyDetector().fit(rows(machines=("fan", "pump"))).save_pretrained(tmp_path / "both")
    before = AnomalyDetector.from_pretrained(tmp_path / "both").machines
    assert main(["threshold", str(tmp_path / "both"), "--machine", "pump", "--false-alarm-rate", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "pump: threshold" in printed and "20 % false alarms" in printed and "fan:" not in printed
    after = AnomalyDetector.from_pretrained(tmp_path / "both").machines
    assert after["fan"].threshold == before["fan"].threshold and after["pump"].threshold < before["pump"].threshold
    assert (after["fan"].config.false_alarm_rate, after["pump"].config.false_alarm_rate) == (0.05, 0.2)


def test_a_rate_that_the_recordings_cannot_promise_is_said(tmp_path, capsys):
    AnomalyDetector().fit(rows(count=10)).save_pretrained(tmp_path / "few")
    assert main(["threshold", str(tmp_path / "few"), "--false-alarm-rate", "0.01"]) == 0
    assert "1 % were asked for; that needs 100 recordings or more." in capsys.readouterr().out
    assert main(["threshold", str(tmp_path / "few"), "--machine", "pump"]) == 2
    assert "--machine is pump; this detector knows fan." in capsys.readouterr().err
    assert main(["threshold", "me/asd-fan", "--false-alarm-rate", "0.01"]) == 2
    assert "me/asd-fan: is not a folder, so that no threshold can be written there." in capsys.readouterr().err


def test_a_compact_bank_takes_another_threshold_from_its_scores():
    small = compact(AnomalyDetector().fit(rows()), num_references=15)
    scores = small.machines["fan"].normal_scores
    changed = small.set_false_alarm_rate(0.2).machines["fan"]
    np.testing.assert_array_equal(changed.normal_scores, scores)
    assert changed.threshold == threshold_from(scores, 0.2)[0]


def test_recordings_that_were_left_out_still_count_for_the_promise():
    detector = AnomalyDetector().fit(rows())
    detector.machines["fan"].num_dropped = 3
    assert detector.set_false_alarm_rate(0.1).machines["fan"].false_alarm_rate == pytest.approx((4.1 + 3) / 44)


def test_a_rate_outside_of_0_to_1_is_refused():
    with pytest.raises(ValueError, match="false_alarm_rate is 2"):
        AnomalyDetector().fit(rows()).set_false_alarm_rate(2)


def test_a_rate_for_one_run_leaves_the_detector_as_it_is(tmp_path, capsys):
    random = np.random.default_rng(2)
    for number in range(20):
        (tmp_path / "fan").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "fan" / f"{number}.wav", hum(random), RATE)
    folder = AnomalyDetector().fit(load_folder(tmp_path / "fan")).save_pretrained(tmp_path / "detector")
    before, file = (folder / "detector.json").read_bytes(), str(tmp_path / "fan" / "3.wav")
    wanted = AnomalyDetector.from_pretrained(folder).set_false_alarm_rate(0.3).machines["fan"].threshold
    assert main(["score", str(folder), file, "--false-alarm-rate", "0.3", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == wanted
    assert main(["monitor", str(folder), file, "--false-alarm-rate", "0.3"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == wanted
    assert (folder / "detector.json").read_bytes() == before
