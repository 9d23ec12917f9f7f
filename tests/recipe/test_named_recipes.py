"""The recipes that carry the name of a paper or a challenge, on the simulated factory with tiny encoders."""

import numpy as np
import pytest
import soundfile
import torch
from trainings import tiny_encoder

from hf_asd import BeatsConfig, BeatsFeatureExtractor, BeatsModel
from hf_asd.cli import main
from hf_asd.data.schema import read_table
from hf_asd.detection.detector import AnomalyDetector
from hf_asd.recipe.loading import load_recipe
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


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
def factory(tmp_path):
    options = {"num_source_train": 8, "num_target_train": 2, "num_test": 2, "clip_seconds": 2.0}
    return write_factory(FactoryConfig(machines=("fan", "valve"), **options), tmp_path / "factory")


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
    options = (f"--output_dir={tmp_path / 'runs'}", "--evaluate.resamples=20", "--cluster.num_clusters=3")
    assert main(["run", f"recipes/{recipe}", *options, *overrides]) == 0
    (submission,) = (tmp_path / "runs").glob("score-*/submission")
    assert len(list(submission.iterdir())) == 4  # scores and decisions of two machines
    (detector,) = (tmp_path / "runs").glob("fit-*/detector")
    return AnomalyDetector.from_pretrained(detector)


@pytest.mark.slow
def test_frozen_beats_needs_no_training(beats, factory, tmp_path, capsys):
    detector = run("frozen_beats", tmp_path, f"--data.path={factory}", f"--pretrain.encoder={beats}")
    output = capsys.readouterr().out
    assert "official score 2025" in output and "published: 64.0 % (development set) and 62.4 %" in output
    assert detector.encoder.pooling == "rdp_gem" and detector.encoder.dimensions == 32
    state = BeatsModel.from_pretrained(beats).state_dict()
    for name, weight in detector.encoder.model.state_dict().items():
        assert torch.equal(weight, state[name]), name
    config = detector.config
    assert (config.backends, config.normalizations) == (("euclidean",), ("log_varmin",))


@pytest.mark.slow
def test_two_microphones_of_2026(beats, two_microphones, tmp_path, capsys):
    pytest.importorskip("peft")
    options = [f"--finetune.{option}" for option in SHORT]
    paths = (f"--data.path={two_microphones}", f"--pretrain.encoder={beats}")
    detector = run("dcase2026", tmp_path, *paths, *options, "--finetune.lora.rank=2")
    output = capsys.readouterr().out
    assert "official score 2026" in output and "published: 70.66 %" in output
    assert detector.config.channel == "near-minus-far" and detector.encoder.dimensions == 8 * 32
    (table,) = (tmp_path / "runs").glob("score-*/test.parquet")
    assert np.isfinite(read_table(table)["anomaly_score"][:]).all()


@pytest.mark.slow
def test_the_chain_of_2025(factory, tmp_path, capsys):
    encoder = tiny_encoder(tmp_path / "encoder", decoder_layers=1)
    options = [f"--{stage}.{option}" for stage in ("pretrain", "finetune") for option in SHORT]
    paths = (f"--data.path={factory}", f"--pretrain.encoder={encoder}", "--pretrain.num_masks=2")
    run("dcase2025", tmp_path, *paths, *options)
    assert "published: 62.60 %" in capsys.readouterr().out


def test_options_of_a_skipped_stage_are_refused(beats):
    for overrides, message in (
        (["--pretrain.max_steps=5"], "pretrain.max_steps is given, but it would not be used: skip names pretrain"),
        (["--finetune.loss=softmax"], "finetune.loss is given, but it would not be used: skip names finetune"),
        (["--pretrain.encoder=none"], "skip names pretrain, so an encoder is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            load_recipe("recipes/frozen_beats", [f"--pretrain.encoder={beats}", *overrides])
