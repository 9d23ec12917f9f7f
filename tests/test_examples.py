"""
Runs what lies in `examples/`. The notebook needs no notebook program here: its code cells run in order in one
namespace, in a temporary folder, as a kernel would run them.
"""

import json
import re
import subprocess

import pytest
from documents import ROOT, shim


NOTEBOOK = ROOT / "examples" / "own_machine.ipynb"


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs_from_folder_to_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, cell in enumerate(code_cells(), start=1):
        exec(compile(cell, f"{NOTEBOOK.name}, code cell {number}", "exec"), names)
    assert names["decision"].is_anomaly is True and names["decision"].reasons
    (auc,) = re.findall(r"^AUC (\d\.\d+)$", capsys.readouterr().out, re.MULTILINE)
    assert float(auc) > 0.8
    assert (tmp_path / "my_detector" / "report.html").stat().st_size > 10_000


def test_the_notebook_is_valid():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(not output.get("ename") for cell in notebook["cells"] for output in cell.get("outputs", ()))


@pytest.mark.slow
def test_example_recordings_are_written(tmp_path):
    command = ["python", str(ROOT / "examples" / "make_recordings.py"), "--count", "5", "--seconds", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=shim(tmp_path / "bin"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "my_fan").glob("*.wav"))) == 5
    assert [file.name[:2] for file in sorted((tmp_path / "new").iterdir())] == ["1_", "2_", "3_"]
