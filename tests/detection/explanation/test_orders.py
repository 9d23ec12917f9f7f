"""Orders of the shaft and defect frequencies of bearings, against published values."""

import json

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.detection.explanation.orders import BEARINGS, Bearing, Shaft, name_orders, parse_bearing
from hf_asd.detection.explanation.words import Reason


# Multiples of the speed as their data sets state them: the Bearing Data Center of Case Western Reserve University
# (ball: two strikes a turn), IMS at 2000 1/min (BPFO 236.4, BPFI 296.9, ball 139.9 Hz), LDK at 35 Hz (BPFO 107.91 Hz).
PUBLISHED = [
    ("6205-2RS-JEM", "BPFI", 5.4152),
    ("6205-2RS-JEM", "BPFO", 3.5848),
    ("6205-2RS-JEM", "FTF", 0.39828),
    ("6205-2RS-JEM", "BSF", 4.7135 / 2),
    ("6203-2RS-JEM", "BPFI", 4.9469),
    ("6203-2RS-JEM", "BPFO", 3.0530),
    ("6203-2RS-JEM", "FTF", 0.3817),
    ("6203-2RS-JEM", "BSF", 3.9874 / 2),
    ("ZA-2115", "BPFO", 236.4 * 60 / 2000),
    ("ZA-2115", "BPFI", 296.9 * 60 / 2000),
    ("ZA-2115", "BSF", 139.9 * 60 / 2000),
    ("UER204", "BPFO", 107.91 / 35),
]


@pytest.mark.parametrize(("name", "kind", "order"), PUBLISHED)
def test_defect_frequencies_are_those_that_were_published(name, kind, order):
    # IMS and Case Western round their dimensions and angles.
    assert BEARINGS[name].orders()[kind] == pytest.approx(order, rel=3e-3)


def test_the_cage_and_the_races_add_up():
    orders = Bearing(12, 8.0, 50.0, 25.0).orders()
    assert orders["BPFO"] + orders["BPFI"] == pytest.approx(12)  # each element passes once a turn relative to a race
    assert orders["BPFO"] == pytest.approx(12 * orders["FTF"])


def test_frequencies_are_named_by_orders():
    shaft = Shaft(1480)
    assert shaft.name(49.0) == "2.0 x shaft speed"  # 49.33 Hz, tones are known within a hertz
    assert shaft.name(24.7) == "1.0 x shaft speed" and shaft.name(62.0) == "2.5 x shaft speed"
    with_bearing = Shaft(1480, BEARINGS["6205-2RS-JEM"])
    hertz = 3.5848 * 1480 / 60
    assert with_bearing.name(hertz) == "3.6 x shaft speed, at BPFO of the outer race (88.42 Hz)"
    assert with_bearing.name(2 * hertz).endswith("at 2 x BPFO of the outer race (176.8 Hz)")
    inner = 5.4152 * 1480 / 60
    sideband = "a sideband of BPFI of the inner race, shaft speed below (108.9 Hz)"
    assert with_bearing.name(inner - 1480 / 60).endswith(sideband)
    assert with_bearing.name(inner, is_spacing=True).endswith("at BPFI of the inner race (133.6 Hz)")
    assert with_bearing.name(800.0) == "about 32 x shaft speed"


def test_what_is_a_bearing():
    assert parse_bearing(["6205-2rs-jem"]) is BEARINGS["6205-2RS-JEM"]
    assert parse_bearing(["9", "7.94", "39.04"]) == Bearing(9, 7.94, 39.04)
    assert parse_bearing(["16", "8.4", "71.5", "15.17"]) == Bearing(16, 8.4, 71.5, 15.17)
    for words in (["6205"], ["9", "7.94"], ["9", "50", "39"], ["8.5", "1", "4"]):
        with pytest.raises(ValueError, match="bearing is .*; accepted are"):
            parse_bearing(words)


def test_only_tones_and_sidebands_have_orders():
    tone = Reason("tone", "new tone near 49 Hz, 12 dB above normal", low_hz=48.3, high_hz=49.7)
    rhythm = Reason("rhythm", "sidebands 25 Hz apart from 1 to 2 kHz, 9 dB above normal", spacing_hz=24.6)
    other = Reason("louder", "louder from 1 to 2 kHz, 9 dB above normal", low_hz=1000, high_hz=2000)
    named = name_orders([tone, rhythm, other], Shaft(1480))
    assert [reason.text for reason in named] == [
        "new tone near 49 Hz, 2.0 x shaft speed, 12 dB above normal",
        "sidebands 25 Hz apart from 1 to 2 kHz, 1.0 x shaft speed, 9 dB above normal",
        other.text,
    ]


@pytest.mark.slow
def test_orders_in_score_and_monitor(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "fan").mkdir()
    for clip in range(12):
        soundfile.write(tmp_path / "fan" / f"{clip:02d}.wav", hum(rng, seconds=2.0), RATE)
    saved = str(AnomalyDetector(None).fit(load_folder(tmp_path / "fan")).save_pretrained(tmp_path / "detector"))
    tone = 0.05 * np.sin(2 * np.pi * 350 * np.arange(2 * RATE) / RATE)
    soundfile.write(tmp_path / "new.wav", hum(rng, seconds=2.0) + tone, RATE)
    options = ["--explain", "--speed", "3000", "--bearing", "UER204"]
    for command in (["score", saved, str(tmp_path / "new.wav")], ["monitor", saved, str(tmp_path / "new.wav")]):
        assert main([*command, *options]) == 0
        printed = capsys.readouterr().out
        assert "near 350 Hz, 7.0 x shaft speed" in printed
        assert main([*command, *options[:-1], "6205"]) == 2
        assert "--bearing is 6205; accepted are" in capsys.readouterr().err
        assert main([*command, *options[1:]]) == 2
        assert "--speed is given, but it would not be used: add --explain" in capsys.readouterr().err
        assert main([*command, "--explain", "--bearing", "UER204"]) == 2
        assert "--bearing is given, but it would not be used: add --speed" in capsys.readouterr().err
    assert json.loads(json.dumps(BEARINGS["UER204"].orders()))
