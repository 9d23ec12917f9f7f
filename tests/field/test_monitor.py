"""`monitor` on pipes, growing files and folders as they really come."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AlarmPolicy, AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.detection.config import MonitorConfig
from hf_asd.detection.monitoring import arrivals, folder, growing
from hf_asd.detection.monitoring.monitor import monitor


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    recordings, rng = tmp_path_factory.mktemp("fan"), np.random.default_rng(0)
    for clip in range(24):
        soundfile.write(recordings / f"{clip:02d}.wav", hum(rng), RATE)
    return AnomalyDetector(None).fit(load_folder(recordings))


@pytest.fixture(scope="module")
def saved(detector, tmp_path_factory):
    return str(detector.save_pretrained(tmp_path_factory.mktemp("saved") / "detector"))


@pytest.fixture
def quick(monkeypatch):
    """Looks more often, and rests are short."""
    monkeypatch.setattr(arrivals, "SETTLED_SECONDS", 0.2)
    monkeypatch.setattr(folder, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(growing, "POLL_SECONDS", 0.05)


def watch(detector, source, pipe=None, **options):
    config = MonitorConfig(**{"window_seconds": 1.0} | options)
    return list(monitor(detector, source, config, AlarmPolicy(2, 3), pipe=pipe))


def sound(seconds: float, seed: int = 1) -> np.ndarray:
    return hum(np.random.default_rng(seed), seconds=seconds)


def encode(samples: np.ndarray, rate: int = RATE, **options) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, **{"format": "WAV", "subtype": "PCM_16"} | options)
    return content.getvalue()


def without_sizes(content: bytes) -> bytes:
    return content[:4] + bytes(4) + content[8:40] + bytes(4) + content[44:]


def shown(lines: list[dict]) -> list[tuple]:
    """Name, start, and end or error of each line."""
    names = [os.path.basename(line["source"]) for line in lines]
    ends = [line.get("end_s", line.get("error")) for line in lines]
    return list(zip(names, [line["start_s"] for line in lines], ends, strict=True))


def heard(lines: list[dict]) -> list[dict]:
    """Without what tells where and when the sound came from."""
    origin = ("id", "time", "time_from", "source", "event_id", "since")
    return [{name: value for name, value in line.items() if name not in origin} for line in lines]


def test_a_wav_with_48_khz_and_32_bits_in_stereo_is_heard_as_from_a_file(detector, tmp_path):
    wide = np.repeat(np.repeat(sound(3), 3)[:, None], 2, axis=1)
    soundfile.write(tmp_path / "a.wav", wide, 48_000, subtype="PCM_32")
    content = (tmp_path / "a.wav").read_bytes()
    from_file = watch(detector, tmp_path / "a.wav")
    from_pipe = watch(detector, "-", io.BytesIO(content[:40] + b"\xff\xff\xff\xff" + content[44:]))
    assert heard(from_file) == heard(from_pipe) and len(from_pipe) == 3


def test_a_header_in_a_pipe_is_not_a_knock(detector):
    lines = watch(
        detector, "-", io.BytesIO(encode(sound(3)) + b"LIST" + struct.pack("<I", 400) + bytes(range(200)) * 2)
    )
    assert [line["is_anomaly"] for line in lines] == [False] * 3
    raw = watch(detector, "-", io.BytesIO(encode(sound(3))[44:]))
    assert heard(raw) == heard(lines)


def test_a_pipe_that_pauses_is_read_as_it_comes(detector):
    content, (reader, writer) = encode(sound(2), format="FLAC"), os.pipe()
    got: list[dict] = []

    def write():
        with open(writer, "wb", buffering=0) as file:
            for start in range(0, len(content), 3001):
                file.write(content[start : start + 3001])
                time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb") as pipe:
        got = watch(detector, "-", pipe)
    thread.join()
    assert [line["end_s"] for line in got] == [1.0, 2.0]


def test_faults_of_a_pipe_are_lines(detector):
    assert shown(watch(detector, "-", io.BytesIO(b""))) == [
        ("-", 0.0, "is too short, 0.000 s; at least 0.5 s are needed.")
    ]
    cut = watch(detector, "-", io.BytesIO(encode(sound(3))[:50_000]))
    assert shown(cut)[1:] == [
        ("-", 1.0, 1.561),
        ("-", 1.561, "the WAV in the pipe is cut off: 1.561 of 3.000 s came."),
    ]
    (other,) = watch(detector, "-", io.BytesIO(encode(sound(1), format="OGG", subtype="VORBIS")))
    assert "the pipe holds OGG" in other["error"]


def test_an_option_that_contradicts_the_header_is_refused(saved, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(encode(sound(1), 48_000))))
    assert main(["monitor", saved, "-", "--sampling-rate", "16000"]) == 2
    printed = capsys.readouterr()
    assert "--sampling-rate is 16000, but the pipe holds WAV, 48000 Hz" in printed.err and not printed.out


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "0", "-1", "1e9"])
def test_windows_of_no_length_or_without_end_are_refused(value, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["monitor", "detector", "-", f"--window-seconds={value}"])
    assert stopped.value.code == 2
    written = float(value) if np.isfinite(float(value)) else value
    expected = f"--window-seconds is {written!r}; accepted are numbers from 0.5 to 3600, auto."
    assert expected in capsys.readouterr().err


def test_a_window_is_as_long_as_the_normal_clips(detector, tmp_path):
    soundfile.write(tmp_path / "a.wav", hum(np.random.default_rng(9), seconds=3.0), RATE)
    lines = list(monitor(detector, tmp_path / "a.wav"))
    assert [line["end_s"] for line in lines] == [1.0, 2.0, 3.0] and not any(line["abstain_reason"] for line in lines)
    # Of much less sound than the normal clips have nothing is concluded.
    lines = list(monitor(detector, tmp_path / "a.wav", MonitorConfig(window_seconds=0.5)))
    assert len(lines) == 6 and all(line["is_anomaly"] is None for line in lines)
    assert "too short: 0.5 s long, the normal clips have 1 s or more" in lines[0]["abstain_reason"]


@pytest.mark.parametrize(
    "source, option",
    [
        ("-", ["--settle-seconds", "3"]),
        ("-", ["--subfolders", "false"]),
        ("file", ["--subfolders", "false"]),
        ("folder", ["--sample-format", "s32le"]),
        ("folder", ["--settle-seconds", "3"]),
    ],
)
def test_options_that_would_not_be_used_are_refused(saved, tmp_path, source, option, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert main(["monitor", saved, source if source == "-" else str(tmp_path / source), *option]) == 2
    assert f"{option[0]} is given, but it would not be used" in capsys.readouterr().err


def test_a_file_whose_header_has_no_sizes_is_followed(detector, tmp_path, quick):
    path = tmp_path / "a.wav"
    path.write_bytes(without_sizes(encode(sound(2.2))))
    lines = monitor(detector, path, MonitorConfig(window_seconds=1.0, wait_seconds=0.5))
    assert [next(lines)["end_s"] for _ in range(2)] == [1.0, 2.0]
    path.write_bytes(without_sizes(encode(sound(3.2))))
    assert [line["end_s"] for line in lines] == [3.0]


def test_a_file_whose_size_wrapped_is_read_to_its_end(detector, tmp_path, caplog):
    content = encode(sound(3))
    path = tmp_path / "a.wav"
    path.write_bytes(
        content[:4] + struct.pack("<I", 36 + RATE) + content[8:40] + struct.pack("<I", RATE) + content[44:]
    )
    assert [line["end_s"] for line in watch(detector, path)] == [1.0, 2.0, 3.0]
    assert "its header says 0.500 s; all 3.000 s were read" in caplog.text
    caplog.clear()
    assert [line["end_s"] for line in watch(detector, tmp_path)] == [1.0, 2.0, 3.0]
    assert "its header says 0.500 s; all 3.000 s" in caplog.text


def test_a_file_that_is_cut_off_says_so_behind_its_windows(detector, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encode(sound(3))[: 44 + 80_000])
    *windows, fault = watch(detector, path)
    assert [line["end_s"] for line in windows] == [1.0, 2.0]
    assert fault["error"].startswith("is cut off: 2.500 of 3.000 s are there")


@pytest.mark.parametrize("seconds", [1.5, 2.0, 4.0])
def test_a_file_that_is_made_anew_under_its_name_is_read_from_its_start(detector, tmp_path, quick, seconds):
    path = tmp_path / "a.wav"
    path.write_bytes(encode(sound(2)))
    lines = monitor(detector, path, MonitorConfig(window_seconds=1.0, wait_seconds=0.5))
    assert [next(lines)["end_s"] for _ in range(2)] == [1.0, 2.0]
    path.write_bytes(encode(sound(seconds, seed=2)))
    fault, *windows = lines
    assert "is another recording than before" in fault["error"] and fault["start_s"] == 2.0
    assert [line["end_s"] for line in windows] == [1.0, *np.arange(1, seconds) + min(1, seconds - 1)]


def test_a_file_that_goes_away_is_waited_for(detector, tmp_path, quick):
    path = tmp_path / "a.wav"
    path.write_bytes(encode(sound(1)))
    lines = monitor(detector, path, MonitorConfig(window_seconds=1.0, wait_seconds=1.0, settle_seconds=0.2))
    assert next(lines)["end_s"] == 1.0
    path.rename(tmp_path / "away")
    assert next(lines)["error"].endswith("Waiting for it.")
    (tmp_path / "away").write_bytes(encode(sound(2)))
    (tmp_path / "away").rename(path)
    assert [line["end_s"] for line in lines] == [2.0]


def test_a_folder_that_goes_away_while_it_is_watched(detector, tmp_path, quick):
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "a.wav").write_bytes(encode(sound(1)))
    lines = monitor(detector, inbox, MonitorConfig(window_seconds=1.0, wait_seconds=1.0))
    assert shown([next(lines)]) == [("a.wav", 0.0, 1.0)]
    inbox.rename(tmp_path / "gone")
    assert "the folder cannot be read" in next(lines)["error"]
    (tmp_path / "gone" / "b.wav").write_bytes(encode(sound(1, seed=2)))
    (tmp_path / "gone").rename(inbox)
    assert shown(list(lines)) == [("b.wav", 0.0, 1.0)]


def test_a_folder_of_broken_files_does_not_stop_the_work(detector, tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "b.raw").write_bytes(bytes(32_000))
    (tmp_path / "c.wav").write_bytes(encode(sound(1))[:20_000])
    (tmp_path / "d.flac").write_bytes(encode(sound(1), format="FLAC")[:5000])
    (tmp_path / "e.wav").write_bytes(encode(sound(1)))
    lines = watch(detector, tmp_path)
    assert [os.path.basename(line["source"]) for line in lines] == ["a.wav", "b.raw", "c.wav", "d.flac", "e.wav"]
    assert ["error" in line for line in lines] == [True, True, True, True, False]


def test_a_long_time_of_deciding_does_not_delay_the_next_look(detector, tmp_path, monkeypatch):
    now, naps = [0.0], []

    def sleep(seconds: float):
        naps.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(folder.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(folder.time, "sleep", sleep)
    (tmp_path / "a.wav").write_bytes(encode(sound(1)))
    lines = monitor(detector, tmp_path, MonitorConfig(window_seconds=1.0, wait_seconds=20))
    assert next(lines)["end_s"] == 1.0
    now[0] += 3600  # what deciding took
    (tmp_path / "b.wav").write_bytes(encode(sound(1, seed=2)))
    assert next(lines)["end_s"] == 1.0
    assert max(naps) == 0.5


@pytest.mark.parametrize(
    "seconds, spans",
    [
        (0.7, [(0, 0.7)]),
        (1.4, [(0, 1.4)]),
        (1.6, [(0, 1), (1, 1.6)]),
        (3, [(0, 1), (1, 2), (2, 3)]),
        (3.2, [(0, 1), (1, 2), (2, 3.2)]),
    ],
)
def test_nothing_of_a_recording_in_a_folder_remains_unheard(detector, tmp_path, seconds, spans):
    (tmp_path / "a.wav").write_bytes(encode(sound(seconds)))
    assert [(line["start_s"], line["end_s"]) for line in watch(detector, tmp_path)] == spans


def test_what_is_watched_is_said_at_the_start(detector, tmp_path, caplog):
    caplog.set_level("INFO", logger="hf_asd")
    for name in ("a.wav", "day/b.wav", "day/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(sound(1)))
    (tmp_path / "notes.txt").write_text("")
    assert len(watch(detector, tmp_path)) == 3
    assert "1 recording, and 2 in 1 subfolder: watched as well; not recordings by their names: 1 file (" in caplog.text
    assert len(watch(detector, tmp_path, subfolders=False)) == 1
    assert "2 in 1 subfolder: not watched (--subfolders true)" in caplog.text


def test_a_pipe_or_device_as_source_is_refused(detector, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is not a file or folder. Send a device or a pipe with: cat"):
        watch(detector, tmp_path / "pipe")


def command(saved: str, *words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "hf_asd", "monitor", saved, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
        **options,
    )


@pytest.mark.slow
def test_ctrl_c_ends_with_the_summary(saved, tmp_path):
    (tmp_path / "a.wav").write_bytes(encode(sound(1)))
    process = command(saved, str(tmp_path), "--wait-seconds", "inf")
    assert json.loads(process.stdout.readline())["end_s"] == 1.0
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and not out
    assert err.splitlines()[-1] == "1 window, 0 anomalies, 0 undecided, 0 alarms, 0 errors" and "Traceback" not in err


@pytest.mark.slow
def test_a_reader_that_stops_reading_ends_it_quietly(saved, tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.wav").write_bytes(encode(sound(1)))
    process = command(saved, str(tmp_path))
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 141 and "Traceback" not in err and "Exception ignored" not in err
