"""What `hf-asd check` measures, on sounds whose faults are known."""

import json

import numpy as np
import pytest
import soundfile
import soxr

from hf_asd.audio.reading import clip_from_channels
from hf_asd.cli import main
from hf_asd.detection.recording_check.quality import SoundQuality
from hf_asd.detection.recording_check.verdicts import folder_remarks, lines_of_fit, remarks_about, verdict_of


RATE = 48_000


def machine(seconds: float = 6.0, level: float = 0.05, seed: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * 123 * k * time + k) / k for k in range(1, 9))
    sound = tones + np.random.default_rng(seed).standard_normal(len(time))
    return level * sound / sound.std()


def quality(samples: np.ndarray, rate: int = RATE) -> SoundQuality:
    stored = (np.round(np.asarray(samples).reshape(len(samples), -1) * 2**15) / 2**15).astype(np.float32)
    return SoundQuality.of(clip_from_channels("x.wav", stored, rate))


def lines(hertz: float, seconds: float = 6.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.02 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3, 5))


def test_level_peak_floor_and_offset_are_those_of_the_samples():
    sound = machine()
    sound[: RATE * 2] *= 0.1
    found = quality(0.01 + sound)
    heard = soxr.resample(sound, RATE, 16_000)
    assert found.level_db == pytest.approx(20 * np.log10(heard.std()), abs=0.1)
    assert found.peak_db == pytest.approx(20 * np.log10(np.abs(heard).max()), abs=0.2)
    assert found.floor_db == pytest.approx(20 * np.log10(heard[: 16_000 * 2].std()), abs=0.6)
    assert found.offset == pytest.approx(0.01, abs=1e-4)
    assert found.above_db == pytest.approx(10 * np.log10(power_above(machine(1.0))), abs=1)


def power_above(sound: np.ndarray) -> float:
    power = np.square(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
    return float(power[np.fft.rfftfreq(len(sound), 1 / RATE) > 8000].sum() / power.sum())


@pytest.mark.parametrize(
    ("samples", "rate", "verdict", "words"),
    [
        (machine(), RATE, "good", None),
        (np.clip(machine(level=0.5), -0.6, 0.6), RATE, "record again", "lower the recording level"),
        (machine(level=5e-4), RATE, "usable", "raise the recording level by"),
        (machine(level=5e-5), RATE, "record again", "quiet"),
        (machine(level=0.02) + 0.1, RATE, "usable", "constant of 10 % of full scale"),
        (machine(level=0.02) + lines(50.03), RATE, "usable", "hum of the mains at 50, 100, 150, 250 Hz"),
        (machine(level=0.02) + lines(59.97), RATE, "usable", "hum of the mains at 60, 120, 180, 300 Hz"),
        (machine(level=0.02) + lines(49.4), RATE, "good", None),  # a motor with slip
        (soxr.resample(machine(), RATE, 8000), 8000, "record again", "it is stored at 8000 Hz"),
        (soxr.resample(soxr.resample(machine(), RATE, 11025), 11025, RATE), RATE, "usable", "nothing above 5.4 kHz"),
        (np.stack([0 * machine(), machine()], 1), RATE, "record again", "channel 1 has sound: fit with --channel 1"),
        (np.stack([machine(), 0 * machine()], 1), RATE, "usable", "no sound in channel 1 of 2"),
        (np.zeros(RATE * 6), RATE, "record again", "is the microphone connected"),
        (machine(1.5), RATE, "usable", "short: 1.5 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_fault_is_named_with_what_to_change(samples, rate, verdict, words):
    remarks = remarks_about(quality(samples, rate))
    assert verdict_of(remarks) == verdict
    assert [words in remark.text for remark in remarks[:1]] == ([] if words is None else [True])


def test_a_dropout_is_a_run_of_zeros_between_sound():
    sound = machine()
    sound[RATE * 2 : RATE * 2 + 4800] = 0
    (remark,) = remarks_about(quality(sound))
    assert remark.verdict == "record again" and "0.1 s of sound are cut out, from 2.0 s on" in remark.text


def test_what_recordings_differ_in():
    alike = [quality(machine(seed=seed)) for seed in range(3)]
    assert [remark.kind for remark in folder_remarks(alike)] == ["above"]
    others = [quality(machine(12.0, level=0.4)), quality(soxr.resample(machine(), RATE, 16_000), 16_000)]
    texts = " ".join(remark.text for remark in folder_remarks(alike + others))
    assert "4 at 48000 Hz, 1 at 16000 Hz" in texts and "6 to 12 s" in texts and "differ by 18 dB" in texts
    assert lines_of_fit([quality(machine(level=0.02) + lines(50.0))] * 3)[0].startswith("3 of 3 recordings: hum")


@pytest.mark.slow
def test_check_from_the_command_line(tmp_path, capsys):
    soundfile.write(tmp_path / "good.wav", machine(), RATE)
    assert main(["check", str(tmp_path)]) == 0
    assert "1 recording: 1 good, 0 usable, 0 to be recorded again" in capsys.readouterr().out
    soundfile.write(tmp_path / "long.wav", np.concatenate([machine(30, 0.005), machine(40, 0.05)]), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    assert main(["check", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 2
    printed = capsys.readouterr().out
    rows = {row["file"].rsplit("/", 1)[-1]: row for row in map(json.loads, open(tmp_path / "out.json"))}
    assert rows["broken.wav"]["verdict"] == "record again" and rows["broken.wav"]["remarks"][0] in printed
    assert rows["long.wav"]["seconds"] == 70 and rows["long.wav"]["floor_db"] < rows["long.wav"]["level_db"] - 15
