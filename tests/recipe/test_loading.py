from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from hf_asd.options import accepted, choices
from hf_asd.recipe.config import NOT_FINETUNED, Recipe
from hf_asd.recipe.loading import load_recipe, options_help, read_overrides, section_of


RECIPES = Path(__file__).parents[2] / "recipes"


def recipe(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/recipe.yaml")), ids=lambda path: path.parent.name)
def test_every_recipe_of_the_project_is_read(path):
    assert load_recipe(path.parent).output_dir == f"runs/{path.parent.name}"


def test_overrides_win_over_the_file_and_the_file_over_defaults(tmp_path):
    folder = recipe(tmp_path, "factory: {num_test: 3}\nfinetune: {epochs: 2, learning_rate: 1e-4}\n")
    loaded = load_recipe(
        folder, ["--finetune.epochs", "5", "--cluster.max-clusters=7", "--finetune.training.bf16=true"]
    )
    assert loaded.factory is not None
    assert (loaded.factory.num_test, loaded.finetune.epochs, loaded.cluster.max_clusters) == (3, 5, 7)
    # YAML reads 1e-4 as text.
    assert loaded.finetune.learning_rate == 1e-4
    assert loaded.finetune.training == {"bf16": True}
    assert loaded.pretrain.batch_size == 12


def test_the_seed_of_the_recipe_is_that_of_training_but_not_of_the_factory(tmp_path):
    loaded = load_recipe(recipe(tmp_path, "seed: 3\nfactory: {}\npretrain: {seed: 9}\n"), ["--seed", "4"])
    assert loaded.factory is not None
    assert (loaded.pretrain.seed, loaded.finetune.seed, loaded.factory.seed) == (9, 4, 0)


def test_the_channel_of_the_data_is_that_of_the_detector(tmp_path):
    assert load_recipe(recipe(tmp_path, "data: {path: x, channel: 2}\n")).fit.channel == 2


@pytest.mark.parametrize("none", ["none", "null", "~", ""])
def test_none_is_written_in_several_ways(tmp_path, none):
    text = f"""
data: {{path: x, year: {none}, machines: {none}}}
pretrain: {{encoder: {none}, lora: {none}, datasets: {none}, model: {none}}}
finetune: {{num_trainable_layers: {none}}}
fit: {{fusion: {none}, reduction: {none}, backends: {none}}}
embed: {none}
factory: {none}
"""
    in_file = load_recipe(recipe(tmp_path, text))
    overrides = [f"--data.year={none}", f"--data.machines={none}", f"--factory={none}", f"--pretrain.encoder={none}"]
    written = "data: {path: x, machines: [fan]}\nfactory: {}\npretrain: {encoder: x}\n"
    for loaded in (in_file, load_recipe(recipe(tmp_path, written), overrides)):
        assert loaded.data.year is None and loaded.data.machines is None and loaded.factory is None
        assert loaded.pretrain.encoder is None and loaded.pretrain.datasets == [] and loaded.pretrain.lora is None
        assert loaded.fit.reduction == "none" and loaded.embed.pooling == "mean"


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("embed.pooling", "mean"),
        ("fit.pooling", "mean"),
        ("finetune.loss", "arcface"),
        ("finetune.embedding_from", "encoder"),
        ("fit.statistics", "mean"),
        ("data.channel", "mean"),
        ("data.on_bad_audio", "skip"),
    ],
)
def test_a_wrong_word_is_refused_with_what_is_accepted_and_the_nearest_word(tmp_path, option, nearest):
    wrong = f"{nearest}x"
    section, name = option.split(".")
    kind = section_of(get_type_hints(Recipe)[section])
    assert kind is not None
    field = next(field for field in fields(kind) if field.name == name)
    words = accepted(get_type_hints(kind)[name], field.metadata)
    with pytest.raises(ValueError) as error:
        load_recipe(recipe(tmp_path, "factory: {}"), [f"--{option}", wrong])
    assert f"{option} is '{wrong}'; accepted are {words}. Did you mean {nearest}?" in str(error.value)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("factory: {}\nfinetun: {}", [], "finetun is an unknown option; did you mean finetune"),
        (
            "factory: {}\nfinetune: {learningrate: 1}",
            [],
            "finetune.learningrate is an unknown option; did you mean learning_r",
        ),
        (
            "factory: {}",
            ["--cluster.num_cluster", "3"],
            "cluster.num_cluster is an unknown option; did you mean num_c",
        ),
        ("factory: {}\nfinetune: {epochs: many}", [], "finetune.epochs is 'many'; accepted are numbers above 0"),
        ("factory: {}\nfinetune: 3", [], "finetune is 3; accepted are its own options"),
        (
            "factory: {}\nfit: {false_alarm_rate: 2}",
            [],
            "fit.false_alarm_rate is 2.0; accepted are numbers above 0 below 1",
        ),
        ("factory: {}\ndata: {path: x}", [], "either a factory section or data.path"),
        ("seed: 1", [], "either a factory section or data.path"),
        ("- 1", [], "holds a list; accepted are sections"),
        ("factory: {}", ["--seed"], "--seed has no value"),
        ("factory: {}", ["seed", "1"], "found 'seed'"),
        ("factory: {}", ["--seed.x", "1"], "seed has no options of its own"),
        (
            "factory: {}",
            ["--pretrain.datasets", "x"],
            "pretrain.datasets is 'x'; accepted are a list of options by name, none",
        ),
        (
            "factory: {}",
            ["--pretrain.datasets", "[{path: x, weight: 0}]"],
            r"pretrain.datasets\[0\].weight is 0.0; accepted are numbers above 0",
        ),
        ("factory: {}\ndata: {year: none}", [], "data.year is none, which is for own recordings"),
        ("data: {path: x, year: 1999}", [], "data.year is 1999; accepted are whole numbers from 2020 to 2026, none"),
    ],
)
def test_what_is_not_accepted_is_named(tmp_path, text, overrides, message):
    content = recipe(tmp_path, f"seed: 0\n{text}" if not text.startswith(("-", "seed")) else text)
    with pytest.raises(ValueError, match=message):
        load_recipe(content, overrides)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="recipe.yaml: there is no such recipe"):
        load_recipe(tmp_path)


def test_values_of_overrides_are_read_as_yaml():
    assert read_overrides(["--a.b-c", "[1, 2]", "--d=", "--e", "-3"]) == [("a.b_c", [1, 2]), ("d", None), ("e", -3)]


def test_help_lists_every_option_with_its_default_and_what_is_accepted():
    text = options_help()
    for option in ("--pretrain.mask_ratio", "--fit.false_alarm_rate", "--factory.num_test", "default: 0.05)"):
        assert option in text
    lines = {line.split()[0]: line for line in text.splitlines()}
    for section, annotation in get_type_hints(Recipe).items():
        kind = section_of(annotation)
        for field in fields(kind) if kind else ():
            annotation = get_type_hints(kind)[field.name]
            if section_of(annotation) or (section == "fit" and field.name in NOT_FINETUNED):
                continue
            words = accepted(annotation, field.metadata)
            assert f"(accepted: {words}; default: " in lines[f"--{section}.{field.name}"]


def options_with_words():
    for section, annotation in get_type_hints(Recipe).items():
        kind = section_of(annotation)
        for name, annotation in get_type_hints(kind).items() if kind else ():
            if choices(annotation):
                yield section, name, choices(annotation)


@pytest.mark.parametrize(("section", "name", "words"), list(options_with_words()), ids=lambda part: str(part)[:20])
def test_every_word_that_is_accepted_is_read(tmp_path, section, name, words):
    """What else it needs is set as well, so that it is used."""
    needs = {
        "normalization": "backends: [cosine]",
        "target": "per_domain_banks: true",
        "band_fusion": "num_bands: 2",
        "fusion": "backends: [cosine, mahalanobis]",
        "embedding_from": "projection_size: 8",
    }
    for word in words:
        written = f"[{word}]" if name in ("backends", "machines") else word
        sections = {"factory": "{}", section: f"{{{name}: {written}, {needs.get(name, '')}}}"}
        text = "\n".join(f"{key}: {value}" for key, value in sections.items())
        if section == "fit" and name in NOT_FINETUNED:
            with pytest.raises(ValueError, match=f"fit.{name} is '{word}', but it would not be used"):
                load_recipe(recipe(tmp_path, text))
            continue
        value = getattr(getattr(load_recipe(recipe(tmp_path, text)), section), name)
        assert value == word or value == (word,)
