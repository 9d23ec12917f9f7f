"""This package's own code as files of a repository: it may not be on the package index, or not in this version."""

from importlib.metadata import requires
from pathlib import Path


PACKAGE = Path(__file__).parents[1]


def package_files() -> dict[str, Path]:
    """The files of the package by their path in a repository, where `import hf_asd` finds them."""
    files = [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(PACKAGE.parent).as_posix(): path for path in files}


def package_requirements() -> list[str]:
    """What the package needs, as lines of a `requirements.txt`; nothing that is optional."""
    return [line for line in requires("hf-asd") or () if "extra ==" not in line]
