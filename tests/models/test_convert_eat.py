import argparse
import json
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from trainings import stop_at
from transformers import AutoFeatureExtractor, AutoModel

from hf_asd import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel, PretrainConfig, load_folder, pretrain
from hf_asd.cli import main
from hf_asd.models.eat.convert_eat import convert_eat
from hf_asd.models.encoders import load_feature_extractor


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PUBLISHED = {
    "architectures": ["EATModel"],
    "auto_map": {"AutoConfig": "configuration_eat.EATConfig", "AutoModel": "modeling_eat.EATModel"},
    "model_type": "eat",
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "patch_size": 16,
    "stride": 16,
    "in_chans": 1,
    "mel_bins": 128,
    "max_length": 768,
    "img_size": [1024, 128],
    "num_classes": 527,
    "model_variant": "pretrain",
    "layer_norm_first": False,
    "norm_affine": True,
    "norm_eps": 1e-06,
    "qkv_bias": True,
    "fixed_positions": True,
    "drop_rate": 0.0,
    "torch_dtype": "float32",
}
NAMES = (
    ("embeddings.patch_embedding.", "local_encoder.proj."),
    ("embeddings.cls_token", "extra_tokens"),
    ("layers.", "blocks."),
    (".attention.", ".attn."),
)


def published_names(weights, norm="pre_norm."):
    renamed = {}
    for name, weight in weights.items():
        name = norm + name.removeprefix("norm.") if name.startswith("norm.") else name
        for own, published in NAMES:
            name = name.replace(own, published)
        renamed[name] = weight.clone()
    return renamed


def publish(folder, model, add=(), drop=(), **options):
    """Writes an encoder as EAT's own weights are published."""
    weights = {f"model.{name}": weight for name, weight in published_names(model.state_dict()).items()}
    weights["model.fixed_positional_encoder.positions"] = torch.zeros(1, 768 * 8, 32)
    weights = {name: weight for name, weight in weights.items() if name not in drop} | dict(add)
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(PUBLISHED | options))
    return folder


def randomized(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return model.eval()


@pytest.fixture
def encoder():
    return randomized(EatModel(EatConfig(**TINY)))


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "fan").mkdir()
    for clip in range(6):
        soundfile.write(tmp_path / "fan" / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    return load_folder(tmp_path / "fan")["train"]


def assert_same_weights(a, b):
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name


def test_published_weights_load_save_and_load_again_to_the_same_bits(encoder, tmp_path):
    loaded = AutoModel.from_pretrained(publish(tmp_path / "published", encoder))
    assert type(loaded) is EatModel
    assert_same_weights(loaded, encoder)
    loaded.save_pretrained(tmp_path / "own")
    # In our names, which a resuming Trainer reads as they are, and without a trace of the published code.
    with safe_open(tmp_path / "own" / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(encoder.state_dict())
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["hidden_size"] == 32 and not config.keys() & {"auto_map", "embed_dim", "num_classes"}
    again = AutoModel.from_pretrained(tmp_path / "own")
    values = torch.randn(2, 64, 128)
    with torch.inference_mode():
        expected = encoder(values).last_hidden_state
        assert torch.equal(loaded(values).last_hidden_state, expected)
        assert torch.equal(again(values).last_hidden_state, expected)


def test_a_fine_tuned_models_head_is_left_out(encoder, tmp_path):
    head = {"model.fc_norm.weight": torch.ones(32), "model.head.weight": torch.ones(527, 32)}
    loaded = AutoModel.from_pretrained(publish(tmp_path, encoder, add=head, model_variant="finetune"))
    assert_same_weights(loaded, encoder)


def test_wrong_and_partial_weights_are_refused_by_name(encoder, tmp_path):
    add = {"model.blocks.1.gamma": torch.ones(1), "model.pre_norm.weight": torch.ones(3)}
    folder = publish(tmp_path / "wrong", encoder, add, drop=["model.blocks.0.mlp.fc1.bias"])
    message = (
        r"wrong: the weights do not fit .* missing: layers.0.mlp.fc1.bias; surplus: layers.1.gamma; "
        r"of another shape: norm.weight \(3,\) instead of \(32,\)"
    )
    for load in (AutoModel.from_pretrained, EatForPreTraining.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(folder)
    pretraining = randomized(EatForPreTraining(EatConfig(**TINY, decoder_layers=1)))
    weights = pretraining.state_dict()
    del weights["decoder.projection.bias"]
    pretraining.save_pretrained(tmp_path / "partial", state_dict=weights)
    with pytest.raises(ValueError, match="missing: decoder.projection.bias"):
        EatForPreTraining.from_pretrained(tmp_path / "partial")


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [
        ("layer_norm_first", True, "False"),
        ("stride", 10, "16"),
        ("fixed_positions", False, "True"),
        ("in_chans", 3, "1"),
    ],
)
def test_published_options_without_a_counterpart_are_refused(option, value, accepted):
    with pytest.raises(ValueError, match=f"{option} is {value}; EatModel accepts {accepted} only"):
        EatConfig(**PUBLISHED | {option: value})


def test_published_shapes_are_read():
    large = EatConfig(embed_dim=1024, depth=24, num_heads=16, mel_bins=64, norm_eps=1e-5)
    assert (large.hidden_size, large.num_hidden_layers, large.num_attention_heads) == (1024, 24, 16)
    assert (large.intermediate_size, large.num_mel_bins, large.layer_norm_eps) == (4096, 64, 1e-5)


def test_an_eat_without_a_feature_extractor_gets_the_default_one(encoder, tmp_path):
    folder = publish(tmp_path, encoder)
    with pytest.raises(OSError):
        AutoFeatureExtractor.from_pretrained(folder)
    assert load_feature_extractor(folder).to_dict() == EatFeatureExtractor().to_dict()
    EatFeatureExtractor(mean=-5.0).save_pretrained(folder)
    assert load_feature_extractor(folder).mean == -5.0


def test_pretraining_starts_from_published_weights_with_a_copy_as_teacher(encoder, tmp_path):
    model = EatForPreTraining.from_pretrained(publish(tmp_path / "published", encoder))
    assert_same_weights(model.eat, encoder)
    assert_same_weights(model.teacher, encoder)
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    model.save_pretrained(tmp_path / "own")
    assert_same_weights(EatForPreTraining.from_pretrained(tmp_path / "own"), model)
    assert_same_weights(AutoModel.from_pretrained(tmp_path / "own"), encoder)


@pytest.mark.slow
def test_pretraining_from_published_weights_resumes_to_the_same_bits(encoder, clips, tmp_path, monkeypatch):
    options = {"crop_seconds": 0.5, "num_masks": 2, "batch_size": 4, "max_steps": 4, "save_steps": 2}
    config = PretrainConfig(encoder=str(publish(tmp_path / "published", encoder)), **options)
    whole = pretrain(clips, config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        pretrain(clips, config, tmp_path / "stopped")
    resumed = AutoModel.from_pretrained(pretrain(clips, config, tmp_path / "stopped"))
    assert_same_weights(resumed, AutoModel.from_pretrained(whole))
    assert not torch.equal(resumed.layers[0].mlp.fc1.weight, encoder.layers[0].mlp.fc1.weight)
    assert type(load_feature_extractor(whole)) is EatFeatureExtractor


def fairseq(model, **more):
    """What EAT's own code stores of a model in pre-training."""
    image = "modality_encoders.IMAGE."

    def named(encoder):
        weights = published_names(encoder.state_dict(), norm="context_encoder.norm.")
        weights["fixed_positional_encoder.positions"] = torch.zeros(1, 768 * 8, 32)
        return {name if name.startswith("blocks.") else image + name: weight for name, weight in weights.items()}

    weights = named(model.eat)
    for name, weight in model.decoder.state_dict().items():
        kind, _, rest = name.partition(".")
        number, _, end = rest.partition(".")
        theirs = f"proj.{rest}" if kind == "projection" else f"blocks.{number}.0.{end}"
        weights[f"{image}decoder.{theirs}"] = weight
    weights["_ema"] = named(model.teacher)
    return {"args": argparse.Namespace(arch="eat"), "cfg": {"model": {"num_heads": 2}}, "model": weights, **more}


@pytest.fixture
def pretraining():
    return randomized(EatForPreTraining(EatConfig(**TINY, decoder_layers=2, decoder_groups=4)))


def test_a_checkpoint_of_pretraining_keeps_student_teacher_and_decoder(pretraining, tmp_path):
    torch.save(fairseq(pretraining), tmp_path / "eat.pt")
    folder = convert_eat(tmp_path / "eat.pt", tmp_path / "student")
    assert_same_weights(EatForPreTraining.from_pretrained(folder), pretraining)
    assert_same_weights(AutoModel.from_pretrained(folder), pretraining.eat)
    assert AutoFeatureExtractor.from_pretrained(folder).to_dict() == EatFeatureExtractor().to_dict()

    folder = convert_eat(tmp_path / "eat.pt", tmp_path / "teacher", ema=True)
    loaded = EatForPreTraining.from_pretrained(folder)
    assert_same_weights(loaded.eat, pretraining.teacher)
    assert_same_weights(loaded.teacher, pretraining.teacher)
    assert_same_weights(loaded.decoder, pretraining.decoder)


def test_a_fine_tuned_checkpoint_becomes_an_encoder(pretraining, tmp_path):
    content = fairseq(pretraining)
    weights = {f"model.{n}": w for n, w in content["model"].items() if n != "_ema" and ".decoder." not in n}
    content["model"] = weights | {"fc_norm.weight": torch.ones(32), "head.bias": torch.ones(50)}
    torch.save(content, tmp_path / "eat.pt")
    folder = convert_eat(tmp_path / "eat.pt", tmp_path / "out")
    assert_same_weights(AutoModel.from_pretrained(folder), pretraining.eat)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["EatModel"]
    with pytest.raises(ValueError, match=r"eat.pt: contains no teacher"):
        convert_eat(tmp_path / "eat.pt", tmp_path / "out", ema=True)


@pytest.mark.slow
def test_checkpoints_that_cannot_be_converted_say_why(pretraining, tmp_path, capsys):
    def message(content, *options):
        torch.save(content, tmp_path / "eat.pt")
        command = ["convert", str(tmp_path / "eat.pt"), "--output", str(tmp_path / "out"), "--model-type", "eat"]
        assert main([*command, *options]) == 2 and not (tmp_path / "out").exists()
        return capsys.readouterr().err

    partial = fairseq(pretraining)
    del partial["model"]["blocks.1.mlp.fc2.bias"]
    partial["model"]["blocks.1.norm.weight"] = partial["model"].pop("blocks.1.norm2.weight")
    error = message(partial)
    assert "eat.pt: the weights do not fit the model" in error
    assert "missing: layers.1.mlp.fc2.bias, layers.1.norm2.weight; surplus: layers.1.norm.weight." in error

    partial = fairseq(pretraining)
    del partial["model"]["_ema"]["blocks.1.attn.qkv.bias"]
    assert "teacher (`_ema`): the weights do not fit" in message(partial)
    del partial["model"]["modality_encoders.IMAGE.decoder.proj.bias"]
    assert "decoder: the weights do not fit the model in its configuration; missing: projection.bias" in message(
        partial
    )

    in_front = fairseq(pretraining)
    for part in ("weight", "bias"):
        in_front["model"][f"norm.{part}"] = in_front["model"].pop(
            f"modality_encoders.IMAGE.context_encoder.norm.{part}"
        )
    assert "missing: norm.bias, norm.weight; surplus: final norm.bias, final norm.weight" in message(in_front)

    without_last = fairseq(pretraining, cfg={"model": {"num_heads": 2, "depth": 3}})
    assert "missing: layers.2.attention.proj.bias" in message(without_last)
    assert "its 32 channels are not a multiple of 64" in message(fairseq(pretraining, cfg=None))

    error = message(fairseq(pretraining, cfg=EatFeatureExtractor()))
    assert "contains more than weights (it contains a hf_asd.models.eat.feature_extraction_eat" in error
    assert "and convert weights.pt" in error
    torch.save(fairseq(pretraining), tmp_path / "eat.pt")
    whole = (tmp_path / "eat.pt").read_bytes()
    (tmp_path / "eat.pt").write_bytes(whole[: len(whole) // 2])
    assert main(["convert", str(tmp_path / "eat.pt"), "--output", str(tmp_path / "out"), "--model-type", "eat"]) == 2
    assert "eat.pt: is incomplete or damaged" in capsys.readouterr().err
    (tmp_path / "eat.pt").write_text("Measured on Monday.")
    assert main(["convert", str(tmp_path / "eat.pt"), "--output", str(tmp_path / "out"), "--model-type", "eat"]) == 2
    assert "eat.pt: was not written by torch.save" in capsys.readouterr().err
    assert "contains layers; accepted is a dictionary with the weights under 'model'" in message({"layers": 1})
    assert "missing: embeddings.cls_token" in message({"model": {"encoder.layers.0.fc1.weight": torch.ones(2, 2)}})

    command = ["convert", str(tmp_path / "none.pt"), "--output", str(tmp_path / "out"), "--model-type"]
    assert main([*command, "eat"]) == 2
    assert "none.pt: no such file" in capsys.readouterr().err
    assert main([*command, "beats", "--ema"]) == 2
    assert "--ema is for EAT" in capsys.readouterr().err


@pytest.mark.slow
def test_the_converted_checkpoint_is_an_encoder_for_every_command(pretraining, clips, tmp_path, capsys):
    torch.save(fairseq(pretraining), tmp_path / "eat.pt")
    command = ["convert", str(tmp_path / "eat.pt"), "--output", str(tmp_path / "eat"), "--model-type", "eat", "--ema"]
    assert main(command) == 0 and f"encoder: {tmp_path / 'eat'}" in capsys.readouterr().out
    command = ["fit", str(tmp_path / "fan"), "--output", str(tmp_path / "det"), "--encoder", str(tmp_path / "eat")]
    assert main([*command, "--layer", "-2", "--pooling", "bands"]) == 0
    assert json.loads((tmp_path / "det" / "detector.json").read_text())["config"]["layer"] == 1
    assert "tokens of layer 1 pooled by bands" in (tmp_path / "det" / "README.md").read_text()
