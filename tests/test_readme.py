"""
Runs the commands of the README on short generated recordings, and checks that what it refers to exists. Commands that
install, download, or need the Hub are not run.
"""

import csv
import json
import re
import subprocess

import numpy as np
import pytest
import soundfile
from documents import ROOT, code_blocks, section, shim, write_recordings
from sounds import RATE

from hf_asd import AnomalyDetector


README = (ROOT / "README.md").read_text(encoding="utf-8")
TWO_MINUTES = section(README, "## Check a machine in two minutes")
DAYS = ("1_monday.wav", "2_tuesday.wav", "3_wednesday.wav")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """The two folders of the README, and an environment in which its commands run."""
    folder = tmp_path_factory.mktemp("readme")
    write_recordings(folder / "my_fan", [f"{number:02d}.wav" for number in range(32)])
    write_recordings(folder / "new", [DAYS[0]], seed=1)
    write_recordings(folder / "new", [DAYS[1]], pitch=170.0, seed=2)
    soundfile.write(folder / "new" / DAYS[2], np.zeros(RATE), RATE)  # silent
    return folder, shim(folder / "bin")


@pytest.fixture(scope="module")
def after_commands(workshop):
    """What the shell blocks of the two minutes print."""
    folder, environment = workshop
    commands = "".join(code_blocks(TWO_MINUTES, "bash"))
    assert "hf-asd fit" in commands and "hf-asd score" in commands
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_the_commands_find_the_fault(after_commands):
    folder, printed = after_commands
    assert "my_fan: 32 normal recordings, threshold" in printed
    assert "1 of 3 recordings are anomalous, 1 without a decision" in printed
    assert (folder / "my_detector" / "report.html").stat().st_size > 10_000
    with open(folder / "result.csv", newline="") as file:
        decisions = {row["file"].rpartition("/")[2]: row["is_anomaly"] for row in csv.DictReader(file)}
    assert decisions == {DAYS[0]: "False", DAYS[1]: "True", DAYS[2]: ""}


@pytest.mark.slow
def test_python_gives_the_same_detector_and_decision(after_commands, monkeypatch):
    folder, _ = after_commands
    of_command = AnomalyDetector.from_pretrained(folder / "my_detector").machines["my_fan"]
    names = {}
    monkeypatch.chdir(folder)
    (block,) = code_blocks(section(README, "### In Python"), "python")
    exec(compile(block, "README.md", "exec"), names)
    of_python = names["detector"].machines["my_fan"]
    assert of_python.threshold == of_command.threshold
    assert of_python.leave_one_out_scores() == of_command.leave_one_out_scores()
    assert names["decision"].is_anomaly is True and names["decision"].reasons
    with open(folder / "result.csv", newline="") as file:
        scored = {row["file"].rpartition("/")[2]: float(row["anomaly_score"]) for row in csv.DictReader(file)}
    assert names["decision"].anomaly_score == pytest.approx(scored[DAYS[1]], rel=1e-6)
    found = names["detect"]([f"new/{DAYS[0]}", f"new/{DAYS[1]}"])
    assert [json.loads(json.dumps(one))["is_anomaly"] for one in found] == [False, True]


@pytest.mark.slow
def test_the_command_that_watches_a_machine(after_commands, workshop):
    folder, environment = workshop
    (command,) = re.findall(r"^hf-asd monitor .*?(?= *#)", README, re.MULTILINE)
    done = subprocess.run(
        ["sh", "-e", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["is_anomaly"] for line in done.stdout.splitlines()] == [False, True, None]


def test_the_shown_output_is_that_of_the_present_program():
    """The headings of the table, and the columns that the text explains."""
    (shown,) = [block for block in code_blocks(TWO_MINUTES, "") if "threshold" in block and "p-value" in block]
    heading = next(line for line in shown.splitlines() if line.startswith("file"))
    assert heading.split() == ["file", "score", "threshold", "p-value", "decision"]


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "CHANGELOG.md", "docs/edge.md", "docs/scale.md"],
)
def test_links_and_named_files_exist(document: str):
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:hf_asd|recipes|benchmarks|tests|examples)/[\w./-]+)`", text)
    missing = [link for link in links if not (path.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing, f"{document} names files that do not exist: {', '.join(missing)}"


def test_figures_of_the_readme_are_those_of_the_benchmarks():
    """The few figures that the README repeats stand in benchmarks/README.md as well."""
    benchmarks = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    expected = section(README, "## What to expect")
    for figure in ("83.8", "83.2", "96 %", "98 %", "4.8 %", "4.5 %", "2.5 %"):
        assert figure in expected and figure in benchmarks, figure
