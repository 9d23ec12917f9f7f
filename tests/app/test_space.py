"""The Space of a detector: what is published, and that it runs where nothing but its requirements is installed."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from browser import Tab, chromium
from documents import ROOT, write_recordings

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.hub.detector_space import GRADIO, requirements


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A detector, and a normal and a faulty recording."""
    folder = tmp_path_factory.mktemp("space")
    write_recordings(folder / "fan", [f"{number:02d}.wav" for number in range(8)])
    write_recordings(folder, ["good.wav"], seed=1)
    write_recordings(folder, ["fault.wav"], pitch=170.0, seed=2)
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    (folder / "detector" / "report.html").write_text("it holds sound")
    return folder


def test_push_writes_a_space_beside_the_detector(hub, place, capsys):
    assert main(["push", str(place / "detector"), "me/asd-fan", "--space", "--license", "mit"]) == 0
    assert capsys.readouterr().out == "detector: me/asd-fan\nspace: me/asd-fan\n"
    assert hub.repo("me/asd-fan").private and hub.repo("me/asd-fan", "spaces").private
    files = hub.repo("me/asd-fan", "spaces").files
    assert {"app.py", "requirements.txt", "packages.txt", "README.md", "detector/detector.json"} <= set(files)
    assert {"hf_asd/__init__.py", "hf_asd/app/parts.html", "hf_asd/app/page.js"} <= set(files)
    assert not [name for name in files if "report.html" == name.rpartition("/")[2] or "__pycache__" in name]
    card = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    expected = {"sdk": "gradio", "sdk_version": GRADIO, "app_file": "app.py", "suggested_hardware": "cpu-basic"}
    assert card.items() >= (expected | {"models": ["me/asd-fan"], "license": "mit"}).items()
    assert len(card["short_description"]) <= 60
    # Again: the older version is replaced, in one commit.
    commits = len(hub.repo("me/asd-fan", "spaces").commits)
    assert main(["push", str(place / "detector"), "me/asd-fan", "--space"]) == 0
    assert len(hub.repo("me/asd-fan", "spaces").commits) == commits + 1
    with_branch = ["push", str(place / "detector"), "me/asd-fan", "--space", "--revision", "v2"]
    assert main(with_branch) == 2


def test_the_requirements_are_those_of_the_package():
    lines = requirements().splitlines()
    names = [re.split("[<>=]", line)[0] for line in lines]
    assert {"torch", "transformers", "soundfile", "gradio"} <= set(names)
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lines[1:]), "what is installed here, pinned"
    assert not {"pytest", "peft", "hypothesis", "playwright"} & set(names)
    assert f"gradio=={GRADIO}" in (ROOT / "constraints.txt").read_text().splitlines(), "the tested version"


@pytest.mark.install
def test_it_runs_from_a_clean_venv_and_judges_a_clip(hub, place, tmp_path):
    from huggingface_hub import snapshot_download

    assert main(["push", str(place / "detector"), "me/asd-fan", "--space"]) == 0
    space = Path(snapshot_download("me/asd-fan", repo_type="space", local_dir=tmp_path / "space"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    # The index of PyTorch's CPU wheels may be out of reach here; it is not waited for.
    install = [python, "-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "5"]
    subprocess.run([*install, "-r", space / "requirements.txt"], check=True, cwd=tmp_path)
    port = "7999"
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = outside | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port, "SPACE_ID": "me/asd-fan"}
    with open(tmp_path / "log.txt", "wb") as log:
        app = subprocess.Popen([python, "app.py"], cwd=space, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait_for(address, app, tmp_path / "log.txt")
        with chromium() as browser:
            tab = Tab(browser.new_context(), address)
            tab.drop(place / "fault.wav")
            tab.page.locator(".verdict", has_text="Anomaly").wait_for(timeout=60_000)
            assert tab.page.get_by_label("Or a folder on this computer").count() == 0
            assert tab.page.get_by_role("tab", name="Learn").count() == 0
            assert "cannot be played here" in tab.text(".clip")
            tab.close()
    finally:
        app.terminate()
        app.wait(20)


def _wait_for(address: str, app: subprocess.Popen, log: Path):
    for _ in range(240):
        assert app.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())
