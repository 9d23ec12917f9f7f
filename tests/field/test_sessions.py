"""Recordings of several days: which session each is of, and what the promise is worth for a new one."""

import os
from datetime import datetime

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from sounds import RATE, hum

from hf_asd import AnomalyDetector, ScoringConfig, load_folder
from hf_asd.cli import main
from hf_asd.data.names import date_in
from hf_asd.detection.compact import compact
from hf_asd.detection.memory_bank import build_memory_bank
from hf_asd.detection.threshold import recording_weights


MAHALANOBIS = ScoringConfig(backends=("mahalanobis",))


def touch(folder, *names):
    """Recordings that are never opened."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"RIFF")
    return folder


def set_times(folder, times):
    for name, time in times.items():
        seconds = datetime.fromisoformat(time).timestamp()
        os.utime(folder / name, (seconds, seconds))


def sessions_of(folder):
    rows = load_folder(folder)["train"]
    return dict(zip((name.partition("/")[2] for name in rows["clip_id"]), rows["session"], strict=True))


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("pump_20261120-101500_ch1", "2026-11-20"),
        ("2026-11-20T10-15-00Z", "2026-11-20"),
        ("20261120101500", "2026-11-20"),
        ("261120_0034", "2026-11-20"),
        ("REC 20.11.2026", "2026-11-20"),
        ("11-25-2026_a", "2026-11-25"),
        ("rec_2026-02-30", None),
        ("normal_id_00_00000123", None),
        ("0001", None),
        ("week 47", None),
    ],
)
def test_the_day_in_the_name_of_a_recording(name, day):
    assert (date_in(name) and date_in(name).isoformat()) == day


def test_days_in_file_names_are_sessions_and_folders_and_tables_win(tmp_path):
    names = ("a_20261120-101500.wav", "a_20261120-230000.wav", "a_20261121-000500.wav")
    assert sessions_of(touch(tmp_path / "pump", *names)) == dict(
        zip(names, ["2026-11-20", "2026-11-20", "2026-11-21"], strict=True)
    )
    folders = [f"{folder}/{name}" for folder, name in zip(("day1", "day1", "day2"), names, strict=True)]
    assert list(sessions_of(touch(tmp_path / "fan", *folders)).values()) == ["day1", "day1", "day2"]
    table = touch(tmp_path / "valve", *names)
    (table / "metadata.csv").write_text("file_name,session\n" + "".join(f"{name},early\n" for name in names))
    assert set(sessions_of(table).values()) == {"early"}


def test_a_folder_of_which_some_names_have_no_day_says_nothing(tmp_path):
    names = ("a/20261120_1.wav", "a/note.wav", "b/20261121_1.wav")
    assert sessions_of(touch(tmp_path / "fan", *names)) == {names[0]: None, names[1]: None, names[2]: "2026-11-21"}


def test_times_of_files_are_sessions_unless_they_are_those_of_copying(tmp_path, capsys):
    names = [f"{number}.wav" for number in range(4)]
    folder = touch(tmp_path / "fan", *names)
    recorded = ["2026-11-20 10:00:00", "2026-11-20 10:00:12", "2026-11-21 09:00:00", "2026-11-21 09:00:12"]
    set_times(folder, dict(zip(names, recorded, strict=True)))
    assert list(sessions_of(folder).values()) == ["2026-11-20", "2026-11-20", "2026-11-21", "2026-11-21"]
    assert list(sessions_of(touch(tmp_path / "copy", *names)).values()) == [None] * 4  # all at once, today
    copied = ["2026-11-20 10:00:00.1", "2026-11-20 10:00:00.2", "2026-11-21 09:00:00.1", "2026-11-21 09:00:00.2"]
    set_times(folder, dict(zip(names, copied, strict=True)))  # copied day by day
    assert list(sessions_of(folder).values()) == [None] * 4


def embedded(sessions, seed=0, dimensions=6, **columns):
    """Clips whose sessions differ as much as clips of one session do."""
    rng, count = np.random.default_rng(seed), len(sessions)
    numbers = np.unique([name or "" for name in sessions], return_inverse=True)[1]
    vectors = rng.standard_normal((count, dimensions)) + rng.standard_normal((max(numbers) + 1, dimensions))[numbers]
    return Dataset.from_dict(
        {
            "machine": ["fan"] * count,
            "domain": ["unknown"] * count,
            "condition": ["normal"] * count,
            "clip_id": [f"fan/{number}" for number in range(count)],
            "session": sessions,
            "embedding": vectors.astype(np.float32),
        }
        | columns
    )


def days(*sizes):
    return [f"2026-11-{day + 1:02}" for day, size in enumerate(sizes) for _ in range(size)]


def test_scores_of_normal_clips_leave_out_their_whole_session():
    sessions = days(12, 5, 9, 3)
    rows = embedded(sessions)
    bank = build_memory_bank(rows, MAHALANOBIS)
    vectors = bank.embeddings["source"]
    for session in set(sessions):
        own = torch.tensor([name == session for name in sessions])
        others = build_memory_bank(rows.select(torch.where(~own)[0].tolist()).remove_columns("session"), MAHALANOBIS)
        np.testing.assert_array_equal(bank.normal_scores[own.numpy()], others.scorer.score(vectors[own]).numpy())
    assert "new sessions like these 4; so few sessions" in bank.promise


def test_every_session_counts_the_same_and_all_count_as_many_as_there_are_recordings():
    sessions = np.repeat([0, 1, 2], [10, 6, 4])
    weights = recording_weights(None, 20, sessions)
    np.testing.assert_allclose(np.bincount(sessions, weights), 20 / 3)
    pieces = np.repeat(np.arange(6), [8, 2, 4, 4, 1, 1])  # of six recordings
    weights = recording_weights(pieces, 20, np.repeat([0, 1, 2], [10, 8, 2]))
    np.testing.assert_allclose(np.bincount(pieces, weights), np.ones(6))
    assert build_memory_bank(embedded(days(12, 5, 9, 4)), MAHALANOBIS).weights.sum() == pytest.approx(30)
    weights = recording_weights(None, 41, np.repeat([0, 1, 2], [20, 20, 1]))
    np.testing.assert_allclose(np.unique(weights), [39 / 40, 2])  # not a third of all for one recording


@pytest.mark.parametrize("sessions", [days(30), [None] * 30, days(*[1] * 30), days(26, 4)])
def test_clips_without_sessions_to_leave_out_are_left_out_one_by_one(sessions):
    """Of one session, of none, of one a clip, or where too few clips remain without one."""
    rows = embedded([None] * 30).remove_columns("session")
    bank = build_memory_bank(rows.add_column("session", sessions), ScoringConfig())
    plain = build_memory_bank(rows, ScoringConfig())
    np.testing.assert_array_equal(bank.normal_scores, plain.normal_scores)
    assert (bank.threshold, bank.false_alarm_rate) == (plain.threshold, plain.false_alarm_rate)


def test_a_threshold_by_sessions_keeps_its_promise_on_new_days():
    alarms = {True: [], False: []}
    for seed in range(8):
        rows = embedded(days(*[10] * 26), seed=seed)
        learned, new = rows.select(range(60)), torch.from_numpy(np.array(rows["embedding"][60:], dtype=np.float32))
        for known in alarms:
            bank = build_memory_bank(learned if known else learned.remove_columns("session"), MAHALANOBIS)
            alarms[known].append(float((bank.scorer.score(new) > bank.threshold).double().mean()))
    assert 0.02 < np.mean(alarms[True]) < 0.075 and np.mean(alarms[False]) > 2 * np.mean(alarms[True])


def test_windows_of_long_recordings_belong_to_the_session_of_their_recording():
    names = [f"fan/{number // 4}.wav" for number in range(40)]
    rows = embedded(days(16, 12, 12), recording_id=names)
    bank = build_memory_bank(rows, MAHALANOBIS)
    assert bank.num_recordings == 10 and bank.weights.sum() == pytest.approx(10)
    np.testing.assert_array_equal(bank.groups, np.repeat([0, 1, 2], [16, 12, 12]))


@pytest.fixture(scope="module")
def days_of_fan(tmp_path_factory):
    """Three days of ten recordings; from day to day the level changes."""
    folder, rng = tmp_path_factory.mktemp("days") / "fan", np.random.default_rng(3)
    for day in (20, 21, 22):
        (folder / f"2026-11-{day}").mkdir(parents=True)
        for number in range(10):
            sound = hum(rng, pitch=100 + 0.3 * rng.standard_normal()) * 10 ** ((day - 21) / 20)
            soundfile.write(folder / f"2026-11-{day}" / f"{number}.wav", sound, RATE)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_fit_says_what_a_new_day_does(days_of_fan, tmp_path, capsys):
    assert main(["fit", str(days_of_fan), "--output", str(tmp_path / "detector"), "--probe", "false"]) == 0
    printed = capsys.readouterr().out
    assert "fan: 30 normal recordings to learn from; 3 sessions (2026-11-20, 2026-11-21, 2026-11-22)" in printed
    assert "fan: 3 sessions (2026-11-20, 2026-11-21, 2026-11-22). " in printed
    assert "The threshold is set by leaving out one session at a time: " in printed
    assert "record on 3 more days, under every load." in printed
    assert "recordings of new sessions like these 3" in printed
    bank = AnomalyDetector.from_pretrained(tmp_path / "detector").machines["fan"]
    assert bank.sessions == [f"2026-11-{day}" for day in (20, 21, 22) for _ in range(10)]
    assert "new sessions like these 3" in bank.promise


def test_fit_says_what_one_day_is_worth(days_of_fan):
    findings = AnomalyDetector().fit(load_folder(days_of_fan / "2026-11-20")).findings["fan"]
    (line,) = findings.lines()
    assert line.startswith("One session of 10 seconds (2026-11-20): the false-alarm rate holds for sound like that of")
    assert line.endswith("Record on at least 5 more days, under every load.")


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_fit_asks_for_the_days_where_nothing_says_them(days_of_fan, tmp_path, capsys):
    unknown = tmp_path / "fan"
    unknown.mkdir()
    for file in (days_of_fan / "2026-11-20").iterdir():
        (unknown / file.name).symlink_to(file)
    assert main(["fit", str(unknown), "--output", str(tmp_path / "unknown"), "--probe", "false"]) == 0
    assert "fan: on which days these were recorded is not known; recordings of a new day" in capsys.readouterr().out


def test_a_session_unlike_all_others_is_named(tmp_path):
    rows = embedded(days(*[8] * 7))
    vectors = np.array(rows["embedding"], dtype=np.float32)
    vectors[-8:] += 9
    rows = rows.remove_columns("embedding").add_column("embedding", list(vectors))
    findings = AnomalyDetector(config=None).fit(rows).findings["fan"]
    assert any(line.startswith("Session 2026-11-07 is unlike all others: 100% of its") for line in findings.remarks)


def test_a_compact_bank_keeps_its_sessions():
    detector = AnomalyDetector().fit(embedded(days(*[10] * 5)))
    small = compact(detector, num_references=20)
    bank = small.machines["fan"]
    assert len(bank.normal_scores) == len(bank.sessions) == 50 and sorted(bank.sessions) == days(*[10] * 5)
    assert "new sessions like these 5" in bank.promise
    same = compact(detector, "float16").machines["fan"]
    assert same.sessions == detector.machines["fan"].sessions
