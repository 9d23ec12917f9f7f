"""What `fit` says about its normal recordings, and what it does not learn from."""

import re

import numpy as np
import pytest
import soundfile
import soxr

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.audio.stored_sound import stored_sound
from hf_asd.cli import main
from hf_asd.detection.compact import compact
from hf_asd.detection.training_clips.checks import natural_key
from hf_asd.detection.training_clips.copies import digest, find_copies, fingerprint
from hf_asd.detection.training_clips.effects import outliers
from hf_asd.detection.training_clips.pieces import Ends, count_joined
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS = 16_000, 4.0


def machine(number: int, seconds: float = SECONDS) -> np.ndarray:
    rng, time = np.random.default_rng([number, 1]), np.arange(int(RATE * seconds)) / RATE
    return 0.1 * np.sin(2 * np.pi * 117 * time + rng.uniform(0, 6)) + 0.03 * rng.standard_normal(len(time))


def write(folder, clips, rate=RATE, subtype="PCM_16"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in clips.items():
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
    return folder


def normal_clips(count: int) -> dict[str, np.ndarray]:
    return {f"{number:02}": machine(number) for number in range(count)}


def fitted(folder) -> AnomalyDetector:
    return AnomalyDetector(None).fit(load_folder(folder))


def learned(detector) -> set[str]:
    return {name.partition("/")[2] for bank in detector.machines.values() for name in bank.clip_ids["source"]}


def test_copies_count_once_whatever_file_they_are_in(tmp_path):
    folder = write(tmp_path / "fan", normal_clips(10))
    alone = fitted(folder)
    samples = [soundfile.read(folder / f"{number:02}.wav")[0] for number in range(4)]
    write(folder, {"copy0": samples[0]})
    write(folder, {"copy1": samples[1]}, subtype="FLOAT")
    write(folder, {"copy2": np.stack([samples[2], 0 * samples[2]], axis=1)}, subtype="PCM_24")
    soundfile.write(folder / "copy3.flac", samples[3], RATE)
    detector = fitted(folder)
    assert detector.findings["fan"].copies == {
        "copy0.wav": "00.wav",
        "copy1.wav": "01.wav",
        "copy2.wav": "02.wav",
        "copy3.flac": "03.wav",
    }
    assert "4 recordings are copies and count once: copy0.wav = 00.wav, " in detector.findings["fan"].lines()[0]
    bank, before = detector.machines["fan"], alone.machines["fan"]
    assert (bank.threshold, bank.false_alarm_rate) == (before.threshold, before.false_alarm_rate)
    assert learned(detector) == learned(alone)
    assert len(detector.profiles["fan"].summaries["level"]) == 10


def test_the_same_sound_stored_otherwise_is_a_copy_and_other_sound_is_not():
    clips = [machine(number).astype(np.float32) for number in range(8)]
    others = [
        (0.1 * clips[0]).astype(np.float32),
        -clips[1],
        np.roll(clips[2], 3),
        soxr.resample(soxr.resample(clips[3], RATE, 44_100), 44_100, RATE),
        clips[4][: len(clips[4]) * 9 // 10],
    ]
    everything = [*clips, *others]
    found = find_copies([digest(clip) for clip in everything], np.stack([fingerprint(clip) for clip in everything]))
    assert found == {8: 0, 9: 1, 10: 2, 11: 3, 12: 4}


@pytest.mark.parametrize("name", ["valve", "slider"])
def test_machines_that_repeat_themselves_are_no_copies(name):
    clips = [record_clip(draw_clip(1, name, "train", "source", "normal", k), 1, 3.0, (30, 30)) for k in range(12)]
    assert find_copies([digest(clip) for clip in clips], np.stack([fingerprint(clip) for clip in clips])) == {}


def test_pure_tones_are_no_copies():
    time = np.arange(RATE * 3) / RATE
    rng = np.random.default_rng(0)
    clips = [(np.sin(2 * np.pi * 100 * time) + 1e-4 * rng.standard_normal(len(time))) for _ in range(6)]
    assert find_copies([digest(clip) for clip in clips], np.stack([fingerprint(clip) for clip in clips])) == {}


@pytest.fixture
def both(tmp_path):
    write(tmp_path / "fan" / "train", normal_clips(10))
    write(tmp_path / "fan" / "test" / "normal", {"20": machine(20), "x": machine(3), "y": 0.5 * machine(4)})
    write(tmp_path / "fan" / "test" / "anomaly", {"30": machine(30) * 3, "z": machine(5)})
    return tmp_path


@pytest.mark.slow
def test_a_recording_to_learn_from_is_no_test_of_the_detector(both, capsys):
    command = ["fit", str(both / "fan"), "--encoder", "none", "--output", str(both / "det")]
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(command))
    error = capsys.readouterr().err
    assert end.value.code not in (0, None)
    assert "3 test recordings are copies of recordings that the detector learned from: " in error
    for name, first in (("normal/x", "03"), ("normal/y", "04"), ("anomaly/z", "05")):
        assert f"fan/test/{name}.wav = fan/train/{first}.wav" in error
    assert main([*command, "--on-bad-audio", "skip"]) == 0
    assert "skipped: fan/test/normal/x.wav: is a copy of fan/train/03.wav" in capsys.readouterr().err


def spoiled(kind: str) -> dict[str, np.ndarray]:
    """Twenty clips, of which number 5 is not as the others."""
    clips = normal_clips(20)
    clip = clips["05"]
    if kind == "level":
        clips["05"] = clip / 256
    elif kind == "loud":
        clips = {name: one / 8 for name, one in clips.items()} | {"05": clip}
    elif kind == "quiet band":  # where the others are faint themselves
        clips = {name: soxr.resample(one, RATE, RATE) / 300 for name, one in clips.items()}
        clips["05"] = soxr.resample(soxr.resample(clip / 300, RATE, 8000), 8000, RATE)
    elif kind == "gap":
        clip[RATE : RATE + 800] = 0
    elif kind == "clipped":
        clips["05"] = np.clip(clip, -0.12, 0.12)
    elif kind == "band":
        clips["05"] = soxr.resample(soxr.resample(clip, RATE, 8000), 8000, RATE)
    return clips


@pytest.mark.parametrize(
    "kind, words",
    [
        ("level", r"its level is 48 dB below that of the others"),
        ("loud", r"its level is 18 dB above that of the others"),
        ("quiet band", r"nothing above 3\.9 kHz"),
        ("gap", r"gap: 0.05 s of sound are cut out, from 1.0 s on"),
        ("clipped", r"clipped: \S+ % of the samples"),
        ("band", r"nothing above 3\.9 kHz, where the others have sound"),
    ],
)
def test_a_clip_that_would_not_be_judged_is_not_learned(tmp_path, kind, words):
    detector = fitted(write(tmp_path / "fan", spoiled(kind), subtype="PCM_24"))
    (name, why), *others = detector.findings["fan"].left_out.items()
    assert name == "05.wav" and not others and learned(detector) == {f"{k:02}.wav" for k in range(20) if k != 5}
    assert re.match(words, why) and re.search(
        r"With it the threshold (would lie \S+ times as far|is about the same)", why
    )
    clean = {name: clip for name, clip in spoiled(kind).items() if name != "05"}
    without = fitted(write(tmp_path / "clean" / "fan", clean, subtype="PCM_24")).machines["fan"]
    assert detector.machines["fan"].threshold == without.threshold


def test_one_odd_clip_does_not_hide_another(tmp_path):
    clips = normal_clips(19)
    clips["05"], clips["07"] = clips["05"] / 256, clips["07"] / 8
    detector = fitted(write(tmp_path / "fan", clips))
    assert set(detector.findings["fan"].left_out) == {"05.wav", "07.wav"}


def test_the_slowest_of_many_speeds_stays(tmp_path):
    clips = {f"{number:02}": machine(number) * 10 ** (-0.6 * (number % 10) / 20) for number in range(20)}
    detector = fitted(write(tmp_path / "fan", clips))
    assert not detector.findings["fan"].left_out


def test_what_a_fifth_of_the_clips_shows_is_a_state_of_the_machine(tmp_path):
    clips = normal_clips(20)
    for number in (3, 8, 13, 18):
        clips[f"{number:02}"] /= 200
    detector = fitted(write(tmp_path / "fan", clips))
    assert not detector.findings["fan"].left_out and len(learned(detector)) == 20
    assert detector((machine(99) / 200).astype(np.float32), RATE).abstain_reason is None


def test_what_is_odd_and_kept_is_named_with_what_it_does(tmp_path):
    clips = normal_clips(20)
    clips["06"] = machine(6, seconds=1.0)
    folder = write(tmp_path / "fan", clips)
    soundfile.write(folder / "07.wav", soxr.resample(machine(7), RATE, 44_100), 44_100)
    detector = fitted(folder)
    unusual = detector.findings["fan"].unusual
    assert set(unusual) == {"06.wav", "07.wav"} and len(learned(detector)) == 20
    assert unusual["06.wav"].startswith("it is 1 s long, the others are 4 s")
    assert unusual["07.wav"].startswith("it is stored at 44100 Hz, the others at 16000 Hz")
    assert all("Without it the threshold " in text for text in unusual.values())


def test_a_fault_among_the_normal_clips_is_named_and_kept(tmp_path):
    clips = normal_clips(20)
    clips["05"] = clips["05"] + 0.05 * np.sin(2 * np.pi * 900 * np.arange(int(RATE * SECONDS)) / RATE)
    found = fitted(write(tmp_path / "fan", clips)).findings["fan"]
    assert set(found.unusual) == {"05.wav"} and not found.left_out
    words = r"it scores (\S+) against the others, which score at most (\S+), half of them at most (\S+)\.$"
    match = re.match(words, found.unusual["05.wav"])
    assert match and float(match[1]) > float(match[2]) > float(match[3])


def test_a_knock_among_the_normal_clips_is_named(tmp_path):
    clips = normal_clips(20)
    clips["05"][RATE : RATE + 500] += 0.2 * np.random.default_rng(0).standard_normal(500)
    found = fitted(write(tmp_path / "fan", clips)).findings["fan"]
    assert set(found.unusual) == {"05.wav"} and not found.left_out
    assert found.unusual["05.wav"] == "it holds a knock or dropout far above what the others hold."


@pytest.mark.usefixtures("short_reports")
def test_outliers_are_left_out_on_demand_and_more_false_alarms_are_promised(tmp_path, capsys):
    clips = normal_clips(30)
    clips["05"] = clips["05"] + 0.05 * np.sin(2 * np.pi * 900 * np.arange(int(RATE * SECONDS)) / RATE)
    write(tmp_path / "fan", clips)
    assert not main(["fit", str(tmp_path / "fan"), "--output", str(tmp_path / "det"), "--drop-outliers"])
    assert "LEFT OUT: 05.wav: it scores" in capsys.readouterr().out
    detector = AnomalyDetector.from_pretrained(tmp_path / "det")
    bank = detector.machines["fan"]
    assert len(bank.normal_scores) == 29 and "fan/05.wav" not in bank.leave_one_out_scores()
    # Of 31 recordings, 29 and a new one are judged at 5 %, and one raises the alarm.
    assert bank.false_alarm_rate == pytest.approx((0.05 * 30 + 1) / 31)
    assert compact(detector, dtype="float16").machines["fan"].false_alarm_rate == bank.false_alarm_rate
    kept = AnomalyDetector(None, DetectorConfig(drop_outliers=True)).fit(
        load_folder(write(tmp_path / "b", normal_clips(30)))
    )
    assert len(kept.machines["b"].normal_scores) == 30 and kept.machines["b"].false_alarm_rate == 0.05


def test_healthy_clips_get_no_remark(tmp_path):
    detector = fitted(write(tmp_path / "fan", normal_clips(20)))
    assert detector.findings["fan"].lines() == [] and len(learned(detector)) == 20


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_fit_prints_what_it_found(tmp_path, capsys):
    folder = write(tmp_path / "fan", spoiled("level") | {"copy": machine(1)})
    assert main(["fit", str(folder), "--encoder", "none", "--output", str(tmp_path / "det")]) == 0
    printed = capsys.readouterr().out
    assert "fan: 1 recording is a copy and counts once: copy.wav = 01.wav.\n" in printed
    assert "fan: LEFT OUT: 05.wav: its level is 48 dB below that of the others. With it the threshold " in printed
    assert "fan: 19 normal recordings" in printed
    assert "LEFT OUT: 05.wav" in (tmp_path / "det" / "report.html").read_text(encoding="utf-8")


def test_outliers_are_far_above_all_others():
    scores = {str(number): float(score) for number, score in enumerate(np.linspace(-1, 1, 30))}
    assert outliers(scores) == []
    assert outliers(scores | {"a": 7.0}) == ["a"]
    assert outliers(scores | {"a": 7.0, "b": 8.0}) == ["b", "a"]
    assert outliers(scores | {"a": 1.5}) == []


def ends(samples: np.ndarray) -> Ends | None:
    samples = (np.round(samples * 2**15) / 2**15).astype(np.float32)
    return Ends.of(stored_sound(samples[:, None], samples, RATE), RATE)


@pytest.mark.parametrize("name", ["fan", "gearbox", "bearing"])
def test_pieces_of_one_recording_are_recognized_and_recordings_are_not(name):
    def clip(number, seconds):
        return record_clip(draw_clip(2, name, "train", "source", "normal", number), 2, seconds, (6, 6))

    long, size = clip(0, 48.0), 3 * RATE
    assert count_joined([ends(piece) for piece in long.reshape(-1, size)]) == 15
    assert count_joined([ends(clip(number, 3.0)) for number in range(16)]) == 0


def test_pieces_are_named_by_fit_in_the_order_of_their_names(tmp_path):
    rng, time = np.random.default_rng(0), np.arange(24 * 2 * RATE) / RATE
    long = 0.1 * np.sin(2 * np.pi * 117.31 * time) + 0.001 * rng.standard_normal(len(time))
    pieces = {str(number): piece for number, piece in enumerate(long.reshape(24, -1), start=1)}
    remarks = fitted(write(tmp_path / "fan", pieces)).findings["fan"].remarks
    found = re.match(r"At least (\d+) of 24 recordings begin exactly where the one before ends: they are", remarks[0])
    assert found and 12 <= int(found[1]) <= 23
    assert "Record on several days." in remarks[0]
    assert sorted(["10.wav", "9.wav", "a1b.wav"], key=natural_key) == ["9.wav", "10.wav", "a1b.wav"]
