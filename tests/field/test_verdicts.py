"""What people found out about recordings: false alarms and confirmed faults."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.detection.verdicts import VERDICTS, found_faults, give_verdict, read_verdicts
from hf_asd.folders import COMPLETE
from hf_asd.hub.manifest import DETECTOR_FOLDER


def write(file, sound):
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, sound, RATE)
    return str(file)


def squeal(rng, hertz, strength=0.05):
    """A new tone."""
    return hum(rng) + strength * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)


@pytest.fixture(scope="module")
def fan(tmp_path_factory):
    """A detector, and new recordings: two of one fault, one of another, and a false alarm."""
    folder, rng = tmp_path_factory.mktemp("verdicts"), np.random.default_rng(8)
    for day in (20, 21, 22):
        for number in range(10):
            write(folder / "fan" / f"2026-11-{day}" / f"{number}.wav", hum(rng))
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    for name, sound in {
        "bearing": squeal(rng, 3000),
        "bearing_again": squeal(rng, 3000, 0.03),
        "belt": squeal(rng, 700),
        "fan_20261124-101500": squeal(rng, 5000),
        "normal": hum(rng),
    }.items():
        write(folder / "new" / f"{name}.wav", sound)
    return folder


@pytest.fixture
def own(fan, tmp_path):
    shutil.copytree(fan / "detector", tmp_path / "detector")
    return tmp_path / "detector"


def test_verdicts_are_known_while_the_detector_is_replaced(fan, own):
    """The files of the new one lie in a subfolder until they take their places, also after a power cut."""
    give_verdict(AnomalyDetector.from_pretrained(own), own, fan / "new" / "bearing.wav", "fault", "bearing", "fan")
    new = own / COMPLETE
    new.mkdir()
    for file in [one for one in own.iterdir() if DETECTOR_FOLDER.owns(one.name)]:
        file.rename(new / file.name)
    detector = AnomalyDetector.from_pretrained(own)
    assert [verdict.words for verdict in detector.verdicts] == ["bearing"]
    assert detector(fan / "new" / "bearing_again.wav").like_fault is not None


def test_later_recordings_are_compared_with_a_confirmed_fault(fan, own, capsys):
    new = fan / "new"
    assert main(["verdict", str(own), str(new / "bearing.wav"), "--fault", "bearing, replaced 2026-11-20"]) == 0
    assert "ANOMALY" in (said := capsys.readouterr().out) and "kept as fault of 2026-11-20: bearing, replaced" in said
    detector = AnomalyDetector.from_pretrained(own)
    again, belt, normal = (detector(new / f"{name}.wav") for name in ("bearing_again", "belt", "normal"))
    assert again.is_anomaly and again.like_fault == "fault of 2026-11-20: bearing, replaced"
    assert belt.is_anomaly and belt.like_fault is None and normal.like_fault is None
    assert main(["score", str(own), str(new / "bearing_again.wav")]) == 0
    assert "ANOMALY, like the fault of 2026-11-20: bearing, replaced" in capsys.readouterr().out
    give_verdict(detector, own, new / "belt.wav", "fault", "belt", "fan")
    detector = AnomalyDetector.from_pretrained(own)
    assert detector(new / "bearing_again.wav").like_fault == "fault of 2026-11-20: bearing, replaced"
    assert [is_found for _, _, is_found in found_faults(detector, "fan")] == [True, True]
    assert main(["verdict", str(own)]) == 0
    listed = capsys.readouterr().out
    assert "  fan  bearing.wav  fault of 2026-11-20: bearing, replaced (then: ANOMALY, score " in listed
    assert "fan: 2 of 2 confirmed faults raise the alarm: fault of 2026-11-20: bearing, replaced, fault of" in listed
    detector.machines["fan"].threshold = 1e9
    assert [is_found for _, _, is_found in found_faults(detector, "fan")] == [False, False]


def test_a_false_alarm_counts_as_normal_at_the_next_update(fan, own, tmp_path, capsys):
    file = fan / "new" / "fan_20261124-101500.wav"
    assert AnomalyDetector.from_pretrained(own)(file).is_anomaly
    assert main(["verdict", str(own), str(file), "--normal", "forklift  passed"]) == 0
    assert "kept as normal of 2026-11-24: forklift passed" in capsys.readouterr().out
    detector = AnomalyDetector.from_pretrained(own)
    assert detector(file).is_anomaly  # adding is the user's act
    write(tmp_path / "fan" / "2026-11-23" / "1.wav", hum(np.random.default_rng(1)))
    detector.add(load_folder(tmp_path / "fan"))
    bank = detector.machines["fan"]
    assert bank.clip_ids["source"][-1].startswith("fan/fan_20261124-101500.wav (verdict of 20")
    assert bank.sessions[-2:] == ["2026-11-23", "2026-11-24"]
    # As if the recording itself had been among the new ones.
    shutil.copy(file, tmp_path / "fan" / "2026-11-23" / file.name)
    wanted = AnomalyDetector.from_pretrained(fan / "detector").add(load_folder(tmp_path / "fan"))
    np.testing.assert_array_equal(
        bank.embeddings["source"].numpy(), wanted.machines["fan"].embeddings["source"].numpy()
    )
    count = len(bank.normal_scores)
    detector.save_pretrained(tmp_path / "second")
    assert len(read_verdicts(tmp_path / "second")) == 1
    write(tmp_path / "more" / "fan" / "2026-11-25" / "1.wav", hum(np.random.default_rng(2)))
    again = AnomalyDetector.from_pretrained(tmp_path / "second").add(load_folder(tmp_path / "more" / "fan"))
    assert len(again.machines["fan"].normal_scores) == count + 1  # once


def test_verdicts_hold_no_sound_and_nothing_replaces_them(fan, own):
    give_verdict(AnomalyDetector.from_pretrained(own), own, fan / "new" / "belt.wav", "fault", "belt", "fan")
    before = (own / VERDICTS).read_bytes()
    (line,) = before.decode().splitlines()
    assert not {"head", "last"} & set(json.loads(line)["arrays"]) and len(line) < 12_000
    AnomalyDetector.from_pretrained(own).save_pretrained(own)
    assert main(["threshold", str(own), "--false-alarm-rate", "0.1"]) == 0
    assert (own / VERDICTS).read_bytes() == before


def test_a_verdict_that_was_cut_off_is_no_verdict(fan, own):
    detector, file = AnomalyDetector.from_pretrained(own), fan / "new" / "belt.wav"
    give_verdict(detector, own, file, "fault", "first", "fan")
    with open(own / VERDICTS, "ab") as content:
        content.write(b'{"time": "2026-11')
    give_verdict(detector, own, file, "fault", "second", "fan")
    assert [verdict.words for verdict in read_verdicts(own)] == ["first", "second"]
    with open(own / VERDICTS, "ab") as content:
        content.write(b'{"time": 3}\n')
    with pytest.raises(ValueError, match=r"verdicts.jsonl, line 4: is not a verdict .*Remove this line"):
        read_verdicts(own)


@pytest.mark.slow
def test_of_a_long_recording_the_worst_window_is_kept(fan, own, tmp_path):
    rng = np.random.default_rng(4)
    sound = np.concatenate([hum(rng), hum(rng), squeal(rng, 3000), hum(rng)])
    file = write(tmp_path / "long.wav", sound)
    detector = AnomalyDetector.from_pretrained(own)
    kept = give_verdict(detector, own, file, "fault", "squeal", "fan")
    assert (kept.start_s, kept.end_s) == (2.0, 3.0)
    write(tmp_path / "piece.wav", sound[2 * RATE : 3 * RATE])
    piece = give_verdict(detector, own, tmp_path / "piece.wav", "fault", "squeal", "fan")
    np.testing.assert_array_equal(kept.embedding.numpy(), piece.embedding.numpy())
    assert kept.arrays["digest"] == piece.arrays["digest"]


def test_a_fault_of_another_encoder_is_not_compared(fan, own):
    detector = AnomalyDetector.from_pretrained(own)
    give_verdict(detector, own, fan / "new" / "belt.wav", "fault", "belt", "fan")
    text = (own / VERDICTS).read_text().replace(detector.encoder.fingerprint, "another")
    (own / VERDICTS).write_text(text)
    loaded = AnomalyDetector.from_pretrained(own)
    assert len(loaded.verdicts) == 1 and not loaded.machines["fan"].faults and not found_faults(loaded, "fan")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new/belt.wav"], "give a recording and either --normal WORDS or --fault WORDS"),
        (["new/belt.wav", "--normal", "a", "--fault", "b"], "give a recording and either"),
        (["--normal", "a"], "give a recording and either"),
        (["new/none.wav", "--normal", "a"], "new/none.wav: there is no such recording."),
        (["new/belt.wav", "--normal", "a", "--machine", "pump"], "--machine is pump; this detector knows fan."),
    ],
)
def test_what_cannot_be_kept_is_said(words, message, fan, monkeypatch, capsys):
    monkeypatch.chdir(fan)
    assert main(["verdict", "detector", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (fan / "detector" / VERDICTS).exists()
