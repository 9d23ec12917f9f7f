"""Edited code runs again: the cache of a stage is keyed on the source files that it uses."""

import ast
import shutil
from dataclasses import replace

import pytest

from hf_asd.recipe import sources, stages
from hf_asd.recipe.config import STAGE_NAMES
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.runner import run_recipe
from hf_asd.recipe.stages import STAGES


# They decide nothing about a result: they write files, check options, register models, log in to the Hub, draw.
UNCOUNTED = ("__init__", "files", "options", "hub", "plotting", "recipe")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of the package, whose files are hashed."""
    copy = tmp_path / "hf_asd"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


def do_nothing(recipe, folder, folders):
    """Instead of a stage."""


@pytest.fixture
def run(tmp_path, monkeypatch, caplog):
    """Runs a recipe whose stages do nothing; returns what is said about each stage: started or reused."""
    (tmp_path / "recipe.yaml").write_text("factory: {}\n")
    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, replace(stage, run=do_nothing))

    def run(*overrides):
        caplog.clear()
        with caplog.at_level("INFO", "hf_asd"):
            run_recipe(load_recipe(tmp_path, ["--output_dir", str(tmp_path / "runs"), *overrides]))
        said = dict(message.split(": ") for message in caplog.messages)
        assert all(f"({tmp_path / 'runs' / name}-" in said[name] for name in STAGE_NAMES)
        return {name: words.split()[0] for name, words in said.items()}

    return run


def started(said):
    return [name for name, word in said.items() if word == "started"]


def test_edited_code_runs_the_stages_that_use_it_again(source, run):
    assert set(run().values()) == {"started"}
    assert set(run().values()) == {"reused"}
    for file, first in (
        ("simulation/signals.py", "data"),
        ("training/augmentation.py", "pretrain"),
        ("clustering/quality.py", "cluster"),
        ("detection/threshold.py", "fit"),
        ("evaluation/scores.py", "score"),
        ("reporting/report.py", "report"),
    ):
        with open(source / file, "a") as module:
            module.write("# edited\n")
        again = started(run())
        assert again[0] == first and set(again) == using(file), file
        assert started(run()) == []


def using(file):
    """The stages that use a file, and all that build on them."""
    found = set()
    for name in STAGE_NAMES:
        if file.split("/")[0] in STAGES[name].sources or found & set(STAGES[name].upstream):
            found.add(name)
    return found


def test_changed_options_run_their_stage_and_those_after_it_again(run):
    assert started(run()) == list(STAGE_NAMES)
    assert started(run("--fit.false_alarm_rate", "0.1")) == ["fit", "score", "evaluate", "report"]
    assert started(run("--evaluate.resamples", "10")) == ["evaluate", "report"]
    assert started(run("--factory.num_workers", "1")) == []
    assert started(run("--factory.num_test", "3")) == list(STAGE_NAMES)
    assert started(run()) == []


def test_a_stage_function_counts_with_the_functions_that_it_calls():
    assert "def _own_recordings" in "\n".join(sources._functions(stages.load_data))
    assert "def _own_recordings" not in "\n".join(sources._functions(stages.write_results))
    assert sources.hash_sources(stages.load_data, ("audio",)) != sources.hash_sources(stages.load_data, ("data",))


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_every_module_that_a_stage_imports_is_counted(stage):
    """The packages of the table hold every module that the stage's function imports, directly or indirectly."""
    names = {
        node.id
        for text in sources._functions(STAGES[stage].run)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name)
    }
    imported = _imports(sources.PACKAGE / "recipe" / "stages.py")
    waiting, seen = [imported[name] for name in names if name in imported], set()
    while waiting:
        module = waiting.pop()
        room = module.relative_to(sources.PACKAGE).parts[0].removesuffix(".py")
        if module not in seen and room not in UNCOUNTED:
            seen.add(module)
            waiting += _imports(module).values()
            assert room in STAGES[stage].sources, f"{module} is imported"


def _imports(file):
    """Name -> module of the package that it is imported from."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                for path in (
                    base / f"{alias.name}.py",
                    base / alias.name / "__init__.py",
                    base.with_suffix(".py"),
                    base / "__init__.py",
                ):
                    if path.is_file():
                        found[alias.asname or alias.name] = path
                        break
    return found
