"""Reads YAML as recipes need it: a key that is there twice is an error, and 1e-4 is a number."""

import re
from typing import Any

import yaml


MAX_VALUES = 100_000
# YAML 1.1, which PyYAML follows, wants 1.0e-4.
NUMBER = re.compile(r"[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+")


class _Loader(yaml.SafeLoader):
    """Makes plain Python values only; no code runs."""

    def construct_mapping(self, node, deep=False):
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, line) != line:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice, first in line {seen[key.value]}", key.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+0123456789"))


def read_yaml(name: str, text: str | bytes) -> Any:
    """
    The content of a YAML text.

    Args:
        name (`str`): the file or option that it comes from, for errors.
        text (`str` or `bytes`): UTF-8, or UTF-16 with its mark, as Windows writes it.

    Raises:
        ValueError: it is not YAML, or not UTF-8; says in which line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        raise ValueError(f"{name}: is not text in UTF-8 ({error.reason}); save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise ValueError(f"{name}: is not valid YAML{where}: {error.problem or error.context}.") from error
    except RecursionError as error:
        raise ValueError(f"{name}: is nested too deeply for a recipe.") from error


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """The values of a node with those of its aliases, which a short text may repeat a million times."""
    if id(node) not in counts:
        counts[id(node)] = None  # it is being counted
        parts = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = () if isinstance(node, yaml.ScalarNode) else parts
        counts[id(node)] = 1 + sum(_count(part, counts) for part in parts)
    count = counts[id(node)]
    if count is None or count > MAX_VALUES:
        fault = "refers to itself" if count is None else f"stands for more than {MAX_VALUES} values"
        raise yaml.constructor.ConstructorError(None, None, f"an alias {fault}", node.start_mark)
    return count
