"""`handler.py` of a pushed detector, called as the server of an Inference Endpoint calls it."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import snapshot_download

from hf_asd import AnomalyDetector, load_folder


ROOT = Path(__file__).parents[2]
RATE = 16_000
# As the toolkit of the endpoints does it: the repository comes first among the places of modules, `handler.py` is run
# as a module, and its class gets the folder.
SERVER = """
import base64, importlib.util, json, sys
folder, recording = sys.argv[1:]
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
content = open(recording, "rb").read()
answers = [handler({"inputs": content}), handler({"inputs": base64.b64encode(content).decode()})]
answers.append(handler({"inputs": content, "parameters": {"explain": False}}))
import hf_asd
print(json.dumps({"code": hf_asd.__file__, "answers": answers}))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("endpoint") / "fan", np.random.default_rng(0)
    folder.mkdir()
    for clip in range(8):
        write(folder / f"{clip}.wav", 0.05 * rng.standard_normal(2 * RATE))
    return folder


@pytest.fixture(scope="module")
def detector(clips):
    return AnomalyDetector().fit(load_folder(clips))


@pytest.fixture(scope="module")
def whistle(clips):
    path = clips.parent / "whistle.wav"
    write(path, 0.05 * np.random.default_rng(9).standard_normal(2 * RATE) + 0.1 * np.sin(np.arange(2 * RATE)))
    return path


@pytest.fixture
def repository(hub, detector, clips):
    """What an endpoint has on its disk: the whole repository; made once for all tests."""
    folder = clips.parent / "repository"
    if not folder.exists():
        detector.push_to_hub("me/asd-fan")
        snapshot_download("me/asd-fan", local_dir=folder)
    return folder


@pytest.fixture
def handler(repository):
    spec = importlib.util.spec_from_file_location("handler", repository / "handler.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module.EndpointHandler(str(repository))


def write(path, samples):
    soundfile.write(path, samples, RATE, subtype="PCM_16")


def test_bytes_and_base64_give_the_one_record_of_a_decision(handler, detector, whistle):
    expected = detector(whistle, explain=True).to_dict()
    assert expected["is_anomaly"] and expected["reasons"]
    content = whistle.read_bytes()
    assert handler({"inputs": content}) == expected
    text = base64.b64encode(content).decode()
    assert handler({"inputs": text}) == handler({"inputs": f"data:audio/wav;base64,{text}"}) == expected
    json.dumps(expected)  # the server answers in JSON


def test_parameters_come_with_the_request_or_its_address(handler, detector, whistle):
    content = whistle.read_bytes()
    assert handler({"inputs": content, "parameters": {"explain": False}})["reasons"] is None
    assert handler({"inputs": content, "parameters": {"machine": "fan", "window_seconds": None}})["machine"] == "fan"
    windows = handler({"inputs": content, "parameters": {"window_seconds": 1}})
    assert windows["num_windows"] == 2 and windows["worst_window_start_s"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "inputs is missing"),
        ({"inputs": [0.1, 0.2]}, "inputs is of type list"),
        ({"inputs": "/etc/passwd"}, "inputs is not base64"),
        ({"inputs": "https://example.com/a.wav"}, "inputs is not base64"),
        ({"inputs": b"not a recording"}, "recording in memory"),
        ({"inputs": b""}, "recording in memory"),
        ({"inputs": b"RIFF", "parameters": {"machin": "fan"}}, "machin; accepted are machine, explain"),
        ({"inputs": b"RIFF", "parameters": {"explain": "yes"}}, "explain is 'yes'; accepted are true and false"),
        ({"inputs": b"RIFF", "parameters": "fan"}, "parameters is 'fan'"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_a_client_can_read(handler, data, words):
    answer = handler(data)
    assert set(answer) == {"error"} and re.search(words, answer["error"]), answer


def test_a_machine_that_is_not_known_and_a_window_of_no_length(handler, whistle):
    content = whistle.read_bytes()
    assert "window_seconds" in handler({"inputs": content, "parameters": {"window_seconds": -1}})["error"]
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(2 * RATE), RATE, format="WAV")
    answer = handler({"inputs": silent.getvalue()})
    assert answer["is_anomaly"] is None and "silent" in answer["abstain_reason"]


def test_the_repository_runs_with_its_own_code(repository, detector, whistle, tmp_path):
    """In a process that finds the package nowhere but in the repository."""
    command = [sys.executable, "-c", SERVER, str(repository), str(whistle)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert Path(printed["code"]).is_relative_to(repository)
    expected = detector(whistle, explain=True).to_dict()
    assert printed["answers"] == [expected, expected, expected | {"reasons": None}]


def test_loading_the_detector_fetches_none_of_its_code(hub, detector, tmp_path):
    detector.push_to_hub("me/asd-fan")
    AnomalyDetector.from_pretrained("me/asd-fan", cache_dir=tmp_path)
    assert not list(tmp_path.rglob("*.py")) and not list(tmp_path.rglob("*.flac"))


@pytest.mark.install
def test_the_repository_runs_in_an_environment_of_exactly_its_requirements(repository, detector, whistle, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python, requirements = environment / "bin" / "python", repository / "requirements.txt"
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", "-r", requirements]
    subprocess.run(install, check=True, cwd=tmp_path)
    command = [python, "-I", "-c", SERVER, str(repository), str(whistle)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])["answers"]
    expected = detector(whistle, explain=True).to_dict()
    for answer in answers:
        assert answer["anomaly_score"] == pytest.approx(expected["anomaly_score"], rel=1e-4)
        assert answer["is_anomaly"] is True
