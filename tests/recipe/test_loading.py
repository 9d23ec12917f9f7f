from pathlib import Path

import pytest

from hf_asd.recipe.loading import load_recipe, options_help, read_overrides


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
    assert (loaded.factory.num_test, loaded.finetune.epochs, loaded.cluster.max_clusters) == (3, 5, 7)
    # YAML reads 1e-4 as text.
    assert loaded.finetune.learning_rate == 1e-4
    assert loaded.finetune.training == {"bf16": True}
    assert loaded.pretrain.batch_size == 12


def test_the_seed_of_the_recipe_reaches_training_but_not_the_factory(tmp_path):
    loaded = load_recipe(recipe(tmp_path, "seed: 3\nfactory: {}\npretrain: {seed: 9}\n"), ["--seed", "4"])
    assert (loaded.pretrain.seed, loaded.finetune.seed, loaded.factory.seed) == (9, 4, 0)


def test_the_channel_of_the_data_reaches_the_detector(tmp_path):
    assert load_recipe(recipe(tmp_path, "data: {path: x, channel: 2}\n")).fit.channel == 2


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("factory: {}\nfinetun: {}", [], "finetun is no option, did you mean finetune"),
        (
            "factory: {}\nfinetune: {learningrate: 1}",
            [],
            "finetune.learningrate is no option, did you mean learning_r",
        ),
        ("factory: {}", ["--cluster.num_cluster", "3"], "cluster.num_cluster is no option, did you mean num_c"),
        ("factory: {}\nfinetune: {epochs: many}", [], "finetune.epochs is 'many', which is not accepted"),
        ("factory: {}\nfinetune: 3", [], "finetune is 3; accepted are options of its own"),
        (
            "factory: {}\nfit: {false_alarm_rate: 2}",
            [],
            "fit: false_alarm_rate is 2.0; accepted are numbers above 0 below 1",
        ),
        ("factory: {}\ndata: {path: x}", [], "either a factory section or data.path"),
        ("seed: 1", [], "either a factory section or data.path"),
        ("- 1", [], "holds list; accepted are sections"),
        ("factory: {}", ["--seed"], "--seed comes without a value"),
        ("factory: {}", ["seed", "1"], "found 'seed'"),
        ("factory: {}", ["--seed.x", "1"], "seed has no options of its own"),
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


def test_help_lists_every_section_with_defaults():
    text = options_help()
    for option in ("--pretrain.mask_ratio", "--fit.false_alarm_rate", "--factory.num_test", "(default: 0.05)"):
        assert option in text
