"""Two processes do what one does with the same clips in a step."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from processes import ROOT, in_processes
from transformers import AutoModel

from hf_asd.cli import main
from hf_asd.data.schema import read_table


pytestmark = pytest.mark.slow

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORK = """
import json, sys
from pathlib import Path
import numpy as np
import torch
import hf_asd.embedding.embed as embedding
from hf_asd import *
from hf_asd.training import trainer as training
from hf_asd.distributed import partial_state
from hf_asd.embedding.embed import get_embeddings

clips, output, options = load_folder(sys.argv[1])["train"], Path(sys.argv[2]), json.loads(sys.argv[3])
losses, log = [], training.SeededTrainer.log

def keep(self, logs, *args, **kwargs):
    losses.append({name: value for name, value in logs.items() if name in ("loss", "grad_norm")})
    log(self, logs, *args, **kwargs)

training.SeededTrainer.log = keep
encoder = pretrain(clips, PretrainConfig(**options["pretrain"]), output / "pretrain")
pretrain(clips, PretrainConfig(**options["pretrain-contrast"]), output / "pretrain-contrast")
for stage in ("finetune", "finetune-all", "finetune-head"):
    finetune(clips, encoder, FinetuneConfig(**options[stage]), output / stage)
embedding.SHARD_ROWS = 3
torch.manual_seed(0)
random_encoder = TransformerEncoder(EatModel(EatConfig(**options["pretrain"]["model"])), EatFeatureExtractor())
embedded = embed(clips, random_encoder, output / "parts")
again = embed(clips, random_encoder)
assert (get_embeddings(embedded) == get_embeddings(again)).all()
rank = partial_state().process_index
np.save(output / f"embeddings-{rank}.npy", get_embeddings(embedded).numpy())
(output / f"losses-{rank}.json").write_text(json.dumps(losses))
print(f"processes: {partial_state().num_processes}\\n", end="")  # one write, so that no other process splits it
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two machines of eight clips each, of 1 to 2 s."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        for load in ("low", "high"):
            (folder / machine / load).mkdir(parents=True)
            for clip in range(4):
                samples = 0.1 * rng.standard_normal(16_000 + 4_000 * clip)
                samples *= 1 + np.sin(np.arange(len(samples)) * 0.01 * (clip + 1))
                soundfile.write(folder / machine / load / f"{clip}.wav", samples, 16_000)
    return folder


@pytest.fixture(scope="module")
def runs(clips, tmp_path_factory):
    """The same work by one process and by two, each with eight clips a step."""
    folders, runs = [], []
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp(f"processes-{processes}")
        shared = {"batch_size": 8 // processes, "max_steps": 4, "save_steps": 2, "crop_seconds": 2.0}
        shared["learning_rate"] = 1e-3
        shared["training"] = {"logging_steps": 1, "disable_tqdm": True}
        options = {
            # The sum of the utterance loss depends on the batch of a device.
            "pretrain": shared
            | {"model": TINY | {"decoder_layers": 1}, "num_masks": 2, "utterance_reduction": "mean"},
            "finetune": shared | {"gain_db": 6.0, "time_mask": 20, "frequency_mask": 20},
        }
        contrast = {"contrast_weight": 1.0, "noise_probability": 0.8, "eq_db": 3.0, "gain_db": 3.0}
        options["pretrain-contrast"] = options["pretrain"] | contrast
        everything = {
            "loss": "adacos",
            "mixup": 0.5,
            "balance": "sampling",
            "early_stopping_patience": 3,
            "validation_fraction": 0.25,
        }
        options["finetune-all"] = options["finetune"] | everything
        head = {"loss": "adacos", "num_trainable_layers": 0, "projection_size": 8, "embedding_from": "projection"}
        options["finetune-head"] = shared | head
        (folder / "work.py").write_text(WORK)
        runs.append((processes, [str(folder / "work.py"), str(clips), str(folder), json.dumps(options)]))
        folders.append(folder)
    for processes, printed in zip((1, 2), in_processes(*runs), strict=True):
        assert printed.count(f"processes: {processes}") == processes
    return folders


# With early stopping the encoder is that of step 2, the best.
@pytest.mark.parametrize(
    ("stage", "result"),
    [
        ("pretrain", "encoder"),
        ("pretrain-contrast", "encoder"),
        ("finetune", "encoder"),
        ("finetune-all", "checkpoint-4"),
    ],
)
def test_two_processes_learn_what_one_learns(runs, stage, result):
    one, two = (AutoModel.from_pretrained(folder / stage / result).state_dict() for folder in runs)
    start = AutoModel.from_pretrained(runs[0] / stage / "checkpoint-2").state_dict()
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)
    moved = max((one[name] - start[name]).abs().max().item() for name in one)
    assert moved > 5e-4  # in the last two steps alone


def test_two_processes_hold_out_the_same_clips_and_judge_them_alike(runs):
    one, two = (json.loads((folder / "finetune-all" / "held_out_losses.json").read_text()) for folder in runs)
    assert list(one) == list(two) == ["2", "4"]
    assert list(two.values()) == pytest.approx(list(one.values()), abs=1e-4)


def test_two_processes_train_the_head_that_one_trains(runs):
    one, two = (AutoModel.from_pretrained(folder / "finetune-head" / "encoder").state_dict() for folder in runs)
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)


def test_losses_of_two_processes_are_those_of_one(runs):
    one, two = (json.loads((folder / "losses-0.json").read_text()) for folder in runs)
    one, two = ([line for line in lines if "loss" in line] for lines in (one, two))
    assert len(one) == len(two) == 16
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


def test_every_process_has_all_embeddings_in_the_dataset_s_order(runs):
    one = np.load(runs[0] / "embeddings-0.npy")
    assert len(one) == 16 and len(np.unique(one, axis=0)) == 16
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(runs[1] / f"embeddings-{rank}.npy"), one)


RECIPE = """
factory: {machines: [fan, valve], num_source_train: 10, num_target_train: 2, num_test: 1, clip_seconds: 2.0}
pretrain:
  model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, decoder_layers: 1}
  datasets: [{path: CLIPS, weight: 0.5}]
  crop_seconds: 1
  num_masks: 2
  batch_size: 2
  max_steps: 4
  save_steps: 2
cluster: {num_clusters: 3}
finetune: {crop_seconds: 1, batch_size: 2, max_steps: 4, save_steps: 2}
evaluate: {resamples: 20}
"""


def test_two_processes_run_a_recipe_and_one_finds_it_done(clips, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("CLIPS", str(clips)))
    command = ["run", str(tmp_path), "--output_dir", str(tmp_path / "runs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "hf_asd", *command]
    done = subprocess.run(launch, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    output = done.stdout
    assert done.stderr.count("data: started") == 1, "one process simulates, the other waits"
    assert output.count("official score 2025") == 1 and output.count("report: ") == 1
    stages = {folder.name.rsplit("-", 1)[0] for folder in (tmp_path / "runs").iterdir()}
    assert len(stages) == len(list((tmp_path / "runs").iterdir())) == 9
    (table,) = (tmp_path / "runs").glob("pretrain-*/dataset-0.parquet")
    assert len(read_table(table)) == 16
    assert main(command) == 0
    again = capsys.readouterr()
    assert again.err.count(": reused (") == 9
    assert again.out.split("official score 2025")[1] == output.split("official score 2025")[1]
