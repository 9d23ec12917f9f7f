import json

import numpy as np
import pytest
import soundfile
import torch
from trainings import FINETUNE, assert_same_bits, stop_at, tiny_encoder, weights
from transformers import AutoModel

from hf_asd import FinetuneConfig, TransformerEncoder, finetune, load_folder
from hf_asd.models.attribute_classifier.heads import HEADS
from hf_asd.training.augmentation import mixup
from hf_asd.training.config import LoraOptions
from hf_asd.training.early_stopping import hold_out
from hf_asd.training.sampling import ClipSampler, balance_weights


OPTIONS = FINETUNE | {"time_mask": 8, "frequency_mask": 8, "training": {"disable_tqdm": True}}
HEAD = {"projection_size": 8, "embedding_from": "projection"}


@pytest.fixture
def clips(tmp_path):
    """Two classes of ten and four clips."""
    rng = np.random.default_rng(0)
    for load, count in (("low", 10), ("high", 4)):
        (tmp_path / "clips" / "fan" / load).mkdir(parents=True)
        for clip in range(count):
            samples = (
                0.1 * rng.standard_normal(12_000) * (1 + np.sin(np.arange(12_000) * (0.1 + 0.4 * (load == "low"))))
            )
            soundfile.write(tmp_path / "clips" / "fan" / load / f"{clip}.wav", samples, 16_000)
    return load_folder(tmp_path / "clips")["train"]


@pytest.fixture
def encoder(tmp_path):
    return tiny_encoder(tmp_path / "encoder", num_hidden_layers=2)


def changed(before, after):
    """Names of weights that training changed, without the prefix of the encoder."""
    before = weights(before)
    after = {name.removeprefix("encoder."): value for name, value in weights(after).items()}
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_balance_weights_give_all_classes_the_same_weight():
    labels = [0] * 990 + [1] * 10
    found = balance_weights(labels)
    assert found.mean() == pytest.approx(1) and found[:990].sum() == pytest.approx(found[990:].sum())
    drawn = [draw.row for draw in ClipSampler(np.full(1000, 16), step_clips=10, steps=100, seed=0, weights=found)]
    assert sum(row >= 990 for row in drawn) == pytest.approx(500, abs=30)


def test_mixup_keeps_half_of_a_clip_or_more_and_pairs_stay_in_even_batches():
    values = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0))
    augmentation_seeds = torch.arange(50)
    mixed, partners, mixup_lambda = mixup(values, augmentation_seeds, 0.5)
    assert mixup_lambda.min() >= 0.5 and mixup_lambda.max() <= 1 and mixup_lambda.std() > 0.05
    for clip in range(50):
        torch.testing.assert_close(
            mixed[clip], mixup_lambda[clip] * values[clip] + (1 - mixup_lambda[clip]) * values[partners[clip]]
        )
    assert (partners != torch.arange(50)).all() and torch.equal(partners[partners], torch.arange(50))
    halves = [mixup(values[half], augmentation_seeds[half], 0.5)[0] for half in (slice(0, 24), slice(24, 50))]
    assert torch.equal(torch.cat(halves), mixed)
    odd, partners, _ = mixup(values[:3], augmentation_seeds[:3], 0.5)
    assert partners.tolist() == [1, 0, 2]
    torch.testing.assert_close(odd[2], values[2])


def test_clips_are_held_out_class_by_class():
    labels = [0] * 40 + [1] * 20 + [2] * 3
    kept, held = hold_out(labels, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(63))
    assert np.bincount(np.array(labels)[held], minlength=3).tolist() == [4, 2, 0]
    with pytest.raises(ValueError, match="validation_fraction is 0.01, which holds out no clip"):
        hold_out(labels, 0.01, seed=0)


@pytest.mark.parametrize("loss", HEADS)
def test_every_loss_trains_and_is_read_back(loss, clips, encoder, tmp_path):
    options = OPTIONS | {"loss": loss, "num_centers": 2, "max_steps": 2}
    folder = finetune(clips, encoder, FinetuneConfig(**options), tmp_path / loss)
    model = AutoModel.from_pretrained(folder)
    assert model.config.loss == loss and changed(encoder, folder)


@pytest.mark.slow
def test_every_option_together_resumes_to_the_same_bits(clips, encoder, tmp_path, monkeypatch):
    options = OPTIONS | {
        "loss": "adacos",
        "mixup": 0.5,
        "balance": "sampling",
        "early_stopping_patience": 5,
        "validation_fraction": 0.25,
    }
    config = FinetuneConfig(**options)
    whole = finetune(clips, encoder, config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        finetune(clips, encoder, config, tmp_path / "stopped")
    assert_same_bits(whole, finetune(clips, encoder, config, tmp_path / "stopped"))
    losses = [(tmp_path / name / "held_out_losses.json").read_text() for name in ("whole", "stopped")]
    assert losses[0] == losses[1] and len(json.loads(losses[0])) == 3


def test_early_stopping_restores_the_best_lora_weights(clips, encoder, tmp_path):
    options = OPTIONS | {"max_steps": 40, "learning_rate": 0.5, "head_learning_rate": 1.0, "warmup": 0.0}
    options |= {
        "early_stopping_patience": 1,
        "validation_fraction": 0.25,
        "save_steps": 1,
        "lora": LoraOptions(rank=2),
    }
    finetuned = finetune(clips, encoder, FinetuneConfig(**options), tmp_path / "run")
    assert {name.split(".")[0] for name in changed(encoder, finetuned)} <= {"layers"}
    assert (tmp_path / "run" / "best.safetensors").is_file()


@pytest.mark.parametrize("balance", ["none", "sampling", "weights"])
@pytest.mark.slow
def test_balance_changes_what_is_learned(balance, clips, encoder, tmp_path):
    folder = finetune(clips, encoder, FinetuneConfig(**OPTIONS | {"balance": balance}), tmp_path / balance)
    plain = finetune(clips, encoder, FinetuneConfig(**OPTIONS), tmp_path / "plain")
    a, b = weights(folder), weights(plain)
    assert torch.equal(a["head.weight"], b["head.weight"]) == (balance == "none")


@pytest.mark.slow
def test_early_stopping_ends_training_and_restores_the_best_weights(clips, encoder, tmp_path):
    # A rate at which the loss on held-out clips rises again.
    options = OPTIONS | {"max_steps": 40, "learning_rate": 0.5, "head_learning_rate": 1.0, "warmup": 0.0}
    config = FinetuneConfig(**options | {"early_stopping_patience": 2, "validation_fraction": 0.25, "save_steps": 1})
    folder = finetune(clips, encoder, config, tmp_path / "run")
    losses = {int(k): v for k, v in json.loads((tmp_path / "run" / "held_out_losses.json").read_text()).items()}
    best = min(losses, key=lambda step: losses[step])
    assert max(losses) == best + 2 < 40
    assert changed(encoder, folder)
    # Interrupted between the end of training and the export: training ends at the same step.
    folder.rename(tmp_path / "first")
    again = finetune(clips, encoder, config, tmp_path / "run")
    assert max(json.loads((tmp_path / "run" / "held_out_losses.json").read_text()), key=int) == str(best + 2)
    assert_same_bits(tmp_path / "first", again)


def test_only_the_last_layers_learn_with_num_trainable_layers(clips, encoder, tmp_path):
    folder = finetune(clips, encoder, FinetuneConfig(**OPTIONS | {"num_trainable_layers": 1}), tmp_path / "run")
    names = changed(encoder, folder)
    assert names and all(name.startswith("layers.1.") for name in names)
    with pytest.raises(ValueError, match="num_trainable_layers is 3; this encoder has 2 layers"):
        finetune(clips, encoder, FinetuneConfig(**OPTIONS | {"num_trainable_layers": 3}), tmp_path / "too-many")


def test_a_head_alone_learns_on_features_that_are_computed_once(clips, encoder, tmp_path, monkeypatch):
    options = {"num_trainable_layers": 0, "projection_size": 8, "embedding_from": "projection", "balance": "sampling"}
    options |= {"max_steps": 200, "head_learning_rate": 0.02}
    folder = finetune(clips, encoder, FinetuneConfig(**OPTIONS | options), tmp_path / "run")
    assert not changed(encoder, folder)
    embedded = TransformerEncoder.from_pretrained(folder)([np.zeros(16_000, dtype=np.float32)])
    assert embedded.shape == (1, 8)

    def not_again(*args):
        raise AssertionError("features are computed a second time")

    monkeypatch.setattr(TransformerEncoder, "_forward", not_again)
    folder.rename(tmp_path / "first")
    again = finetune(clips, encoder, FinetuneConfig(**OPTIONS | options), tmp_path / "run")
    assert_same_bits(tmp_path / "first", again)
    with pytest.raises(ValueError, match="leaves the encoder unchanged"):
        FinetuneConfig(num_trainable_layers=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balance": "all"}, "balance is 'all'; accepted are none, sampling, weights"),
        ({"mixup": -1.0}, "mixup is -1.0"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0"),
        ({"num_trainable_layers": 1, "lora": LoraOptions()}, "give one of the two"),
        ({"num_trainable_layers": 0, **HEAD, "mixup": 0.5}, "mixup needs at least one trainable layer"),
        ({"num_trainable_layers": 0, **HEAD, "early_stopping_patience": 2}, "patience needs at least one trainable"),
        (
            {"num_trainable_layers": 0, **HEAD, "training": {"push_to_hub": True}},
            "with num_trainable_layers 0 it stays unchanged",
        ),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**options)
