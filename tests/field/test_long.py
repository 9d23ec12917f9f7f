"""Recordings of minutes and hours: judged in windows, with one decision each; cut for training and counted as one."""

import csv
import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.errors import BadAudioError
from hf_asd.audio.reading import read_clip
from hf_asd.audio.windows import WindowRule, read_span, read_windows
from hf_asd.cli import main
from hf_asd.detection.backends import BACKENDS
from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.backends.cross_scores import recording_splits
from hf_asd.detection.compact import compact
from hf_asd.detection.config import ScoringConfig
from hf_asd.detection.decision import DECISION_FEATURES, Decision
from hf_asd.detection.events.recordings import LINE_FIELDS
from hf_asd.detection.long_recordings import recording_p_value
from hf_asd.detection.score_tail import ScoreTail
from hf_asd.detection.threshold import p_values, recording_weights, threshold_from


def machine(rng, seconds):
    """A machine whose sound does not change."""
    time = np.arange(int(RATE * seconds)) / RATE
    sound = 0.1 * np.sin(2 * np.pi * 117 * time) + 0.03 * rng.standard_normal(len(time))
    return sound.astype(np.float32)


def knocks(rng, samples, start, seconds):
    """The recording with four knocks a second for some time."""
    samples = samples.copy()
    for knock in range(round(4 * seconds)):
        first = round((start + knock / 4) * RATE)
        samples[first : first + 800] += 0.5 * np.exp(-np.arange(800) / 200) * rng.standard_normal(800)
    return samples


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Twenty normal clips of 2 s in `fan`, and recordings of 100 s: one normal, one with 4 s of knocks."""
    folder, rng = tmp_path_factory.mktemp("long"), np.random.default_rng(0)
    (folder / "fan").mkdir()
    for clip in range(20):
        soundfile.write(folder / "fan" / f"{clip:02d}.wav", machine(rng, 2), RATE)
    normal = machine(rng, 100)
    soundfile.write(folder / "normal.wav", normal, RATE)
    soundfile.write(folder / "knocks.wav", knocks(rng, normal, 60.0, 4.0), RATE)
    return folder


@pytest.fixture(scope="module")
def detector(place):
    return AnomalyDetector(None).fit(load_folder(place / "fan"))


def test_four_seconds_of_knocks_in_a_long_recording_are_found_and_their_time_is_named(place, detector):
    decision = detector(place / "knocks.wav", explain=True)
    assert decision.is_anomaly is True and decision.p_value < 0.05
    assert decision.num_windows == 50 and decision.num_unfit_windows == 0
    assert decision.worst_window_start_s in (60.0, 62.0)
    assert decision.worst_window_end_s == decision.worst_window_start_s + 2
    assert decision.threshold < decision.anomaly_score < decision.worst_window_score
    assert [reason.kind for reason in decision.reasons] == ["knock"]
    whole = detector(place / "knocks.wav", window_seconds=None)
    assert whole.is_anomaly is True and whole.num_windows == 1 and whole.worst_window_start_s is None


def test_a_long_normal_recording_is_normal(place, detector):
    decision = detector(place / "normal.wav", explain=True)
    assert decision.is_anomaly is False and decision.reasons == [] and decision.num_windows == 50
    # Some of its windows reach the threshold for one clip, as one in twenty-one may.
    assert decision.p_value > 0.05 and decision.worst_window_score > decision.anomaly_score


def test_a_fault_of_the_whole_recording_is_found_where_no_window_stands_out(detector):
    rng = np.random.default_rng(1)
    time = np.arange(100 * RATE) / RATE
    weak = machine(rng, 100) + (0.0053 * np.sin(2 * np.pi * 1900 * time)).astype(np.float32)
    decision = detector(weak, RATE)
    alone = detector.machines["fan"].tail.score(0.05 / 50)  # what one window of fifty would have to reach
    assert decision.is_anomaly is True and decision.worst_window_score < alone


@pytest.mark.slow
def test_all_ways_to_a_decision_give_the_same_one(place, detector):
    from transformers import pipeline

    file = place / "knocks.wav"
    alone = detector(file)
    rows = detector.score(load_folder(file)["train"])
    scored = rows.select_columns(list(DECISION_FEATURES)).to_list()[0]
    samples, rate = soundfile.read(file, dtype="float32")
    detect = pipeline("anomalous-sound-detection", model=detector)
    for other in (
        scored | {"machine": "fan"},
        detector(file.read_bytes()).to_dict(),
        detector(samples, rate).to_dict(),
        detect(str(file)),
        detect([str(file), str(file)], batch_size=2)[1],
    ):
        assert other["is_anomaly"] is True and other["nearest_clip_ids"] == alone.nearest_clip_ids
        assert other["worst_window_start_s"] == alone.worst_window_start_s and other["num_windows"] == 50
        assert other["anomaly_score"] == pytest.approx(alone.anomaly_score, rel=1e-6)
    assert detect(str(file), window_seconds=None)["num_windows"] == 1
    assert len(rows["embedding"][0]) == detector.encoder.dimensions


def test_short_recordings_are_judged_as_before(place, detector):
    rng = np.random.default_rng(3)
    for seconds in (0.6, 2.0, 3.0, 3.99):
        samples = machine(rng, seconds)
        assert detector(samples, RATE) == detector(samples, RATE, window_seconds=None)
    assert detector(machine(rng, 4.0), RATE).num_windows == 2


@pytest.mark.parametrize("seconds", [4.0, 5.0, 5.01, 7.98, 8.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_windows_cover_a_recording_to_its_end(tmp_path, seconds, rate):
    samples = np.random.default_rng(0).standard_normal((round(seconds * rate), 2)).astype(np.float32) / 10
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    windows = list(read_windows(tmp_path / "a.wav", WindowRule(2, 4), channel=1))
    covered = np.zeros(len(samples), dtype=bool)
    for number, window in enumerate(windows):
        assert window.number == number and window.span is not None and window.clip is not None
        first, end = (round(second * rate) for second in window.span)
        assert end - first == 2 * rate
        covered[first:end] = True
        soundfile.write(tmp_path / "part.wav", samples[first:end], rate, subtype="FLOAT")
        alone = read_clip(tmp_path / "part.wav", channel=1)
        np.testing.assert_array_equal(window.clip.samples, alone.samples)
        np.testing.assert_array_equal(read_span(tmp_path / "a.wav", window.span, 1).samples, alone.samples)
    assert covered.all() and len(windows) == -(-len(samples) // (2 * rate))


def test_a_recording_below_the_limit_is_the_clip_that_it_was(tmp_path):
    soundfile.write(tmp_path / "a.flac", machine(np.random.default_rng(0), 3.9), 44_100)
    (window,) = read_windows(tmp_path / "a.flac", WindowRule(2, 4))
    np.testing.assert_array_equal(window.clip.samples, read_clip(tmp_path / "a.flac").samples)
    assert window.span is None


def test_unfit_windows_take_no_part_and_are_named(tmp_path, place, detector):
    rng = np.random.default_rng(4)
    for name, start in (("good", None), ("bad", 40.0)):
        samples = machine(rng, 60)
        if start is not None:
            samples = knocks(rng, samples, start, 4)
        samples[20 * RATE : 30 * RATE] = 0
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(20 * RATE), RATE)
    good, bad, silent = (detector(tmp_path / f"{name}.wav") for name in ("good", "bad", "silent"))
    assert good.is_anomaly is False and bad.is_anomaly is True
    for decision in (good, bad):
        assert decision.num_unfit_windows == 5 and decision.abstain_reason is None
        assert decision.unfit_windows_reason.startswith("0:00:20-0:00:22: silent")
    assert bad.worst_window_start_s in (40.0, 42.0)
    assert silent.is_anomaly is None and silent.num_windows == silent.num_unfit_windows == 10
    assert silent.abstain_reason.startswith("all 10 windows are unfit; silent")


def test_a_window_that_cannot_be_decoded_is_named(tmp_path, detector):
    samples = machine(np.random.default_rng(0), 20)
    samples[5 * RATE] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(BadAudioError, match=r"a\.wav: holds 1 samples that are NaN or infinite.*0:00:04-0:00:06"):
        detector(tmp_path / "a.wav")
    scored, skipped = detector.score_recordings(load_folder(tmp_path / "a.wav")["train"], on_bad_audio="skip")
    assert scored["num_windows"] == [9] and scored["is_anomaly"] == [False]
    assert len(skipped) == 1 and "(in 1 of 10 windows, the first at 0:00:04-0:00:06)" in skipped[0]


@pytest.mark.slow
def test_a_recording_that_is_damaged_behind_its_first_windows_is_left_out_as_a_whole(tmp_path, place, detector):
    soundfile.write(tmp_path / "a.flac", machine(np.random.default_rng(0), 60), RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(tmp_path / "b.wav", machine(np.random.default_rng(0), 60), RATE)
    rows = load_folder(tmp_path)["train"]
    with pytest.raises(BadAudioError, match=r"a\.flac"):
        detector.score(rows)
    scored, skipped = detector.score_recordings(rows, on_bad_audio="skip")
    assert [row["path"][-5:] for row in scored["audio"]] == ["b.wav"] and len(skipped) == 1
    with pytest.raises(BadAudioError, match=r"a\.flac"):
        AnomalyDetector(None).fit(rows, window_seconds=2)
    train, skipped = AnomalyDetector(None).fit_recordings(rows, window_seconds=2, on_bad_audio="skip")
    assert len(train) == 30 and set(train["recording_id"]) == {scored["clip_id"][0]} and len(skipped) == 1


@pytest.mark.slow
def test_table_csv_and_json_name_the_worst_window(place, detector, tmp_path, capsys):
    detector.save_pretrained(tmp_path / "det")
    files = [str(place / f"{name}.wav") for name in ("normal", "knocks")]
    outputs = ["--csv", str(tmp_path / "r.csv"), "--json", str(tmp_path / "r.json")]
    assert main(["score", str(tmp_path / "det"), *files, *outputs, "--fail-on-anomaly", "--explain"]) == 1
    printed = capsys.readouterr().out
    assert "normal (50 windows)" in printed
    assert "ANOMALY at 0:01:00-0:01:02 (50 windows)" in printed or "ANOMALY at 0:01:02-0:01:04" in printed
    lines = [json.loads(line) for line in (tmp_path / "r.json").read_text().splitlines()]
    names = ["file", *(field.name for field in fields(Decision)), *LINE_FIELDS]
    assert all(list(line) == names for line in lines)
    (found,) = (line for line in lines if line["is_anomaly"])
    assert found["file"].endswith("knocks.wav") and found["worst_window_start_s"] in (60.0, 62.0)
    with open(tmp_path / "r.csv", newline="") as file:
        cells = {line["file"][-10:]: line["worst_window_start_s"] for line in csv.DictReader(file)}
    assert float(cells["knocks.wav"]) in (60.0, 62.0)
    assert main(["score", str(tmp_path / "det"), *files, "--window-seconds", "none"]) == 0
    assert "1 of 2 recordings are anomalous" in capsys.readouterr().out
    for value in ("0.1", "601", "inf", "nan", "-3", "some"):
        with pytest.raises(SystemExit):
            main(["score", str(tmp_path / "det"), *files, "--window-seconds", value])
        assert "--window-seconds is" in capsys.readouterr().err


@pytest.mark.slow
def test_kept_windows_are_used_again_and_other_windows_refused(place, detector, tmp_path):
    rows = load_folder(place / "knocks.wav")["train"]
    first = detector.score(rows, tmp_path / "parts")
    again = detector.score(rows, tmp_path / "parts")
    assert first["anomaly_score"][:] == again["anomaly_score"][:]
    assert again["worst_window_start_s"][0] in (60.0, 62.0)
    with pytest.raises(ValueError, match="holds embeddings of other windows"):
        detector.score(rows, tmp_path / "parts", window_seconds=5)


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Four recordings of 20 s at slightly different levels and noise, as on different days."""
    folder, rng = tmp_path_factory.mktemp("long") / "pump", np.random.default_rng(5)
    folder.mkdir()
    for day in range(4):
        time = np.arange(20 * RATE) / RATE
        sound = 0.1 * np.sin(2 * np.pi * 117 * time) + 0.03 * (1 + 0.3 * day) * rng.standard_normal(len(time))
        soundfile.write(folder / f"day{day}.wav", sound.astype(np.float32), RATE)
    return folder


def test_pieces_of_a_recording_count_as_one_recording(days):
    detector = AnomalyDetector(None)
    train, _ = detector.fit_recordings(load_folder(days), window_seconds=2)
    bank, summary = detector.machines[days.name], detector.training_summary[days.name]
    assert len(train) == 40 and bank.num_recordings == 4 and summary["clips"] == 40 and summary["recordings"] == 4
    assert summary["clip_seconds"] == 2 and bank.clip_ids["source"][1] == f"{days.name}/day0.wav#2.0-4.0"
    assert train[11]["recording_id"] == f"{days.name}/day1.wav" and (train[11]["start_s"], train[11]["end_s"]) == (
        2,
        4,
    )
    # Each day differs from the others: left out as a whole, it scores higher than when only a piece is left out.
    config = ScoringConfig(backends=("mahalanobis",))
    whole = make_scorer(bank.embeddings, config, {"source": bank.recordings}).leave_one_out()
    assert whole.median() > make_scorer(bank.embeddings, config).leave_one_out().median()
    # Four recordings promise no less than one in five.
    assert bank.false_alarm_rate >= 1 / 5
    decision = detector(days / "day2.wav")
    assert decision.num_windows == 10 and decision.nearest_clip_id.startswith(f"{days.name}/day2.wav#")


@pytest.mark.slow
def test_a_detector_of_pieces_survives_saving_and_reduction(days, tmp_path):
    detector = AnomalyDetector(None).fit(load_folder(days), window_seconds=2)
    loaded = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "det"))
    assert loaded(days / "day1.wav") == detector(days / "day1.wav")
    bank, again = detector.machines[days.name], loaded.machines[days.name]
    np.testing.assert_array_equal(bank.normal_scores, again.normal_scores)
    np.testing.assert_array_equal(bank.recordings, again.recordings)
    small = compact(loaded, num_references=20).machines[days.name]
    assert small.num_recordings == 4 and len(small.normal_scores) == 40 and len(small.embeddings["source"]) == 20
    assert small.false_alarm_rate >= 1 / 5
    moved = AnomalyDetector.from_pretrained(compact(loaded, num_references=20).save_pretrained(tmp_path / "small"))
    assert moved(days / "day1.wav").num_windows == 10


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_one_recording_says_what_its_promise_is_worth(tmp_path, capsys):
    (tmp_path / "fan").mkdir()
    soundfile.write(tmp_path / "fan" / "day.wav", machine(np.random.default_rng(0), 120), RATE)
    assert main(["fit", str(tmp_path / "fan"), "--encoder", "none", "--output", str(tmp_path / "det")]) == 0
    printed = capsys.readouterr().out
    assert "12 windows of 10 s of one normal recording" in printed
    assert "one recording does not show how others differ" in printed and "cut into windows" in printed
    assert "12 windows of 1" in (tmp_path / "det" / "README.md").read_text()
    loaded = AnomalyDetector.from_pretrained(tmp_path / "det")
    assert loaded.machines["fan"].weights.tolist() == [1.0] * 12
    # Windows of a minute: the recording holds two of them, which are too few to leave one out.
    arguments = ["fit", str(tmp_path / "fan"), "--encoder", "none", "--output", str(tmp_path / "d2")]
    assert main([*arguments, "--window-seconds", "60"]) == 2
    assert "2 windows of 1 recording(s) are too few" in capsys.readouterr().err
    assert main([*arguments, "--window-seconds", "none"]) == 2
    assert "1 normal recordings are too few" in capsys.readouterr().err


def test_short_recordings_are_not_cut(place):
    cut, whole = AnomalyDetector(None), AnomalyDetector(None)
    rows, _ = cut.fit_recordings(load_folder(place / "fan"))
    whole.fit(load_folder(place / "fan"), window_seconds=None)
    assert "recording_id" not in rows.column_names and cut.machines["fan"].recordings is None
    np.testing.assert_array_equal(cut.machines["fan"].normal_scores, whole.machines["fan"].normal_scores)


def test_long_recordings_in_memory_are_not_copied_for_each_piece(days):
    rows = load_folder(days)["train"].cast_column("audio", Audio(decode=False))
    contents = [open(row["path"], "rb").read() for row in rows["audio"]]
    in_memory = rows.map(
        lambda row, number: {"audio": {"path": None, "bytes": contents[number]}}, with_indices=True
    ).cast_column("audio", Audio(decode=False))
    train, _ = AnomalyDetector(None).fit_recordings(in_memory, window_seconds=2)
    assert len(train) == 40 and all(audio["bytes"] is None for audio in train["audio"])


@pytest.mark.slow
def test_the_bundled_encoder_learns_from_windows_beside_statistics(days):
    detector = AnomalyDetector("bundled").fit(load_folder(days), window_seconds=5)
    assert detector.config.with_statistics and detector.config.pooling == "bands_std"
    assert detector.encoder.dimensions == 296 + 2048
    alone = AnomalyDetector().fit(load_folder(days), window_seconds=5)
    assert not alone.config.with_statistics and alone.encoder.dimensions == 296


# ---------------------------------------------------------------------------- scores without the own recording

SIZES = (5, 3, 7, 4, 7)  # from six on, scores are extrapolated: see test_backends.py


def groups_and_bank(dimensions=6):
    rng = np.random.default_rng(0)
    recordings = np.repeat(np.arange(len(SIZES)), SIZES)
    bank = (
        rng.standard_normal((len(recordings), dimensions)) + rng.standard_normal((len(SIZES), dimensions))[recordings]
    )
    return recordings, torch.from_numpy(bank).float()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("reduction", ["none", "k_center"])
def test_every_backend_leaves_out_the_whole_recording(name, reduction):
    recordings, bank = groups_and_bank()
    config = ScoringConfig(backends=(name,), normalization="none", reduction=reduction, num_references=8)
    scores = make_scorer({"source": bank}, config, {"source": recordings}).leave_one_out()
    for recording in range(len(SIZES)):
        own = torch.from_numpy(recordings == recording)
        expected = make_scorer({"source": bank[~own]}, config).score(bank[own])
        torch.testing.assert_close(scores[own], expected)


def test_fused_scores_are_standardized_by_scores_without_the_recording():
    recordings, bank = groups_and_bank()
    scorer = make_scorer({"source": bank}, ScoringConfig(), {"source": recordings})
    for part in scorer.parts:
        own = part.leave_one_out()
        index = scorer.parts.index(part)
        torch.testing.assert_close(scorer.leave_one_out_scores[index], own)


def test_of_a_dominant_recording_pieces_are_left_out_with_their_neighbors():
    splits = recording_splits(np.array([0] * 12 + [1, 2]))
    by_piece = {int(piece): kept.tolist() for scored, kept in splits for piece in scored}
    assert sorted(by_piece) == list(range(14))
    assert by_piece[5] == [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13]
    assert by_piece[0] == list(range(2, 14)) and by_piece[12] == [*range(12), 13]
    long = recording_splits(np.zeros(100, dtype=int))
    assert len(long) == 10 and all(len(scored) == 10 for scored, _ in long)
    assert long[3][1].tolist() == [*range(29), *range(41, 100)]


@pytest.mark.parametrize("count", [4, 10, 19, 20, 60])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_recordings_of_one_piece_get_the_conformal_threshold(count, rate):
    scores = np.random.default_rng(count).standard_normal(count)
    weights = recording_weights(np.arange(count), count)
    rank = min(int(np.ceil((1 - rate) * (count + 1) - 1e-9)), count)
    assert threshold_from(scores, rate, "conformal", weights) == (
        np.sort(scores)[rank - 1],
        max(rate, 1 / (count + 1)),
    )
    np.testing.assert_allclose(p_values(scores, scores, weights), p_values(scores, scores))


def test_a_new_recording_exceeds_the_threshold_no_more_often_than_promised():
    """Recordings differ as a whole: counted as independent, their pieces would promise far too much."""
    rng = np.random.default_rng(0)
    alarms, promises, naive = [], [], []
    for _ in range(400):
        offsets = rng.standard_normal(6)
        scores = (offsets[:, None] + 0.5 * rng.standard_normal((6, 30))).ravel()
        recordings = np.repeat(np.arange(6), 30)
        new = rng.standard_normal() + 0.5 * rng.standard_normal(30)
        threshold, promised = threshold_from(scores, 0.05, weights=recording_weights(recordings, 180))
        alarms.append((new > threshold).mean())
        promises.append(promised)
        naive.append((new > threshold_from(scores, 0.05)[0]).mean())
    assert np.mean(alarms) <= np.mean(promises) and np.mean(promises) < 0.2
    assert np.mean(naive) > 1.7 * 0.05


# ------------------------------------------------------------------------------------------ small probabilities


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 18, 100])
def test_tail_p_values_hold_on_average_for_exponential_scores(count):
    """The share of windows beyond the score that a p-value of 1/1000 belongs to."""
    rng = np.random.default_rng(count)
    shares = []
    for _ in range(2000):
        tail = ScoreTail(rng.exponential(size=count), np.ones(count))
        shares.append(np.exp(-tail.score(1e-3)))
    # With many clips the tail stays heavier than an exponential one.
    assert (0.7e-3 if count < 12 else 1e-4) < np.mean(shares) < 1.3e-3


@pytest.mark.parametrize("weights", [np.ones(40), np.repeat([0.1, 0.05], 20)])
def test_p_values_and_scores_are_inverse_and_fall(weights):
    scores = np.random.default_rng(0).gamma(2, size=40)
    tail = ScoreTail(scores, weights)
    grid = np.linspace(scores.min(), 30, 400)
    p = tail.p_values(grid)
    assert (np.diff(p) < 0).all() and p.max() < 1
    np.testing.assert_allclose([tail.score(value) for value in p], grid, rtol=1e-6)
    assert tail.score(1.0) == scores.min()
    same = ScoreTail(np.full(12, 2.0), np.ones(12))
    assert same.p_values(np.array([2.0]))[0] <= 1 and same.p_values(np.array([2.1]))[0] < 1e-6


def test_the_p_value_of_a_recording_is_that_of_simes():
    assert recording_p_value(np.array([0.001, 0.5, 0.9, 0.2])) == pytest.approx(0.004)
    assert recording_p_value(np.array([0.04, 0.04, 0.04, 0.04])) == pytest.approx(0.04)
    assert recording_p_value(np.array([1.0, 1.0])) == 1.0
    rng = np.random.default_rng(0)
    found = [recording_p_value(rng.random(360)) <= 0.05 for _ in range(4000)]
    assert 0.04 < np.mean(found) < 0.06


# ------------------------------------------------------------------------------------------------------ memory

PEAK = """
import resource, sys
from hf_asd import AnomalyDetector, load_folder
import hf_asd.detection.detector, torch, soundfile
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
detector = AnomalyDetector(None).fit(load_folder(sys.argv[1]), window_seconds=10)
before = peak()
AnomalyDetector(None).fit(load_folder(sys.argv[2]), window_seconds=10)
fitted = peak()
decision = detector(sys.argv[2])
assert decision.num_windows == 60, decision
print(fitted - before, peak() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Ten minutes of 48 kHz stereo are 220 MiB as floats; a window of them is 4 MiB."""
    rng, rate = np.random.default_rng(0), 48_000
    (tmp_path / "fan").mkdir()
    for clip in range(5):
        soundfile.write(tmp_path / "fan" / f"{clip}.wav", hum(rng, seconds=10.0), RATE)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", rate, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(0.05 * rng.standard_normal((10 * rate, 2)))
    command_line = [sys.executable, "-c", PEAK, str(tmp_path / "fan"), str(tmp_path / "long.wav")]
    result = subprocess.run(command_line, capture_output=True, text=True, check=True)
    to_fit, to_score = map(float, result.stdout.split())
    assert to_fit < 120 and to_score < 120
