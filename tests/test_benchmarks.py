"""
Checks every benchmark without running it, because one run takes minutes to hours: it compiles, what it imports from
the package exists, and benchmarks/README.md lists it.
"""

import ast
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from runpy import run_path

import pytest
from documents import ROOT


SCRIPTS = sorted(path for folder in ("benchmarks", "examples", "recipes") for path in (ROOT / folder).rglob("*.py"))


def imported_names(tree: ast.Module) -> list[tuple[str, str | None]]:
    """Module and name of everything that is imported from the package, inside functions too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hf_asd":
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names if alias.name.split(".")[0] == "hf_asd"]
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_script_imports_exists(script):
    tree = ast.parse(script.read_text(encoding="utf-8"), filename=str(script))
    missing = [
        f"{module}.{name}"
        for module, name in imported_names(tree)
        if name is not None and not hasattr(import_module(module), name)
    ]
    assert not missing, f"{script.name} imports {', '.join(missing)}, which does not exist"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_script_says_what_it_does_and_how_to_call_it(script):
    text = script.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"python {script.relative_to(ROOT).as_posix()}" in docstring
    assert "argparse.ArgumentParser(description=__doc__" in text


def test_every_benchmark_is_listed():
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "benchmarks").glob("*.py") if f"]({path.name})" not in listed]
    assert not missing, f"benchmarks/README.md does not list {', '.join(missing)}"


def printed_by(script: str, *arguments: str) -> str:
    """Runs a benchmark in this process, which has imported already what takes seconds."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.chdir(ROOT)
        patch.setattr("sys.argv", [script, *arguments])
        run_path(script, run_name="__main__")
    return printed.getvalue()


@pytest.mark.slow
def test_formulas_are_those_of_the_papers():
    lines = printed_by("benchmarks/formulas.py").splitlines()[1:]
    assert len(lines) == 30 and max(float(line.split()[-1]) for line in lines) < 3e-6


@pytest.mark.slow
def test_the_parts_for_a_gpu_run_at_toy_size():
    """Nothing of them is tried on a GPU here, but no part may fail for another reason."""
    printed = printed_by("benchmarks/gpu.py", "--size", "toy")
    for part in ("pretrain, not compiled", "finetune, not compiled", "embed", "save", "ddp: two steps", "fsdp"):
        assert f"\n{part}" in printed
    assert "largest difference after loading 0\n" in printed
