"""Edited code runs again: the cache of a stage is keyed on the source files that it uses."""

import ast
import shutil
from pathlib import Path

import pytest

from hf_asd.recipe import sources, stages
from hf_asd.recipe.config import STAGE_NAMES
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.runner import run_recipe
from hf_asd.recipe.stages import STAGES


# They decide nothing about a result: they write files, check options, register models, log in to the Hub.
UNCOUNTED = ("files", "options", "registration", "hub", "recipe")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of the package whose files are hashed, and stages that do nothing but note that they ran."""
    copy = tmp_path / "hf_asd"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


@pytest.fixture
def ran(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text("factory: {}\npretrain: {model: {hidden_size: 768}}\n")

    def run(*overrides):
        names = []
        for name, stage in STAGES.items():
            note = lambda recipe, folder, folders, name=name: names.append(name)  # noqa: E731
            stub = stages.Stage(note, stage.sources, stage.upstream, stage.is_distributed)
            monkeypatch.setitem(stages.STAGES, name, stub)
        run_recipe(load_recipe(tmp_path, ["--output_dir", str(tmp_path / "runs"), *overrides]))
        return names

    return run


def test_edited_code_runs_the_stages_that_use_it_again(source, ran, caplog):
    assert ran() == list(STAGE_NAMES)
    with caplog.at_level("INFO", "hf_asd"):
        assert ran() == []
    assert [message.split(": ")[1].split()[0] for message in caplog.messages] == ["reused"] * len(STAGE_NAMES)
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
        again = ran()
        assert again[0] == first, file
        assert set(again) == _after(first) | {stage for stage in again if _uses(stage, file)}
        assert ran() == []


def _after(first):
    """A stage and all that build on it."""
    found = {first}
    for name in STAGE_NAMES:
        if found & set(STAGES[name].upstream):
            found.add(name)
    return found


def _uses(stage, file):
    return file.split("/")[0] in STAGES[stage].sources


def test_changed_options_run_their_stage_and_those_after_it_again(ran):
    assert ran() == list(STAGE_NAMES)
    assert ran("--fit.false_alarm_rate", "0.1") == ["fit", "score", "evaluate", "report"]
    assert ran("--evaluate.resamples", "10") == ["evaluate", "report"]
    assert ran() == []


def test_a_stage_function_counts_with_the_functions_that_it_calls():
    assert "def _own_recordings" in "\n".join(sources._functions(stages.load_data))
    assert "def _own_recordings" not in "\n".join(sources._functions(stages.write_results))
    assert sources.hash_sources(stages.load_data, ("audio",)) != sources.hash_sources(stages.load_data, ("data",))


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_every_module_that_a_stage_imports_is_counted(stage):
    """The packages of the table hold every module that the stage's function imports, directly or indirectly."""
    imported = _imports(sources.PACKAGE / "recipe" / "stages.py")
    used = {
        node.id
        for text in sources._functions(STAGES[stage].run)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name)
    }
    waiting, seen = [imported[name] for name in used if name in imported], set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        waiting += _imports(module).values()
    rooms = {Path(module).relative_to(sources.PACKAGE).parts[0].removesuffix(".py") for module in seen}
    assert rooms - set(UNCOUNTED) - {"__init__"} <= set(STAGES[stage].sources)


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
