"""What the page rests on, without a browser: long work, other thresholds, places of normal recordings, the command."""

import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from browser import free_port
from documents import write_recordings
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main


pytest.importorskip("gradio", reason='gradio is missing: pip install "hf-asd[app]"')


@pytest.fixture(scope="module")
def fan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fan") / "fan"
    write_recordings(folder, [f"{number:02d}.wav" for number in range(12)])
    return folder


@pytest.fixture(scope="module")
def detector(fan):
    return AnomalyDetector().fit(load_folder(fan))


def test_work_tells_how_far_it_is_and_stops():
    from hf_asd.app.work import Stopped, Work

    def endless(work):
        for step in range(10**6):
            work.tell(f"step {step}", step / 10**6)
            time.sleep(0.01)

    work = Work(endless)
    next(work.wait())
    assert work.text.startswith("step ")
    work.stop()
    with pytest.raises(Stopped):
        work.result()
    with pytest.raises(ZeroDivisionError):
        Work(lambda _: 1 / 0).result()
    assert Work(lambda _: 7).result() == 7


def test_another_threshold_decides_as_a_detector_that_has_it(fan, detector, tmp_path):
    from hf_asd.app.judging import at_threshold, num_false_alarms

    bank = detector.machines["fan"]
    decision = detector(fan / "03.wav")
    own = bank.threshold
    assert at_threshold(decision, bank, None) is decision
    for threshold in (bank.normal_scores.min() - 1, decision.anomaly_score + 1e-6, bank.normal_scores.max() + 1):
        expected = detector(fan / "03.wav")
        found = at_threshold(decision, bank, threshold)
        assert found.is_anomaly == (expected.anomaly_score > threshold) and found.threshold == threshold
        assert num_false_alarms(bank, threshold) == sum(score > threshold for score in bank.normal_scores)
        changed = AnomalyDetector()
        changed.machines, changed.profiles = dict(detector.machines), detector.profiles
        changed.machines["fan"] = replace(bank, threshold=float(threshold))
        assert changed(fan / "03.wav") == found
    assert bank.threshold == own


def test_silence_has_no_decision_at_any_threshold(detector, tmp_path):
    from hf_asd.app.judging import at_threshold

    soundfile.write(tmp_path / "off.wav", np.zeros(RATE), RATE)
    decision = detector(tmp_path / "off.wav")
    found = at_threshold(decision, detector.machines["fan"], -1e9)
    assert found.is_anomaly is None and found.abstain_reason == decision.abstain_reason


def test_normal_recordings_are_found_by_their_names(fan, detector, tmp_path):
    from hf_asd.app.normal_recordings import NormalRecordings

    normal = NormalRecordings.of_folder(fan, detector)
    assert np.array_equal(normal.read("fan/03.wav", 0), soundfile.read(fan / "03.wav", dtype="float32")[0])
    assert normal.read("fan/99.wav", 0) is None
    # A window of a long recording.
    soundfile.write(tmp_path / "long.wav", hum(np.random.default_rng(0), seconds=4), RATE)
    long = NormalRecordings({"fan/long.wav": str(tmp_path / "long.wav")})
    window = soundfile.read(tmp_path / "long.wav", dtype="float32")[0][RATE : 3 * RATE]
    assert np.array_equal(long.read("fan/long.wav#1.0-3.0", 0), window)
    write_recordings(tmp_path / "other", ["a.wav", "b.wav"])
    with pytest.raises(ValueError, match="--normal is .*other.*learned from none of its recordings.*fan/00.wav"):
        NormalRecordings.of_folder(tmp_path / "other", detector)


def test_one_volume_for_all(fan, detector):
    from hf_asd.app.judging import JudgedClip
    from hf_asd.app.normal_recordings import NormalRecordings
    from hf_asd.app.pictures import PLAYED_PEAK, sound_views

    volumes, normal = {}, NormalRecordings.of_folder(fan, detector)
    for name in ("03.wav", "07.wav"):
        decision = detector(fan / name)
        this, beside = sound_views(detector, JudgedClip(name, fan / name, decision), decision, normal, volumes)
        assert this is not None and beside is not None and set(this.pictures) == {"light", "dark"}
        assert 0 < this.left < this.right <= 100 and 0 <= this.top < this.bottom < 100
        first = volumes.setdefault("first", volumes["fan"])
        assert volumes["fan"] == first, "set by the first, kept for the others"
    nearest = normal.read(detector(fan / "03.wav").nearest_clip_id, 0)
    assert volumes["fan"] == pytest.approx(PLAYED_PEAK / np.abs(nearest).max())
    gone = JudgedClip("gone.wav", fan / "gone.wav", detector(fan / "03.wav"))
    assert sound_views(detector, gone, gone.decision, normal, volumes) == (None, None)


def test_uploads_of_one_name_are_kept_apart_and_messages_do_not_name_folders(tmp_path):
    from hf_asd.app.normal_recordings import NormalRecordings
    from hf_asd.app.sessions import Sessions

    sessions = Sessions(tmp_path / "pages", None, NormalRecordings())
    (tmp_path / "pages").mkdir()
    session = sessions.of("../../evil")
    assert session is sessions.of("../../evil") and session is not sessions.of("other")
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.wav").write_bytes(bytes([number]))
        files.append(str(tmp_path / str(number) / "a.wav"))
    assert [path.read_bytes() for _, path in session.take(files, "checked")] == [b"\0", b"\1"]
    folder = session.take_together(files, "learned")
    assert sorted(path.name for path in folder.iterdir()) == ["a (1).wav", "a.wav"]
    assert session.plain(f"{folder}/a.wav: is cut off") == "a.wav: is cut off"
    sessions.close("../../evil")
    assert not folder.exists() and len(list((tmp_path / "pages").iterdir())) == 1
    with pytest.raises(ValueError, match="does not come from a page"):
        sessions.of(None)


def test_who_can_reach_the_page():
    from hf_asd.app.config import is_local

    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_local(host) for host in ("0.0.0.0", "192.168.1.4", "::", "plant.example")] == [False] * 4


@pytest.mark.slow
def test_files_are_deleted_at_the_end_and_nothing_is_asked_elsewhere(detector, monkeypatch):
    import os
    from pathlib import Path

    from hf_asd.app.serving import serving
    from hf_asd.app.settings import AppSettings

    asked, connect = [], socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda *words: [asked.append(words[1]), connect(*words)][1])
    before = os.environ.get("GRADIO_TEMP_DIR")
    with serving(AppSettings(detector), port=free_port()) as address:
        folder = Path(os.environ["GRADIO_TEMP_DIR"]).parent
        assert folder.is_dir() and address.startswith("http://127.0.0.1:")
    assert asked and all(place[0] == "127.0.0.1" for place in asked if isinstance(place, tuple))
    assert not folder.exists() and os.environ.get("GRADIO_TEMP_DIR") == before


def test_the_command_says_what_is_wrong(fan, detector, tmp_path, capsys):
    assert main(["app", "--normal", str(fan)]) == 2
    assert "--normal and --revision belong to a detector" in capsys.readouterr().err
    assert main(["app", str(tmp_path / "missing")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 2
        assert f"--port is {port}, which another program uses" in capsys.readouterr().err
    assert main(["app", "--host", "192.0.2.1"]) == 2
    assert "--host is 192.0.2.1, which is not an address of this computer" in capsys.readouterr().err
    script = "import sys; sys.modules['gradio'] = None; from hf_asd.cli import main; sys.exit(main(['app']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('hf-asd app: the page needs gradio: pip install "hf-asd[app]" (')
