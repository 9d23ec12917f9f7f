"""New normal recordings for a detector that is finished, and old ones taken out."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.detection.compact import compact
from hf_asd.detection.learning import in_order
from hf_asd.files import read_json


DAYS = ("2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Four days of twelve recordings of a fan: the second has a copy, a long one and a clipped one."""
    folder, rng = tmp_path_factory.mktemp("plant") / "fan", np.random.default_rng(5)
    for number, day in enumerate(DAYS):
        (folder / day).mkdir(parents=True)
        for clip in range(12):
            sound = hum(rng, pitch=100 + 0.3 * rng.standard_normal()) * 10 ** ((number - 1) / 20)
            soundfile.write(folder / day / f"{clip:02}.wav", sound, RATE)
    shutil.copy(folder / DAYS[0] / "03.wav", folder / DAYS[1] / "copy.wav")
    soundfile.write(folder / DAYS[1] / "long.wav", hum(rng, seconds=6.5), RATE)
    soundfile.write(folder / DAYS[1] / "loud.wav", np.clip(40 * hum(rng), -0.99, 0.99), RATE)
    return folder


@pytest.fixture(scope="module")
def rows(plant):
    return load_folder(plant)["train"]


def of_days(rows, *days):
    return rows.select([row for row, session in enumerate(rows["session"]) if session in days])


def fitted(rows, **config):
    return AnomalyDetector(config=DetectorConfig(**config)).fit(rows, window_seconds=2)


@pytest.fixture(scope="module")
def everything(rows):
    return fitted(rows)


@pytest.fixture(scope="module")
def early(rows, tmp_path_factory):
    """A detector of the first two days on disk."""
    folder = tmp_path_factory.mktemp("early") / "detector"
    fitted(of_days(rows, *DAYS[:2])).save_pretrained(folder)
    return folder


def same(detector, other):
    """Everything that decides, to the last bit."""
    assert detector.machines.keys() == other.machines.keys() == detector.profiles.keys() == other.profiles.keys()
    assert detector.training_summary == other.training_summary
    for machine, bank in detector.machines.items():
        wanted = other.machines[machine]
        np.testing.assert_array_equal(bank.normal_scores, wanted.normal_scores)
        assert (bank.threshold, bank.false_alarm_rate) == (wanted.threshold, wanted.false_alarm_rate)
        assert (bank.clip_ids, bank.sessions, bank.num_dropped) == (
            wanted.clip_ids,
            wanted.sessions,
            wanted.num_dropped,
        )
        np.testing.assert_array_equal(bank.recordings, wanted.recordings)
        for domain, vectors in bank.embeddings.items():
            np.testing.assert_array_equal(vectors.numpy(), wanted.embeddings[domain].numpy())
        queries = 1.01 * vectors[:7]
        np.testing.assert_array_equal(bank.scorer.score(queries).numpy(), wanted.scorer.score(queries).numpy())
        for name, values in detector.profiles[machine].summaries.items():
            np.testing.assert_array_equal(values, other.profiles[machine].summaries[name])
    return True


def test_adding_is_fitting_to_all_at_once(early, everything, rows, tmp_path):
    detector = AnomalyDetector.from_pretrained(early)
    assert not np.array_equal(detector.machines["fan"].normal_scores, everything.machines["fan"].normal_scores)
    for day in DAYS[2:]:
        detector.add(of_days(rows, day))
        detector.save_pretrained(tmp_path / "detector")
        detector = AnomalyDetector.from_pretrained(tmp_path / "detector")
    assert same(detector, everything)
    again = AnomalyDetector.from_pretrained(early).add(of_days(rows, *DAYS[2:]))
    assert same(again, everything) and again.findings == everything.findings
    assert everything.findings["fan"].copies == {f"{DAYS[1]}/copy.wav": f"{DAYS[0]}/03.wav"}
    assert f"{DAYS[1]}/loud.wav" in everything.findings["fan"].left_out


def test_adding_with_outliers_left_out_is_fitting_to_all_at_once(rows):
    wanted = fitted(rows, drop_outliers=True)
    assert same(fitted(of_days(rows, DAYS[0]), drop_outliers=True).add(of_days(rows, *DAYS[1:])), wanted)


def test_profiles_of_many_clips_are_those_of_all_at_once(rows, monkeypatch):
    monkeypatch.setattr("hf_asd.detection.explanation.normal_profile.MAXIMUM_CLIPS", 10)
    assert same(fitted(of_days(rows, *DAYS[:2])).add(of_days(rows, *DAYS[2:])), fitted(rows))


def test_old_recordings_may_be_gone_and_only_new_ones_are_heard(plant, early, everything, tmp_path):
    new = tmp_path / "fan"
    shutil.copytree(plant / DAYS[2], new / DAYS[2])
    shutil.copytree(plant / DAYS[3], new / DAYS[3])
    heard = []
    detector = AnomalyDetector.from_pretrained(early)
    encoder = detector.encoder
    detector.encoder = type(
        "Counting", (), {"__call__": lambda _, clips: heard.extend(clips) or encoder(clips), "dimensions": 296}
    )()
    detector.add(load_folder(new)["train"])
    assert len(heard) == 24 and same(detector, everything)


def test_forgetting_a_session_is_never_having_heard_it(everything, rows, tmp_path):
    everything.save_pretrained(tmp_path / "detector")
    wanted = fitted(of_days(rows, DAYS[0], *DAYS[2:]))
    assert same(AnomalyDetector.from_pretrained(tmp_path / "detector").forget(DAYS[1]), wanted)
    last = AnomalyDetector.from_pretrained(tmp_path / "detector").keep_last(2)
    assert same(last, fitted(of_days(rows, *DAYS[2:])))
    with pytest.raises(ValueError, match=f"session '2025-01-01' is not known; this detector learned from {DAYS[2]}"):
        last.forget("2025-01-01")
    with pytest.raises(ValueError, match="no normal recordings of fan would be left"):
        last.forget(*DAYS[2:])
    with pytest.raises(ValueError, match="keep_last is 0; accepted is 1 or more"):
        last.keep_last(0)
    assert same(last, fitted(of_days(rows, *DAYS[2:])))


def test_the_last_sessions_are_the_latest_days_else_those_that_were_learned_last():
    assert in_order(["2026-11-21", "2025-12-01"]) == ["2025-12-01", "2026-11-21"]
    assert in_order(["tuesday", "monday"]) == ["tuesday", "monday"]


def test_the_manifest_says_session_and_day_of_each_clip(early, rows):
    saved = read_json(early / "detector.json")["machines"]["fan"]
    assert len(saved["sessions"]) == len(saved["added"]) == saved["num_normal_scores"]
    assert set(saved["sessions"]) == set(DAYS[:2]) and set(saved["added"]) == {time.strftime("%Y-%m-%d")}


def test_a_new_recording_with_an_old_name_is_another_one(early, plant, tmp_path):
    new = tmp_path / "fan" / DAYS[0]
    shutil.copytree(plant / DAYS[3], new)
    bank = AnomalyDetector.from_pretrained(early).add(load_folder(tmp_path / "fan")["train"]).machines["fan"]
    names = [name for names in bank.clip_ids.values() for name in names]
    assert len(set(names)) == len(names) and f"fan/{DAYS[0]}/00.wav ({time.strftime('%Y-%m-%d')})" in names


def test_the_same_recordings_again_are_copies(early, plant):
    detector = AnomalyDetector.from_pretrained(early)
    before = detector.machines["fan"].normal_scores
    detector.add(of_days(load_folder(plant)["train"], DAYS[0]))
    np.testing.assert_array_equal(detector.machines["fan"].normal_scores, before)
    assert len(detector.findings["fan"].copies) == 13


def test_a_rate_that_was_set_stays(early, rows):
    detector = AnomalyDetector.from_pretrained(early).set_false_alarm_rate(0.2)
    assert same(detector.add(of_days(rows, *DAYS[2:])), fitted(rows, false_alarm_rate=0.2))


def test_detectors_that_did_not_keep_their_clips_say_so(early, rows):
    small = compact(AnomalyDetector.from_pretrained(early), "float16")
    with pytest.raises(ValueError, match="it is compact, or was fitted to embeddings"):
        small.add(of_days(rows, DAYS[2]))


@pytest.mark.slow
def test_a_killed_update_leaves_the_old_detector_whole(early, plant, tmp_path):
    """At whatever moment: loading finds the old or the new one."""
    folder = tmp_path / "detector"
    shutil.copytree(early, folder)
    (folder / "notes.txt").write_text("of the user")
    code = (
        "import sys, time; from hf_asd import AnomalyDetector, load_folder\n"
        "detector = AnomalyDetector.from_pretrained(sys.argv[1]).add(load_folder(sys.argv[2])['train'])\n"
        "print('saving', flush=True)\n"
        "while True: detector.save_pretrained(sys.argv[1]); time.sleep(1)\n"  # so that a reader finds a moment
    )
    new = tmp_path / "fan"
    shutil.copytree(plant / DAYS[2], new / DAYS[2])
    command = [sys.executable, "-c", code, str(folder), str(new)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"saving\n"
            sizes = {len(AnomalyDetector.from_pretrained(folder).machines["fan"].normal_scores) for _ in range(4)}
        finally:
            process.send_signal(signal.SIGKILL)
    sizes.add(len(AnomalyDetector.from_pretrained(folder).machines["fan"].normal_scores))
    old = len(AnomalyDetector.from_pretrained(early).machines["fan"].normal_scores)
    assert sizes <= {old, old + 12}
    assert (folder / "notes.txt").read_text() == "of the user"


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_the_command_adds_and_takes_out(early, plant, tmp_path, capsys):
    new = tmp_path / "new"
    shutil.copytree(plant / DAYS[2], new)
    output = str(tmp_path / "detector")
    assert main(["fit", "--add", str(early), str(new), "--session", DAYS[2], "--output", output]) == 0
    printed = capsys.readouterr().out
    assert f"3 sessions ({DAYS[0]}, {DAYS[1]}, {DAYS[2]})" in printed
    assert (tmp_path / "detector" / "report.html").is_file()
    bank = AnomalyDetector.from_pretrained(output).machines["fan"]
    assert sorted(set(bank.sessions)) == list(DAYS[:3])
    assert main(["fit", "--add", output, "--forget", DAYS[1], "--output", output]) == 0
    assert set(AnomalyDetector.from_pretrained(output).machines["fan"].sessions) == {DAYS[0], DAYS[2]}
    assert "fan: 24 normal clips, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "x"], "the folder of normal recordings is missing: hf-asd fit FOLDER --output DETECTOR."),
        (["--add", "D", "--output", "x"], "the folder of new normal recordings is missing: hf-asd fit --add DETECTOR"),
        (["F", "--forget", "a", "--output", "x"], "--forget is given, but it would not be used: name the detector"),
        (["F", "--add", "D", "--preset", "fast", "--output", "x"], "the detector of --add keeps its options. Leave"),
        (
            ["F", "--add", "D", "--false-alarm-rate", "0.1", "--output", "x"],
            "Set it afterwards: hf-asd threshold x --false-alarm-rate 0.1.",
        ),
    ],
)
def test_options_that_an_update_would_not_use_are_refused(words, message, capsys):
    assert main(["fit", *words]) == 2
    assert message in capsys.readouterr().err
