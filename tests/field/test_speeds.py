"""The column `speed` of metadata.csv: reasons name orders of each recording's own speed."""

import json

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.data.speeds import speed_of


@pytest.fixture(scope="module")
def fan(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("fan"), np.random.default_rng(0)
    (folder / "fan").mkdir()
    (folder / "new").mkdir()
    for clip in range(12):
        soundfile.write(folder / "fan" / f"{clip:02d}.wav", hum(rng, seconds=2.0), RATE)
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    tone = 0.05 * np.sin(2 * np.pi * 350 * np.arange(2 * RATE) / RATE)
    for name in ("slow", "fast", "unknown"):
        soundfile.write(folder / "new" / f"{name}.wav", hum(rng, seconds=2.0) + tone, RATE)
    return folder


def reasons(folder, table: str, *options: str) -> dict[str, str]:
    """By recording the reason about the tone, after a run with this table."""
    (folder / "new" / "metadata.csv").write_text(table)
    result = folder / "result.json"
    command = ["score", str(folder / "detector"), str(folder / "new"), "--explain", "--json", str(result), *options]
    assert main(command) == 0
    rows = [json.loads(line) for line in result.read_text().splitlines()]
    texts = {row["file"].rpartition("/")[2]: [one["text"] for one in row["reasons"]] for row in rows}
    return {name: next(text for text in own if "350 Hz" in text) for name, own in texts.items()}


@pytest.mark.slow
def test_each_recording_has_its_own_orders(fan, tmp_path):
    table = "file_name,Speed\nslow.wav,1500\nfast.wav,3000\nunknown.wav,\n"
    page = tmp_path / "page.html"
    found = reasons(fan, table, "--report", str(page))
    assert "14.0 x shaft speed" in found["slow.wav"] and "7.0 x shaft speed" in found["fast.wav"]
    assert "shaft speed" not in found["unknown.wav"]
    html = page.read_text(encoding="utf-8")
    assert "14.0 x shaft speed" in html and "7.0 x shaft speed" in html
    found = reasons(fan, table, "--speed", "6000")
    assert all("3.5 x shaft speed" in text for text in found.values())  # the option counts for all
    found = reasons(fan, table, "--bearing", "UER204")
    assert "BPFO" in found["fast.wav"] or "BPFI" in found["fast.wav"] or "x shaft speed," in found["fast.wav"]


@pytest.mark.slow
def test_levels_and_other_tables_are_no_speeds(fan):
    for table in (
        "file_name,speed\nslow.wav,1\nfast.wav,2\n",
        "file_name,speed\nslow.wav,28V\nfast.wav,fast\n",
        "recorder,speed\nA,1500\n",
    ):
        assert not any("shaft speed" in text for text in reasons(fan, table).values())


@pytest.mark.parametrize("value", ["148O", "-1480", "1480 rpm", "2e9", "nan"])
def test_a_wrong_speed_is_named(fan, capsys, value):
    table = fan / "new" / "metadata.csv"
    table.write_text(f"file_name,speed\nfast.wav,3000\nslow.wav,{value}\n")
    assert main(["score", str(fan / "detector"), str(fan / "new"), "--explain"]) == 2
    error = capsys.readouterr().err
    assert f"metadata.csv, line 3: speed is '{value}'; accepted is the speed of the shaft in 1/min" in error
    with pytest.raises(ValueError, match="metadata.csv, line 3: speed is "):
        load_folder(fan / "new")


def test_a_bearing_needs_a_speed(fan, capsys):
    (fan / "new" / "metadata.csv").write_text("file_name,rpm\nfast.wav,3000\n")
    command = ["score", str(fan / "detector"), str(fan / "new"), "--bearing", "UER204"]
    assert main(command) == 2
    assert "--bearing is given, but it would not be used: add --explain" in capsys.readouterr().err
    assert main([*command, "--explain"]) == 0
    assert "7.0 x shaft speed" in capsys.readouterr().out
    (fan / "new" / "metadata.csv").unlink()
    assert main([*command, "--explain"]) == 2
    assert "--bearing is given, but it would not be used: add --speed" in capsys.readouterr().err


def test_sessions_of_a_table_count_when_one_machine_is_scored(fan):
    (fan / "new" / "metadata.csv").write_text("file_name,session,condition\nslow.wav,monday,odd words\n")
    rows = load_folder(fan / "new", machine="fan", to_score=True)["test"]
    sessions = {row["audio"]["path"].rpartition("/")[2]: row["session"] for row in rows}
    assert sessions == {"slow.wav": "monday", "fast.wav": None, "unknown.wav": None}
    assert all(condition == "unknown" for condition in rows["condition"])


def test_speeds_of_attributes():
    assert speed_of([{"key": "load", "value": "20"}, {"key": "Shaft speed", "value": "1480.5"}]) == 1480.5
    assert speed_of([{"key": "speed", "value": "2"}]) is None and speed_of([]) is None
