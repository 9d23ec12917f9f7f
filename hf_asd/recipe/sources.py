"""A hash of the code that a stage's result follows from, so that edited code runs again."""

import ast
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path


PACKAGE = Path(__file__).parents[1]


def hash_sources(function: Callable, names: tuple[str, ...]) -> str:
    """
    Args:
        function (`Callable`): of a stage; with it counts every function of its module that it calls.
        names (`tuple[str, ...]`): packages (`"models"`) and modules (`"embedding"`) of `hf_asd`, with all their files.

    Returns:
        `str`: SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256("\n".join(_functions(function)).encode())
    for file in source_files(names):
        digest.update(file.relative_to(PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def source_files(names: tuple[str, ...]) -> list[Path]:
    """The Python files of packages and modules of `hf_asd`, sorted."""
    files = set()
    for name in names:
        module = PACKAGE / f"{name}.py"
        files |= {module} if module.is_file() else set((PACKAGE / name).rglob("*.py"))
    return sorted(files)


def _functions(function: Callable) -> list[str]:
    """The source of a function and of those of its module that it calls, directly or indirectly."""
    sources, waiting = {}, [function]
    while waiting:
        found = waiting.pop()
        if found in sources:
            continue
        sources[found] = inspect.getsource(found)
        names = {node.id for node in ast.walk(ast.parse(sources[found])) if isinstance(node, ast.Name)}
        called = (found.__globals__.get(name) for name in sorted(names))
        waiting += [one for one in called if inspect.isfunction(one) and one.__module__ == function.__module__]
    return [sources[one] for one in sorted(sources, key=lambda one: one.__name__)]
