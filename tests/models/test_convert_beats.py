import json
import re
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from golden_recipe import fill_with_waves, golden_clip
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    AutoFeatureExtractor,
    AutoModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from hf_asd import (
    AnomalyDetector,
    BeatsConfig,
    BeatsFeatureExtractor,
    BeatsModel,
    FinetuneConfig,
    finetune,
    load_folder,
)
from hf_asd.cli import main
from hf_asd.models.beats.convert_beats import convert_beats


# The settings of an official checkpoint, of iter3+, at another size.
SETTINGS = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 2,
    "activation_fn": "gelu",
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.05,
    "dropout_input": 0.0,
    "layer_norm_first": False,
    "conv_bias": False,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "relative_position_embedding": True,
    "num_buckets": 32,
    "max_distance": 40,
    "gru_rel_pos": True,
    "deep_norm": True,
    "input_patch_size": 16,
    "layer_wise_gradient_decay_ratio": 0.6,
    "embed_dim": 16,
    "finetuned_model": False,
}
# Of iter3+, by hand: the names of the weights of a block, and of those around the blocks.
BLOCK = (
    *(
        f"self_attn.{projection}.{part}"
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj", "grep_linear")
        for part in ("weight", "bias")
    ),
    *("self_attn.grep_a", "self_attn.relative_attention_bias.weight"),
    *(
        f"{module}.{part}"
        for module in ("self_attn_layer_norm", "fc1", "fc2", "final_layer_norm")
        for part in ("weight", "bias")
    ),
)
AROUND = (
    *("post_extract_proj.weight", "post_extract_proj.bias", "patch_embedding.weight"),
    *("encoder.pos_conv.0.bias", "encoder.pos_conv.0.weight_g", "encoder.pos_conv.0.weight_v"),
    *("encoder.layer_norm.weight", "encoder.layer_norm.bias", "layer_norm.weight", "layer_norm.bias"),
)
OWN = {
    "post_extract_proj": "embeddings.projection",
    "patch_embedding": "embeddings.patch_embedding",
    "encoder.pos_conv.0.bias": "position_embedding.convolution.bias",
    "encoder.pos_conv.0.weight_g": "position_embedding.convolution.parametrizations.weight.original0",
    "encoder.pos_conv.0.weight_v": "position_embedding.convolution.parametrizations.weight.original1",
    "encoder.layer_norm": "norm",
    "layer_norm": "embeddings.norm",
    "self_attn.grep_linear": "attention.gate",
    "self_attn.grep_a": "attention.gate_scale",
    "self_attn_layer_norm": "norm1",
    "final_layer_norm": "norm2",
    "self_attn": "attention",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def own_name(official):
    if "relative_attention_bias" in official:
        return "relative_position_bias.embedding.weight"
    block = re.match(r"encoder\.(layers\.\d+\.)", official)
    rest = official[block.end() :] if block else official
    start = max((name for name in OWN if rest.startswith(name)), key=len)
    return (block[1] if block else "") + OWN[start] + rest[len(start) :]


@pytest.fixture
def model():
    config = BeatsConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        patch_embedding_size=16,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
        num_buckets=32,
        max_distance=40,
    )
    return fill_with_waves(BeatsModel(config))


def official(model, settings=(), add=(), drop=()):
    """What the official code stores."""
    own = model.state_dict()
    names = [*AROUND, *(f"encoder.layers.{block}.{name}" for block in range(2) for name in BLOCK)]
    weights = {name: own[own_name(name)].clone() for name in names if name not in drop}
    return {"cfg": SETTINGS | dict(settings), "model": weights | dict(add)}


def assert_same_weights(a, b):
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name


def test_an_official_checkpoint_becomes_an_encoder(model, tmp_path):
    torch.save(official(model), tmp_path / "beats.pt")
    folder = convert_beats(tmp_path / "beats.pt", tmp_path / "out")
    loaded = AutoModel.from_pretrained(folder)
    assert type(loaded) is BeatsModel
    assert_same_weights(loaded, model)
    assert loaded.config.to_diff_dict() == model.config.to_diff_dict() | {
        name: loaded.config.to_diff_dict()[name] for name in ("architectures", "dtype")
    }
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert extractor.to_dict() == BeatsFeatureExtractor().to_dict()
    values = extractor(golden_clip(1), sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        assert torch.equal(loaded(values).last_hidden_state, model(values).last_hidden_state)


def test_the_head_of_a_fine_tuned_checkpoint_is_dropped(model, tmp_path):
    head = {"predictor.weight": torch.ones(527, 32), "predictor.bias": torch.ones(527)}
    settings = {"finetuned_model": True, "predictor_dropout": 0.0, "predictor_class": 527, "dropout": 0.1}
    torch.save(official(model, settings, add=head) | {"label_dict": {0: "/m/09x0r"}}, tmp_path / "beats.pt")
    loaded = AutoModel.from_pretrained(convert_beats(tmp_path / "beats.pt", tmp_path / "out"))
    assert_same_weights(loaded, model)
    assert loaded.config.hidden_dropout == 0.1


def test_checkpoints_that_cannot_be_converted_say_why(model, tmp_path, capsys):
    def message(content):
        torch.save(content, tmp_path / "beats.pt")
        command = ["convert", str(tmp_path / "beats.pt"), "--output", str(tmp_path / "out"), "--model-type", "beats"]
        assert main(command) == 2 and not (tmp_path / "out").exists()
        return capsys.readouterr().err

    error = message(
        official(
            model,
            add={"encoder.layers.0.gamma": torch.ones(1), "layer_norm.weight": torch.ones(3)},
            drop=["encoder.layers.1.fc2.bias"],
        )
    )
    assert (
        "beats.pt: the weights do not fit the model in its configuration; missing: layers.1.mlp.fc2.bias; "
        "surplus: layers.0.gamma; of another shape: embeddings.norm.weight (3,) instead of (16,)." in error
    )
    # A tokenizer has an encoder, and more.
    assert "surplus: quantize.embedding.weight" in message(
        official(model, add={"quantize.embedding.weight": torch.ones(1)})
    )
    assert "missing: layers.2.attention.gate.bias" in message(official(model, {"encoder_layers": 3}))
    bias = "encoder.layers.1.self_attn.relative_attention_bias.weight"
    assert f"{bias} differs from that of layer 0" in message(official(model, add={bias: torch.ones(32, 2)}))
    for option, value in (("deep_norm", False), ("layer_norm_first", True), ("gru_rel_pos", False)):
        error = message(official(model, {option: value}))
        assert f"beats.pt: {option} is {value}; BeatsModel accepts {not value} only." in error
    without_deep_norm = official(model)
    del without_deep_norm["cfg"]["deep_norm"]
    assert "deep_norm is False; BeatsModel accepts True only" in message(without_deep_norm)
    assert "'cfg' is a NoneType" in message({"model": official(model)["model"]})
    assert "contains layers; accepted is a dictionary with the weights under 'model'" in message({"layers": 1})
    error = message(official(model) | {"cfg": BeatsFeatureExtractor()})
    assert "contains more than weights (it contains a hf_asd.models.beats.feature_extraction_beats" in error
    assert "{'cfg': c['cfg'], 'model': c['model']}" in error


@pytest.mark.slow
def test_the_converted_checkpoint_is_an_encoder_for_every_command(model, tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "fan").mkdir()
    for clip in range(6):
        soundfile.write(tmp_path / "fan" / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    torch.save(official(model), tmp_path / "beats.pt")
    command = ["convert", str(tmp_path / "beats.pt"), "--output", str(tmp_path / "beats"), "--model-type", "beats"]
    assert main(command) == 0 and f"encoder: {tmp_path / 'beats'}" in capsys.readouterr().out
    command = ["fit", str(tmp_path / "fan"), "--output", str(tmp_path / "det"), "--encoder", str(tmp_path / "beats")]
    assert main([*command, "--layer", "1", "--pooling", "bands"]) == 0
    assert json.loads((tmp_path / "det" / "detector.json").read_text())["config"]["layer"] == 1
    # The scale of the residual is the one that the block was trained with, not that of an encoder with one block.
    kept = AnomalyDetector.from_pretrained(tmp_path / "det").encoder.model
    assert kept.config.num_hidden_layers == 1 and kept.layers[0].residual_scale == pytest.approx(4**0.25)


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        (tmp_path / "clips" / machine).mkdir(parents=True)
        for clip in range(3):
            soundfile.write(tmp_path / "clips" / machine / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    clips = load_folder(tmp_path / "clips")["train"]
    return clips.add_column("pseudo_attribute", [str(i % 2) for i in range(len(clips))])


def test_a_converted_checkpoint_is_fine_tuned(model, clips, tmp_path):
    torch.save(official(model), tmp_path / "beats.pt")
    encoder = convert_beats(tmp_path / "beats.pt", tmp_path / "beats")
    options = {"crop_seconds": 0.5, "batch_size": 4, "max_steps": 2, "pooling": "bands", "learning_rate": 1e-2}
    tuned = AutoModel.from_pretrained(finetune(clips, encoder, FinetuneConfig(**options), tmp_path / "run"))
    assert type(tuned.encoder) is BeatsModel
    for name, weight in tuned.encoder.state_dict().items():
        changed = not torch.equal(weight, model.state_dict()[name])
        assert changed or "k_proj.bias" in name, name


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def test_encoders_that_fine_tuning_has_no_crops_for_are_refused(clips, tmp_path):
    waves = Wav2Vec2Model(Wav2Vec2Config(**TINY, conv_dim=(16,) * 7, num_conv_pos_embedding_groups=2))
    waves.save_pretrained(tmp_path / "waves")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "waves")
    with pytest.raises(ValueError, match="waves is a wav2vec2, which takes samples"):
        finetune(clips, tmp_path / "waves", FinetuneConfig(batch_size=4), tmp_path / "run")
    ASTModel(ASTConfig(**TINY, max_length=64)).save_pretrained(tmp_path / "ast")
    ASTFeatureExtractor(max_length=64).save_pretrained(tmp_path / "ast")
    with pytest.raises(
        ValueError, match="crop_seconds is 1.0; this audio-spectrogram-transformer takes at most 0.64 s"
    ):
        finetune(clips, tmp_path / "ast", FinetuneConfig(batch_size=4, crop_seconds=1.0), tmp_path / "run")
    options = FinetuneConfig(batch_size=4, crop_seconds=0.64, max_steps=1)
    tuned = AutoModel.from_pretrained(finetune(clips, tmp_path / "ast", options, tmp_path / "run"))
    assert type(tuned.encoder) is ASTModel
