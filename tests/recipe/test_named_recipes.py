"""The recipes that carry the name of a paper or a challenge, on the simulated factory with tiny encoders."""

import zipfile

import numpy as np
import pytest
import soundfile
import torch
import yaml
from submissions import set_machines, write_entries, write_report
from trainings import tiny_encoder

from hf_asd import BeatsConfig, BeatsFeatureExtractor, BeatsModel
from hf_asd.cli import main
from hf_asd.data.schema import read_table
from hf_asd.detection.detector import AnomalyDetector
from hf_asd.recipe.loading import load_recipe
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


pytestmark = pytest.mark.usefixtures("short_reports")

LENGTHS = (1.0, 1.7, 2.0)  # s; the evaluation set of 2026 has 6, 10 and 16
BEATS = {"patch_embedding_size": 16, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SHORT = ("max_steps=2", "batch_size=4", "crop_seconds=0.5")


@pytest.fixture
def beats(tmp_path):
    torch.manual_seed(0)
    BeatsModel(BeatsConfig(**TINY, **BEATS)).save_pretrained(tmp_path / "beats")
    BeatsFeatureExtractor().save_pretrained(tmp_path / "beats")
    return tmp_path / "beats"


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """A fan of the development set, and a valve as of the evaluation set, whose test clips have no labels."""
    for year in (2025, 2026):
        set_machines(monkeypatch, year, ("fan",), ("valve",))
    options = {"num_source_train": 8, "num_target_train": 2, "num_test": 2, "clip_seconds": 2.0}
    folder = write_factory(FactoryConfig(machines=("fan", "valve"), **options), tmp_path / "factory")
    (tests,) = folder.rglob("valve/test")
    for number, file in enumerate(sorted(tests.iterdir())):
        file.rename(tests / f"section_00_{number:04d}.wav")
    for table in tests.parent.glob("attributes_*.csv"):
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(line for line in lines if "_test_" not in line))
    return folder


@pytest.fixture
def two_microphones(factory):
    """The factory, recorded by a far microphone as well, in clips of different length."""
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted(factory.rglob("*.wav"))):
        near, rate = soundfile.read(file)
        near = near[: int(LENGTHS[number % 3] * rate)]
        far = 0.2 * near + 0.05 * rng.standard_normal(len(near))
        soundfile.write(file, np.stack([near + 0.02 * rng.standard_normal(len(near)), far], axis=1), rate)
    return factory


def run(recipe, tmp_path, *overrides):
    """Runs a recipe and packs its result; gives the detector and the meta information."""
    options = (
        f"--output_dir={tmp_path / 'runs'}",
        "--evaluate.resamples=20",
        "--score.baselines=false",
        "--cluster.num_clusters=3",
    )
    assert main(["run", f"recipes/{recipe}", *options, *overrides]) == 0
    (submission,) = (tmp_path / "runs").glob("score-*/submission")
    assert len(list(submission.iterdir())) == 4  # scores and decisions of two machines
    (detector,) = (tmp_path / "runs").glob("fit-*/detector")
    return AnomalyDetector.from_pretrained(detector), packed(submission.parent, tmp_path)


def packed(scores, tmp_path):
    """The meta information in the ZIP of a run."""
    files = [f"--entries={write_entries(tmp_path)}", f"--report={write_report(tmp_path)}"]
    assert main(["submission", str(scores), *files, f"--output={tmp_path / 'submission.zip'}"]) == 0
    own = "task2/Kim_UoX_task2_1"
    names = [f"{own}/Kim_UoX_task2_1.meta.yaml"]
    names += [f"{own}/{kind}_valve_section_00_test.csv" for kind in ("anomaly_score", "decision_result")]
    with zipfile.ZipFile(tmp_path / "submission.zip") as package:
        assert package.namelist() == [*names, f"{own}.technical_report.pdf"]
        for name in names[1:]:
            rows = package.read(name).decode().splitlines()
            assert [row.split(",")[0] for row in rows] == [f"section_00_{number:04d}.wav" for number in range(8)]
        meta = yaml.safe_load(package.read(names[0]))
    assert set(meta["results"]["development_dataset"]) == {"fan"}
    return meta["system"]["description"]


@pytest.mark.slow
def test_frozen_beats_needs_no_training(beats, factory, tmp_path, capsys):
    detector, description = run("frozen_beats", tmp_path, f"--data.path={factory}", f"--pretrain.encoder={beats}")
    output = capsys.readouterr().out
    assert "official score 2025" in output and "published: 64.0 % (development set) and 62.4 %" in output
    assert detector.encoder.pooling == "rdp_gem" and detector.encoder.dimensions == 32
    state = BeatsModel.from_pretrained(beats).state_dict()
    for name, weight in detector.encoder.model.state_dict().items():
        assert torch.equal(weight, state[name]), name
    assert description["machine_learning_method"].startswith("transformer (beats), Euclidean distance")
    assert description["domain_generalization_method"] == "score normalization (log_varmin)"
    assert description["development_data_usage"] == "development" and description["data_augmentation"] is None
    config = detector.config
    assert (config.backends, config.normalizations) == (("euclidean",), ("log_varmin",))


@pytest.mark.slow
def test_two_microphones_of_2026(beats, two_microphones, tmp_path, capsys):
    pytest.importorskip("peft")
    options = [f"--finetune.{option}" for option in SHORT]
    paths = (f"--data.path={two_microphones}", f"--pretrain.encoder={beats}")
    detector, description = run("dcase2026", tmp_path, *paths, *options, "--finetune.lora.rank=2")
    output = capsys.readouterr().out
    assert "official score 2026" in output and "published: 70.66 %" in output
    assert detector.config.channel == "near-minus-far" and detector.encoder.dimensions == 8 * 32
    (table,) = (tmp_path / "runs").glob("score-*/test.parquet")
    assert np.isfinite(read_table(table)["anomaly_score"][:]).all()
    assert description["front_end"] == "near-minus-far" and description["aggregation_method"] == "bands_rdp"
    assert "classification with subcluster_adacos" in description["machine_learning_method"]


@pytest.mark.slow
def test_the_chain_of_2025(factory, tmp_path, capsys):
    encoder = tiny_encoder(tmp_path / "encoder", decoder_layers=1)
    options = [f"--{stage}.{option}" for stage in ("pretrain", "finetune") for option in SHORT]
    paths = (f"--data.path={factory}", f"--pretrain.encoder={encoder}", "--pretrain.num_masks=2")
    _, description = run("dcase2025", tmp_path, *paths, *options)
    output = capsys.readouterr().out
    assert "official score 2025" in output and "published: 62.60 %" in output
    assert description["development_data_usage"] == "development, pre-training, fine-tuning"
    assert description["data_augmentation"] == "mixing with other clips, SpecAugment"
    assert description["acoustic_features"] == "log-mel energies, spectral statistics"


def test_options_of_a_skipped_stage_are_refused(beats):
    for overrides, message in (
        (["--pretrain.max_steps=5"], "pretrain.max_steps is given, but it would not be used: skip names pretrain"),
        (["--finetune.loss=softmax"], "finetune.loss is given, but it would not be used: skip names finetune"),
        (["--pretrain.encoder=none"], "skip names pretrain, so an encoder is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            load_recipe("recipes/frozen_beats", [f"--pretrain.encoder={beats}", *overrides])
