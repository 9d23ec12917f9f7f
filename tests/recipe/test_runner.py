"""Recipes on folders with less information than the factory: own recordings, and evaluation data without labels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum
from trainings import tiny_encoder

from hf_asd import AnomalyDetector
from hf_asd.data.schema import read_table
from hf_asd.recipe.config import StageName
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.runner import run_recipe
from hf_asd.recipe.summary import summary
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


pytestmark = pytest.mark.usefixtures("short_reports")

SHORT = ["--evaluate.resamples=20", "--cluster.num_clusters=2", "--pretrain.num_masks=2"]
for stage in ("pretrain", "finetune"):
    SHORT += [f"--{stage}.max_steps=2", f"--{stage}.batch_size=4", f"--{stage}.crop_seconds=0.5"]


def write_hums(folder, count, pitch):
    rng = np.random.default_rng(pitch)
    folder.mkdir(parents=True)
    for clip in range(count):
        soundfile.write(folder / f"{clip}.wav", hum(rng, pitch), RATE)


@pytest.fixture
def run(tmp_path):
    """Runs the recipe for a GPU with a tiny encoder and trainings that take seconds."""
    encoder = tiny_encoder(tmp_path / "encoder", decoder_layers=1)

    def run_with(path, *overrides, until: StageName = "report"):
        options = [f"--data.path={path}", f"--pretrain.encoder={encoder}", f"--output_dir={tmp_path / 'run'}"]
        return run_recipe(load_recipe("recipes/dcase2025", [*options, *SHORT, *overrides]), until)

    return run_with


@pytest.mark.slow
def test_own_recordings_with_faulty_ones_are_measured(run, tmp_path):
    write_hums(tmp_path / "own" / "fan" / "train", 8, 300)
    write_hums(tmp_path / "own" / "pump" / "train", 8, 900)
    write_hums(tmp_path / "own" / "fan" / "test" / "normal", 4, 300)
    write_hums(tmp_path / "own" / "fan" / "test" / "anomaly", 4, 2000)
    write_hums(tmp_path / "own" / "pump" / "test", 2, 900)
    folders = run(tmp_path / "own", "--data.year=none")
    result = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    assert result["year"] == 2020 and list(result["machines"]) == ["fan"]
    assert list(result["baselines"]) == ["spectral statistics", "mean log-mel, nearest neighbor"]
    assert not (folders["score"] / "submission").exists()
    text = summary(folders)
    assert "official score 2020" in text
    assert "not measured, because normal or anomalous test recordings with labels are missing: pump" in text
    detector = AnomalyDetector.from_pretrained(folders["fit"] / "detector")
    assert set(detector.machines) == {"fan", "pump"}
    assert "official score" in (folders["fit"] / "detector" / "README.md").read_text()


@pytest.mark.slow
def test_normal_recordings_of_one_machine_make_a_detector_and_a_report(run, tmp_path):
    write_hums(tmp_path / "my_fan", 8, 300)
    folders = run(
        tmp_path / "my_fan", "--data.year=none", "--finetune.fault_probability=0.5", "--score.baselines=false"
    )
    assert json.loads((folders["evaluate"] / "evaluation.json").read_text()) == {}
    assert "missing: my_fan" in summary(folders)
    assert "my_fan" in (folders["report"] / "report.html").read_text()
    decision = AnomalyDetector.from_pretrained(folders["fit"] / "detector")(tmp_path / "my_fan" / "0.wav")
    assert decision.is_anomaly in (True, False)


@pytest.mark.slow
def test_machines_without_labels_are_scored_and_not_measured(run, tmp_path):
    config = FactoryConfig(
        machines=("fan", "valve"), num_source_train=6, num_target_train=2, num_test=2, clip_seconds=1.0
    )
    root = write_factory(config, tmp_path / "factory")
    for number, clip in enumerate(sorted(root.rglob("valve/test/*.wav"))):
        clip.rename(clip.with_name(f"section_00_{number:04d}.wav"))
    (table,) = root.rglob("valve/attributes_00.csv")
    table.write_text("".join(line for line in table.open() if "_test_" not in line))
    folders = run(root, "--score.baselines=false")
    result = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    assert result["year"] == 2025 and list(result["machines"]) == ["fan"]
    files = sorted(path.name for path in (folders["score"] / "submission").iterdir())
    assert files == [
        f"{kind}_{machine}_section_00_test.csv"
        for kind in ("anomaly_score", "decision_result")
        for machine in ("fan", "valve")
    ]
    assert "missing: valve" in summary(folders)
    # Only the machine whose attributes are hidden is embedded for clustering; training gets all.
    clips, embedded, clustered = (
        read_table(folders[stage] / f"{name}.parquet")
        for stage, name in (("cluster", "train"), ("embed", "train"), ("cluster", "clustered"))
    )
    (hidden,) = config.hidden
    assert len(clips) == 16 and len(embedded) == 8
    assert set(embedded["machine"]) == set(clustered["machine"]) == {hidden}
    names = dict(zip(clustered["clip_id"], clustered["pseudo_attribute"], strict=True))
    assert clips["pseudo_attribute"][:] == [names.get(clip) for clip in clips["clip_id"]]
    assert None not in names.values()


@pytest.mark.slow
def test_nothing_is_clustered_where_all_attributes_are_known(run, tmp_path):
    config = FactoryConfig(
        machines=("fan",), num_source_train=6, num_target_train=2, num_test=2, clip_seconds=1.0, hidden_machines=0
    )
    folders = run(write_factory(config, tmp_path / "factory"), "--score.baselines=false")
    assert len(read_table(folders["embed"] / "train.parquet")) == 0
    assert set(read_table(folders["fit"] / "train.parquet")["pseudo_attribute"]) == {None}
    assert (folders["cluster"] / "clusters.csv").read_text().count("\n") == 1  # its header
    assert (folders["report"] / "report.html").is_file()


def test_pretraining_uses_supplemental_recordings(run, tmp_path, monkeypatch):
    config = FactoryConfig(machines=("fan",), num_source_train=6, num_target_train=2, num_test=2, clip_seconds=1.0)
    for number in (0, 1):
        root = write_factory(replace(config, seed=number), tmp_path / f"factory-{number}")
        (fan,) = root.rglob("fan/train")
        write_hums(fan.parent / "supplemental", 3, 300)
        for clip in (fan.parent / "supplemental").iterdir():
            clip.rename(clip.with_stem(f"section_00_noise_supplemental_normal_000{clip.stem}"))
    splits = []
    monkeypatch.setattr(
        "hf_asd.recipe.stages.pretrain", lambda parts, *rest: splits.extend(part["split"][:] for part in parts)
    )
    run(
        tmp_path / "factory-0",
        f"--pretrain.datasets=[{{path: {tmp_path / 'factory-1'}, year: 2025}}]",
        until="pretrain",
    )
    assert splits == [["train"] * 8, ["supplemental"] * 3, ["train"] * 8 + ["supplemental"] * 3]


def test_own_recordings_must_hold_normal_ones(run, tmp_path):
    write_hums(tmp_path / "own" / "fan", 4, 300)
    with pytest.raises(ValueError, match="holds no normal recordings of pump to learn from, only of fan"):
        run(tmp_path / "own", "--data.year=none", "--data.machines=[fan,pump]")
    write_hums(tmp_path / "own" / "pump" / "test" / "anomaly", 2, 900)
    with pytest.raises(ValueError, match="holds no normal recordings of pump to learn from, only of fan"):
        run(tmp_path / "own", "--data.year=none")
    write_hums(tmp_path / "more" / "test", 2, 900)
    with pytest.raises(ValueError, match="more: holds no normal recordings to learn from"):
        run(tmp_path / "more", "--data.year=none")
    with pytest.raises(ValueError, match=r"more \(pretrain.datasets\): holds no normal recordings"):
        run(
            tmp_path / "own",
            "--data.year=none",
            "--data.machines=[fan]",
            f"--pretrain.datasets=[{{path: {tmp_path / 'more'}, year: none}}]",
        )
