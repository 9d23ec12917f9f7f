import logging
import sys

import pytest
import torch
from trainings import FINETUNE, PRETRAIN, assert_same_bits, stop_at, tiny_encoder, twelve_clips, weights  # noqa: F401
from transformers import AutoModel

from hf_asd import FinetuneConfig, PretrainConfig, finetune, pretrain
from hf_asd.training.config import LoraOptions
from hf_asd.training.lora import add_lora, merge_lora, trainable_share


LINEAR = ("attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2")


@pytest.fixture
def encoder(tmp_path):
    return tiny_encoder(tmp_path / "base")


def test_merged_weights_give_what_unmerged_ones_gave(encoder):
    model = AutoModel.from_pretrained(encoder).eval()
    values = torch.randn(2, 64, 128)
    before, names = model(values).last_hidden_state, list(model.state_dict())
    add_lora(model, LoraOptions(rank=4, alpha=8.0), encoder)
    assert torch.equal(model.eval()(values).last_hidden_state, before)  # LoRA starts at zero
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    unmerged = model(values).last_hidden_state
    merge_lora(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(values).last_hidden_state, unmerged, atol=1e-5, rtol=0)
    assert not torch.allclose(unmerged, before, atol=1e-2)


@pytest.mark.slow
def test_pretraining_and_finetuning_with_lora_end_in_ordinary_encoders(encoder, clips, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    lora, options = LoraOptions(rank=2, keep_adapter=True), {k: v for k, v in PRETRAIN.items() if k != "model"}
    config = PretrainConfig(encoder=str(encoder), lora=lora, learning_rate=1e-2, **options)
    adapted = pretrain(clips, config, tmp_path / "pretrain")
    base = weights(encoder)
    changed = {name for name, weight in weights(adapted).items() if not torch.equal(weight, base[name])}
    assert changed == {f"layers.0.{layer}.weight" for layer in LINEAR}
    assert "trainable: " in caplog.text

    # The adapter by itself, on the encoder that it was made on.
    model = AutoModel.from_pretrained(encoder)
    model.load_adapter(str(tmp_path / "pretrain" / "adapter"))
    values = torch.randn(2, 64, 128)
    expected = AutoModel.from_pretrained(adapted).eval()(values).last_hidden_state
    torch.testing.assert_close(model.eval()(values).last_hidden_state, expected, atol=1e-5, rtol=0)
    assert (tmp_path / "pretrain" / "adapter" / "adapter_model.safetensors").stat().st_size < 20_000

    config = FinetuneConfig(**FINETUNE, lora=LoraOptions(rank=2), learning_rate=1e-2)
    classifier = weights(finetune(clips, adapted, config, tmp_path / "finetune"))
    inside = {name: weight for name, weight in classifier.items() if name.startswith("encoder.")}
    start = {f"encoder.{name}": weight for name, weight in weights(adapted).items()}
    assert inside.keys() == start.keys()
    changed = {name for name in inside if not torch.equal(inside[name], start[name])}
    assert changed == {f"encoder.layers.0.{layer}.weight" for layer in LINEAR}


@pytest.mark.slow
def test_lora_resumes_to_the_same_bits(encoder, clips, tmp_path, monkeypatch):
    config = FinetuneConfig(**FINETUNE, lora=LoraOptions(rank=2), learning_rate=1e-2)
    whole = finetune(clips, encoder, config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        finetune(clips, encoder, config, tmp_path / "stopped")
    assert_same_bits(whole, finetune(clips, encoder, config, tmp_path / "stopped"))


def test_lora_options_that_cannot_work_say_why():
    with pytest.raises(ValueError, match="rank is 0"):
        LoraOptions(rank=0)
    with pytest.raises(ValueError, match="lora needs an encoder to start from"):
        PretrainConfig(lora=LoraOptions())


def test_without_peft_the_options_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"lora needs the package peft.*pip install hf-asd\[lora\]"):
        LoraOptions()


def test_the_trainable_share_is_logged_in_words():
    model = torch.nn.Sequential(torch.nn.Linear(10, 10, bias=False), torch.nn.Linear(10, 90, bias=False))
    model[1].requires_grad_(False)
    assert trainable_share(model) == "trainable: 0.0001 of 0.001 million parameters (10 %)"
