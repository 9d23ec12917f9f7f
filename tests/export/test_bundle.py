"""Bundles on disk: exported, run by ONNX Runtime through their own script, refused where they would differ."""

import json
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import Dataset
from small_encoders import small_encoder
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, SpectralStatistics, load_folder
from hf_asd.cli import main
from hf_asd.export.bundle_folder import export_bundle


ROOT = Path(__file__).parents[2]
WORDS = {True: "ANOMALY", False: "normal", None: "no decision"}


def write_fan(folder: Path) -> Path:
    """Twelve normal recordings of a second, and others to decide about."""
    rng = np.random.default_rng(0)
    (folder / "fan").mkdir()
    (folder / "new").mkdir()
    for clip in range(12):
        soundfile.write(folder / "fan" / f"{clip:02d}.wav", hum(rng), RATE)
    new = {"healthy": hum(rng), "faulty": hum(rng, 170), "off": 0.05 * hum(rng), "whole": hum(rng, 101, 1.9)}
    long, late = hum(rng, 100, 7.3), hum(rng, 100, 5.0)
    late[3 * RATE : 4 * RATE] += hum(rng, 170)
    late[RATE : 2 * RATE] = 0
    for name, clip in {**new, "long": long, "late": late}.items():
        soundfile.write(folder / "new" / f"{name}.wav", clip, RATE)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with `fan`, `new`, a `detector` and its `bundle`, which the command line wrote."""
    folder = write_fan(tmp_path_factory.mktemp("work"))
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    assert main(["export", str(folder / "detector"), "--output", str(folder / "bundle")]) == 0
    return folder


def script(folder: Path):
    """The module `score.py` of a bundle."""
    spec = spec_from_file_location("bundle_score", folder / "score.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_bundle_decides_as_the_package(work):
    detector, bundle = AnomalyDetector.from_pretrained(work / "detector"), script(work / "bundle").Detector()
    decisions = {}
    for file in sorted((work / "new").iterdir()):
        expected, found = detector(file), bundle(file)
        assert found["anomaly_score"] == pytest.approx(expected.anomaly_score, rel=1e-4), file
        assert found["p_value"] == pytest.approx(expected.p_value, rel=1e-4)
        assert found["decision"] == WORDS[expected.is_anomaly]
        assert found["is_unusual"] == bool(expected.is_unusual)
        assert found.get("windows", 1) == expected.num_windows
        assert found.get("unfit_windows", 0) == expected.num_unfit_windows
        assert found.get("worst_start_s") == expected.worst_window_start_s
        decisions[file.stem] = found["decision"]
    assert decisions["faulty"] == decisions["late"] == "ANOMALY"
    assert decisions["healthy"] == "normal" and decisions["off"] == "no decision"


@pytest.mark.slow
def test_the_graph_takes_several_clips_of_any_length(work):
    session = script(work / "bundle").Detector().session
    clips = np.stack([hum(np.random.default_rng(seed), 100 + 10 * seed, 0.713) for seed in range(5)])
    together = session.run(None, {"waveform": clips})
    alone = [session.run(None, {"waveform": clip[None]}) for clip in clips]
    for place, values in enumerate(together):
        np.testing.assert_allclose(values, np.concatenate([one[place] for one in alone]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_a_bundle_says_about_itself(work):
    about = json.loads((work / "bundle" / "detector.json").read_text())
    bank = AnomalyDetector.from_pretrained(work / "detector").machines["fan"]
    assert about["machine"] == "fan" and about["window_seconds"] == 1.0
    assert (about["threshold"], about["false_alarm_rate"]) == (bank.threshold, bank.false_alarm_rate)
    assert about["model"]["bytes"] == (work / "bundle" / "detector.onnx").stat().st_size < 5e6
    assert about["model"]["largest_relative_difference"] < 1e-4
    assert len(about["bands_hz"]) == 31 and about["left_out"]


@pytest.mark.slow
def test_the_script_refuses_what_the_detector_was_not_made_for(work, capsys, tmp_path):
    module = script(work / "bundle")
    sounds = {
        "rate.wav": (hum(np.random.default_rng(0)), 8000),
        "short.wav": (hum(np.random.default_rng(0))[:4000], RATE),
        "wide.wav": ((20_000 * hum(np.random.default_rng(0))).round(), RATE),
    }
    for name, (clip, rate) in sounds.items():
        soundfile.write(tmp_path / name, clip, rate, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no sound")
    expected = {
        "rate.wav": "has 8000 Hz; resample it to 16000 Hz first",
        "short.wav": "is 0.250 s long; at least 0.5 s are needed",
        "wide.wav": "full scale is 1",
        "text.wav": "cannot be read",
        "missing.wav": "No such file",
    }
    for name, text in expected.items():
        assert module.main([tmp_path / name]) == 2
        assert name in (error := capsys.readouterr().err) and text in error
    assert module.main([tmp_path / "missing.wav", work / "new" / "healthy.wav"]) == 2
    assert json.loads(capsys.readouterr().out)["decision"] == "normal"


@pytest.mark.slow
def test_a_changed_graph_is_noticed(work, tmp_path, capsys):
    folder = shutil.copytree(work / "bundle", tmp_path / "bundle")
    with open(folder / "detector.onnx", "ab") as file:
        file.write(b"x")
    assert script(folder).main([work / "new" / "healthy.wav"]) == 2
    assert "copy the whole bundle again" in capsys.readouterr().err
    (folder / "detector.json").write_text("{")
    assert script(folder).main([work / "new" / "healthy.wav"]) == 2
    assert "detector.json is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_a_detector_is_never_replaced_by_its_bundle(work, capsys):
    before = (work / "detector" / "detector.json").read_bytes()
    assert main(["export", str(work / "detector"), "--output", str(work / "detector")]) == 2
    assert "is not a bundle" in capsys.readouterr().err
    assert (work / "detector" / "detector.json").read_bytes() == before


def fitted(machine_count: int = 1, **options) -> AnomalyDetector:
    """A detector of embeddings, so that nothing is decoded."""
    rng, count = np.random.default_rng(0), 8 * machine_count
    size = 128 if options.get("statistics") == "mean" else 608
    rows = {"embedding": rng.normal(size=(count, size)).astype(np.float32).tolist()}
    rows |= {"machine": [f"m{number % machine_count}" for number in range(count)]}
    encoder = SpectralStatistics(options.pop("statistics", "mean"))
    return AnomalyDetector(encoder, DetectorConfig(backends=("cosine",), **options)).fit(Dataset.from_dict(rows))


@pytest.mark.parametrize(
    ("detector", "options", "text"),
    [
        (lambda: fitted(statistics="acoustic_features"), {}, "--statistics band_statistics"),
        (lambda: fitted(statistics="mean", channel="mean"), {}, "mean of all channels.*--channel 0"),
        (lambda: fitted(2, statistics="mean"), {}, "this detector knows m0, m1"),
        (lambda: fitted(statistics="mean"), {"precision": "int8"}, "no encoder"),
        (lambda: fitted(statistics="mean"), {"precision": "int4"}, "precision is 'int4'.*fp32"),
    ],
)
def test_what_cannot_be_exported_is_refused(detector, options, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        export_bundle(detector(), tmp_path / "bundle", **options)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.install
def test_bundles_run_without_the_package(tmp_path):
    """In an environment with numpy, soundfile and onnxruntime alone: statistics, a BEATs, the bundled EAT in int8."""
    write_fan(tmp_path)
    rows = load_folder(tmp_path / "fan")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    packages = ["numpy", "soundfile", "onnxruntime"]
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "torch" not in listed and "hf" not in listed
    files = sorted((tmp_path / "new").iterdir())
    for kind, precision in {"statistics": "fp32", "beats": "fp32", "bundled": "int8"}.items():
        detector = AnomalyDetector("bundled" if kind == "bundled" else small_encoder(kind)).fit(rows)
        export_bundle(detector, tmp_path / kind, precision=precision)
        command = [python, "-I", tmp_path / kind / "score.py", *files]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        for file, line in zip(files, done.stdout.splitlines(), strict=True):
            expected, found = detector(file), json.loads(line)
            tolerance = 1e-4 if precision == "fp32" else 0.1
            assert found["anomaly_score"] == pytest.approx(expected.anomaly_score, rel=tolerance, abs=tolerance), kind
            assert found["decision"] == WORDS[expected.is_anomaly], (kind, file)
