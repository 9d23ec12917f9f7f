"""A recipe is checked against its encoder and its files before the first stage."""

import pytest
from trainings import tiny_encoder

from hf_asd.recipe.checking import check_recipe
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.runner import run_recipe


MODEL = "{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32}"


def load(tmp_path, *overrides, encoder="model"):
    (tmp_path / "recipe.yaml").write_text(f"factory: {{}}\npretrain: {{{encoder}: {MODEL}}}\n")
    return load_recipe(tmp_path, ["--output_dir", str(tmp_path / "runs"), *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--embed.layer", "3"], "embed.layer is 3; this encoder has 2 layers: accepted are 1 to 2"),
        (["--embed.layer", "-3"], "embed.layer is -3; this encoder has 2 layers"),
        (["--finetune.num_trainable_layers", "3"], "finetune.num_trainable_layers is 3; this encoder has 2 layers"),
        (["--finetune.loss=adaproj", "--finetune.num_centers=32"], "finetune.num_centers is 32; .* 32 dimensions"),
        (["--fit.num_bands", "5"], "fit.num_bands is 5, which does not divide the 32"),
        (["--pretrain.model.hidden_sise", "8"], "pretrain.model.hidden_sise .* did you mean hidden_size"),
        (["--pretrain.model.projection_size", "8"], "pretrain.model.projection_size is given, but it would not"),
        (["--pretrain.model.hidden_size", "30"], "pretrain.model.hidden_size is 30; accepted are multiples of 4"),
        (["--finetune.training.bf17", "true"], "finetune.training.bf17 .* did you mean bf16"),
    ],
)
def test_what_contradicts_the_encoder_is_an_error_before_the_first_stage(tmp_path, overrides, message):
    recipe = load(tmp_path, *overrides)
    with pytest.raises(ValueError, match=message):
        run_recipe(recipe)
    assert not (tmp_path / "runs").exists()


def test_what_fits_the_encoder_is_accepted(tmp_path):
    check_recipe(load(tmp_path, "--embed.layer=-2", "--finetune.num_trainable_layers=2", "--fit.num_bands=8"))
    check_recipe(load(tmp_path, "--embed.layer=mean", "--embed.pooling=cls", "--finetune.training.bf16=false"))


def test_a_named_encoder_is_checked_by_its_configuration_alone(tmp_path):
    encoder = tiny_encoder(tmp_path / "encoder", decoder_layers=1)
    (encoder / "model.safetensors").unlink()
    (tmp_path / "recipe.yaml").write_text(f"factory: {{}}\npretrain: {{encoder: {encoder}}}\n")
    check_recipe(load_recipe(tmp_path))
    with pytest.raises(ValueError, match="embed.layer is 9; this encoder has"):
        check_recipe(load_recipe(tmp_path, ["--embed.layer", "9"]))
    with pytest.raises(OSError, match="nowhere"):
        check_recipe(load_recipe(tmp_path, ["--pretrain.encoder", str(tmp_path / "nowhere")]))
    with pytest.raises(ValueError, match=r"pretrain.encoder is .*, a wav2vec2; accepted are EAT encoders"):
        (encoder / "config.json").write_text('{"model_type": "wav2vec2"}')
        check_recipe(load_recipe(tmp_path))


def test_the_pooling_has_to_fit_the_encoder(tmp_path, monkeypatch):
    """EAT has a token for the whole clip; an encoder without one has no pooling `cls`."""
    monkeypatch.setattr("hf_asd.models.pooling.prefix_tokens", lambda config: 0)
    for section in ("embed", "finetune"):
        with pytest.raises(ValueError, match=f"{section}.pooling is 'cls', but "):
            check_recipe(load(tmp_path, f"--{section}.pooling=cls"))


@pytest.mark.parametrize("option", ["attributes_file", "cluster.names_file", "evaluate.attributes_file"])
def test_missing_files_are_named(tmp_path, option):
    with pytest.raises(FileNotFoundError, match=f"{option} is nothing.csv; there is no such file or folder"):
        check_recipe(load(tmp_path, f"--{option}=nothing.csv"))
