"""What transformers' Trainer is known to do wrong, and that it does not do it here."""

import os
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trainings import FINETUNE, PRETRAIN, TINY, stop_at, tiny_encoder, twelve_clips, weights  # noqa: F401
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel, TrainingArguments

from hf_asd import FinetuneConfig, PretrainConfig, finetune, pretrain
from hf_asd.models.attribute_classifier.configuration_attribute_classifier import AttributeClassifierConfig
from hf_asd.models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from hf_asd.models.eat.configuration_eat import EatConfig
from hf_asd.models.eat.modeling_eat import EatModel
from hf_asd.models.eat.pretraining_eat import EatForPreTraining
from hf_asd.training.trainer import SeededTrainer


def test_a_resumed_model_gets_every_tensor_of_its_checkpoint_also_around_an_ast(tmp_path):
    """The Trainer reads checkpoints raw and passes over what it does not know; AST is saved under other names."""
    small: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    ast = ASTConfig(**small, max_length=32, num_mel_bins=32)
    models = {
        "eat": EatForPreTraining(EatConfig(**TINY, decoder_layers=1)),
        "classifier": AttributeClassifier(
            AttributeClassifierConfig(encoder_config=EatConfig(**TINY), id2label={0: "a", 1: "b"})
        ),
        "ast classifier": AttributeClassifier(
            AttributeClassifierConfig(encoder_config=ast, id2label={0: "a", 1: "b"})
        ),
    }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        stored = load_file(tmp_path / name / "model.safetensors")
        result = model.load_state_dict(stored, strict=False)
        assert not result.missing_keys and not result.unexpected_keys, name


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
@pytest.mark.slow
def test_accumulated_batches_learn_what_one_large_batch_learns(stage, clips, tmp_path):
    """A model that takes any keyword but ignores the number of items gets a loss that is too large by their count."""
    encoder = tiny_encoder(tmp_path / "encoder")
    results = []
    for batch_size, batches in ((4, 1), (2, 2)):
        shared = {"batch_size": batch_size, "max_steps": 3, "crop_seconds": 0.5, "save_steps": 3}
        shared["training"] = {"gradient_accumulation_steps": batches, "logging_steps": 1, "disable_tqdm": True}
        folder = tmp_path / f"{stage}-{batches}"
        if stage == "pretrain":  # the sum of the utterance loss depends on the batch
            config = PretrainConfig(**shared, num_masks=2, encoder=str(encoder), utterance_reduction="mean")
            results.append(weights(pretrain(clips, config, folder)))
        else:
            results.append(weights(finetune(clips, encoder, FinetuneConfig(**shared), folder)))
    start = weights(encoder)
    one, two = results
    for name in one:
        if not name.startswith("head."):  # it starts at random, the same in both
            torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)
    name = "layers.0.mlp.fc1.weight"
    learned = one[name] if stage == "pretrain" else one[f"encoder.{name}"]
    assert (learned - start[name]).abs().max() > (2e-4 if stage == "pretrain" else 2e-5)


def test_models_say_that_their_loss_is_a_mean():
    assert EatForPreTraining.accepts_loss_kwargs is False and AttributeClassifier.accepts_loss_kwargs is False


@pytest.mark.slow
def test_the_order_of_a_resumed_run_is_that_of_one_never_stopped(clips, tmp_path, monkeypatch):
    heard = []
    prepare = SeededTrainer._prepare_inputs

    def keep(self, inputs):
        heard.append((self.state.global_step, inputs["augmentation_seeds"].tolist()))
        return prepare(self, inputs)

    monkeypatch.setattr(SeededTrainer, "_prepare_inputs", keep)
    config = PretrainConfig(**PRETRAIN)
    pretrain(clips, config, tmp_path / "whole")
    whole, heard[:] = dict(heard), []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        pretrain(clips, config, tmp_path / "stopped")
    heard.clear()
    pretrain(clips, config, tmp_path / "stopped")
    assert len({tuple(draws) for draws in whole.values()}) == 6
    assert dict(heard) == {step: draws for step, draws in whole.items() if step >= 2}


def test_checkpoints_are_pruned(clips, tmp_path):
    config = FinetuneConfig(**FINETUNE | {"save_steps": 1})
    encoder = tiny_encoder(tmp_path / "encoder")
    finetune(clips, encoder, config, tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint-5", "checkpoint-6", "encoder", "features"]


def test_the_teacher_is_float32_and_moves_in_half_precision_training_too(clips, tmp_path, monkeypatch):
    """A step of 1e-4 of the difference is lost in bf16, which has three digits."""
    seen = []
    update = EatForPreTraining.update_teacher

    def keep(self, decay):
        before = {name: weight.clone() for name, weight in self.teacher.named_parameters()}
        update(self, decay)
        moved = max((weight - before[name]).abs().max().item() for name, weight in self.teacher.named_parameters())
        seen.append(({weight.dtype for weight in self.teacher.parameters()}, moved))

    monkeypatch.setattr(EatForPreTraining, "update_teacher", keep)
    training = {"bf16": True, "disable_tqdm": True}
    options = PRETRAIN | {"training": training, "learning_rate": 1e-2, "warmup": 0.0}
    pretrain(clips, PretrainConfig(**options, ema_decay_start=0.9999, ema_decay_end=0.9999), tmp_path / "run")
    assert len(seen) == 6 and all(dtypes == {torch.float32} for dtypes, _ in seen)
    assert 0 < seen[0][1] < 2e-6 and seen[-1][1] > seen[0][1]
    half = EatForPreTraining(EatConfig(**TINY, decoder_layers=1), EatModel(EatConfig(**TINY)).bfloat16())
    assert {weight.dtype for weight in half.teacher.parameters()} == {torch.float32}


def test_the_teacher_runs_once_a_clip_for_all_masks():
    model = EatForPreTraining(EatConfig(**TINY, decoder_layers=1))
    rows = []
    hook = model.teacher.layers[0].register_forward_pre_hook(lambda layer, args: rows.append(len(args[0])))
    visible = torch.arange(6).expand(3, 5, 6)
    model(torch.randn(3, 64, 128), visible, torch.arange(3))
    hook.remove()
    assert rows == [3]


@pytest.mark.slow
def test_the_utterance_loss_is_a_mean_or_the_sum_over_a_devices_batch(clips, tmp_path, monkeypatch):
    weights_used = []
    forward = EatForPreTraining.forward

    def keep(self, *args, utterance_weight=1.0, **kwargs):
        weights_used.append(utterance_weight)
        return forward(self, *args, utterance_weight=utterance_weight, **kwargs)

    monkeypatch.setattr(EatForPreTraining, "forward", keep)
    for reduction in ("mean", "sum"):
        config = PretrainConfig(**PRETRAIN | {"max_steps": 1}, utterance_reduction=reduction, utterance_weight=0.5)
        pretrain(clips, config, tmp_path / reduction)
    assert weights_used == [0.5, 0.5 * 4 * 2]  # four clips, two masks each
    # Accumulated batches are averaged, as fairseq averages them (and devices).
    training = {"disable_tqdm": True, "gradient_accumulation_steps": 2}
    config = PretrainConfig(**PRETRAIN | {"max_steps": 1, "training": training}, utterance_weight=0.5)
    pretrain(clips, config, tmp_path / "accumulated")
    assert weights_used[2:] == [0.5 * 4 * 2] * 2
    with pytest.raises(ValueError, match="utterance_reduction is 'max'"):
        PretrainConfig(utterance_reduction="max")


def test_half_precision_is_off_on_a_cpu(tmp_path):
    from hf_asd.training.trainer import training_arguments

    arguments = training_arguments(tmp_path, FinetuneConfig())
    assert isinstance(arguments, TrainingArguments)
    assert arguments.bf16 == (arguments.device.type == "cuda")


@pytest.mark.slow
def test_an_ast_is_fine_tuned_and_resumed(clips, tmp_path, monkeypatch):
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    ASTModel(ASTConfig(**small, max_length=64, num_mel_bins=32)).save_pretrained(tmp_path / "ast")
    ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(tmp_path / "ast")
    config = FinetuneConfig(**FINETUNE)
    whole = weights(finetune(clips, tmp_path / "ast", config, tmp_path / "whole"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        finetune(clips, tmp_path / "ast", config, tmp_path / "stopped")
    resumed = weights(finetune(clips, tmp_path / "ast", config, tmp_path / "stopped"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
