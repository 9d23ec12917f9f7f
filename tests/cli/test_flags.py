"""Help, accepted values and what commands read agree."""

import argparse
import ast
import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from hf_asd.cli import main
from hf_asd.cli.parser import make_parser
from hf_asd.detection.alarm import AlarmPolicy
from hf_asd.detection.config import DetectorConfig, MonitorConfig
from hf_asd.options import accepted, choices
from hf_asd.simulation.config import FactoryConfig


CONFIGS = {config.__name__: config for config in (AlarmPolicy, DetectorConfig, FactoryConfig, MonitorConfig)}
COMMANDS = next(action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
FLAGS = [
    pytest.param(command, action, id=f"{name} {action.option_strings[0]}")
    for name, command in COMMANDS.items()
    for action in command._actions
    if hasattr(action, "annotation")
]


@pytest.mark.parametrize(("command", "action"), FLAGS)
def test_help_shows_what_is_accepted_and_each_accepted_word_is_read(command, action, capsys):
    (flag,) = action.option_strings
    words = choices(action.annotation) or ()
    assert f"(accepted: {accepted(action.annotation, action.metadata)}; " in action.help
    assert "default: " in action.help or action.required
    for word in words:
        namespace = argparse.Namespace()
        action(command, namespace, [word] if action.nargs else word, flag)
        value = getattr(namespace, action.dest)
        assert value in (word, [word], (word,))
    if words:
        with pytest.raises(SystemExit) as ended:
            action(command, argparse.Namespace(), ["no such word"] if action.nargs else "no such word", flag)
        error = capsys.readouterr().err
        assert ended.value.code == 2 and f"{flag} is 'no such word'; accepted are " in error
        assert all(str(word) in error for word in words) and "Did you mean" in error


@pytest.mark.parametrize(("command", "action"), FLAGS)
def test_none_is_read_where_help_says_so(command, action):
    for none in ("none", "null", ""):
        namespace = argparse.Namespace()
        if "none" in accepted(action.annotation, action.metadata).split(", "):
            action(command, namespace, [none] if action.nargs else none, action.option_strings[0])
            assert getattr(namespace, action.dest) in (None, "none")
        else:
            with pytest.raises(SystemExit):
                action(command, namespace, [none] if action.nargs else none, action.option_strings[0])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_is_parsed_is_read(name):
    """Each argument is read as `args.NAME` by the command's function, by one that it calls, or by its config."""
    command = COMMANDS[name]
    function = command.get_default("run")
    text = "\n".join(_called(function, {}).values())
    tree = ast.parse(text)
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "args"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "build_config":
            read |= {field.name for field in fields(CONFIGS[ast.unparse(node.args[1])])}
    parsed = {action.dest for action in command._actions} - {"help"}
    assert parsed - read == set()


def _called(function, found):
    """The source of a function, and of functions of the commands' modules that it calls."""
    if function.__name__ not in found:
        found[function.__name__] = inspect.getsource(function)
        for node in ast.walk(ast.parse(found[function.__name__])):
            other = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
            if inspect.isfunction(other) and other.__module__.startswith("hf_asd.cli."):
                _called(other, found)
    return found


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["score", "--help"], ["evaluate", "--help"]])
def test_help_is_shown_without_heavy_imports(arguments):
    code = (
        "import sys; from hf_asd.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'sklearn', 'scipy') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_help_of_run_lists_the_options_of_a_recipe(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    printed = capsys.readouterr().out
    assert "--finetune.margin" in printed and "--until" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "x"], "the following arguments are required: --output"),
        (["fit", "x", "--output", "y", "--chanel", "1"], "unknown options: --chanel 1; did you mean --channel?"),
        (["fit", "x", "--output", "y", "--false-alarm-rate", "5"], "--false-alarm-rate is 5.0; accepted are numbers"),
        (
            ["fit", "x", "--output", "y", "--backends", "cosin", "euclidean"],
            "--backends is 'cosin'; accepted are",
        ),
        (
            ["fit", "x", "--output", "y", "--layer", "last"],
            "--layer is 'last'; accepted are whole numbers, mean, none",
        ),
        (["score", "a", "b", "--unknown"], "unknown options: --unknown"),
        (["compact", "x", "--output", "y", "--dtype", "int8"], "--dtype is 'int8'; accepted are float32, float16"),
        (["download", "2025", "--parts", "test"], "--parts is 'test'; accepted are dev, train, eval"),
        (["evaluate", "x"], "the following arguments are required: --truth"),
        (["evaluate", "x", "--truth", "y", "--year", "1999"], "--year is 1999; accepted are whole numbers from 2020"),
        (["factory", "x", "--num-tests", "3"], "unknown options: --num-tests 3; did you mean --num-test?"),
        (["factory", "x", "--num-test", "many"], "--num-test is 'many'; accepted are whole numbers"),
        (["monitor", "x", "-", "--window-seconds", "0.1"], "--window-seconds is 0.1; accepted are numbers from 0.5"),
        (["run", "x", "--until", "fitt"], "--until is 'fitt'; accepted are data, pretrain, embed"),
    ],
)
def test_a_wrong_word_ends_with_code_two_and_what_is_accepted(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["fit", "x", "--output", "y", "--num-references", "3"],
            "--num-references is given, but it would not be used",
        ),
        (["fit", "x", "--output", "y", "--target", "smote"], "--target is 'smote', which needs a target bank"),
        (["monitor", "x", "y.wav", "--sampling-rate", "8000"], "--sampling-rate is given, but it would not be used"),
        (["monitor", "x", "-", "--wait-seconds", "5"], "--wait-seconds is given, but it would not be used"),
        (["monitor", "x", "-", "--clear-at", "5"], "--clear-at is 5, --raise-at 3"),
        (["compact", "x", "--output", "y", "--year", "2023"], "--year is given, but it would not be used"),
        (["score", ".", "x", "--revision", "v1"], "--revision is v1, but it would not be used"),
        (["convert", "x", "--output", "y", "--model-type", "beats", "--ema"], "--ema is for EAT"),
    ],
)
def test_an_option_that_is_given_and_not_used_is_an_error(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_a_recipe_is_for_run(command, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("factory: {}\n")
    options = {"fit": ["--preset", "fast"], "evaluate": ["--resamples", "20"]}[command]
    for recipe in (tmp_path, tmp_path / "recipe.yaml"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(recipe), *options])
        assert ended.value.code == 2
        assert f"use hf-asd run {recipe} --until {command}" in capsys.readouterr().err
