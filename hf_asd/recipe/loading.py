"""Reads a recipe: one YAML file with a section for each stage, and overrides from the command line."""

import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..options import accepted, default_text, is_none, kinds_of, listed_class, nearest, parse_option
from .config import NOT_FINETUNED, Recipe
from .reading_yaml import read_yaml
from .unused import check_used


Config = TypeVar("Config")


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """
    Reads and checks a recipe; overrides win over the file, the file over the defaults.

    Args:
        path (`str` or `Path`): a YAML file, or a folder that holds `recipe.yaml`.
        overrides (`list[str]`, *optional*): as on a command line: `["--finetune.max_steps", "100", "--seed=1"]`.

    Returns:
        [`Recipe`].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown option, a value that is not accepted (both with the nearest accepted word), or an option
            that would not be used; names the file and the option.
    """
    path = Path(path)
    file = path / "recipe.yaml" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such recipe.")
    content = read_yaml(str(file), file.read_bytes())
    if content is None:
        raise ValueError(f"{file}: is empty; a recipe needs a factory section or data.path.")
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds a {type(content).__name__}; accepted are sections with options.")
    for name, value in read_overrides(overrides or []):
        _set(content, name, value)
    content.setdefault("output_dir", f"runs/{file.parent.name if file.name == 'recipe.yaml' else file.stem}")
    if "seed" in content:
        _inherit(content, "seed", content["seed"], ("pretrain", "finetune"))
    if isinstance(content.get("data"), dict) and "channel" in content["data"]:
        _inherit(content, "channel", content["data"]["channel"], ("fit",))
    try:
        return build(Recipe, content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def build(config_class: type[Config], values: dict, where: str = "") -> Config:
    """
    A config from plain values, as read from YAML; nested configs from nested dictionaries.

    Args:
        config_class (`type`): a dataclass.
        values (`dict`): option -> value; an option that is not there keeps its default.
        where (`str`, *optional*): dotted name of the section, for errors.

    Raises:
        ValueError: an unknown option, a value that is not accepted, or an option that would not be used; names the
            option.
    """
    known = {field.name: field for field in fields(config_class)}  # pyright: ignore[reportArgumentType]
    hints = get_type_hints(config_class)
    built: dict[str, Any] = {}
    for name, value in values.items():
        option = _dotted(where, name)
        if name not in known:
            raise ValueError(
                f"{option} is an unknown option; did you mean {nearest(name, known)}? Accepted are {', '.join(known)}."
            )
        built[name] = _value(option, value, hints[name], known[name].metadata)
    try:
        config = config_class(**built)
    except ValueError as error:
        names_option = str(error).split()[0] in known
        raise ValueError(f"{where}{'.' if names_option else ': '}{error}" if where else str(error)) from error
    given = [name for name, value in values.items() if not is_none(value)]
    check_used(config, given, lambda name: _dotted(where, name))
    return config


def _value(option: str, value: Any, annotation: Any, metadata: Any) -> Any:
    """The value of one option: of a section, a list of sections, or a plain one."""
    item_class = listed_class(annotation)
    if item_class is not None:
        items = [] if is_none(value) else value
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"{option} is {value!r}; accepted are {accepted(annotation)}.")
        return [build(item_class, item, f"{option}[{number}]") for number, item in enumerate(items)]
    section = section_of(annotation)
    if section is None:
        return parse_option(option, value, annotation, metadata)
    if is_none(value):
        return None if types.NoneType in kinds_of(annotation) else build(section, {}, option)
    if not isinstance(value, dict):
        raise ValueError(f"{option} is {value!r}; accepted are its own options, such as {option}.NAME.")
    return build(section, value, option)


def section_of(annotation: Any) -> type | None:
    """The config class that an option's type names, if it is a section."""
    return next((kind for kind in kinds_of(annotation) if isinstance(kind, type) and is_dataclass(kind)), None)


def options_help() -> str:
    """Every option of a recipe with what it means, what is accepted and its default, one option a line."""
    return "\n".join(_help_lines(Recipe, ""))


def _help_lines(config_class: type, where: str) -> list[str]:
    hints, lines = get_type_hints(config_class), []
    for field in fields(config_class):
        name, section = _dotted(where, field.name), section_of(hints[field.name])
        if where == "fit" and field.name in NOT_FINETUNED:
            continue
        if section is not None:
            lines += _help_lines(section, name)
            continue
        words = accepted(hints[field.name], field.metadata)
        default = "runs/NAME of the recipe" if name == "output_dir" else default_text(field, hints[field.name])
        lines.append(f"  --{name:<34} {field.metadata['help']} (accepted: {words}; default: {default})")
    return lines


def _dotted(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def read_overrides(overrides: list[str]) -> list[tuple[str, object]]:
    """
    Command-line words as (dotted name, value).

    Args:
        overrides (`list[str]`): `--name value` or `--name=value`; hyphens in a name count as underscores, and values
            are read as YAML.

    Raises:
        ValueError: a word that is not an option, or an option without a value.
    """
    pairs, words = [], list(overrides)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"found {word!r}; accepted are overrides such as --finetune.learning_rate 1e-4.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{name} has no value.")
            value = words.pop(0)
        pairs.append((name.replace("-", "_"), read_yaml(f"--{name}", value)))
    return pairs


def _set(content: dict, name: str, value: object):
    *sections, option = name.split(".")
    for section in sections:
        if is_none(content.get(section)):
            content[section] = {}
        content = content[section]
        if not isinstance(content, dict):
            raise ValueError(f"--{name}: {section} has no options of its own.")
    content[option] = value


def _inherit(content: dict, option: str, value: object, sections: tuple[str, ...]):
    """Gives an option to the sections that do not set it."""
    for section in sections:
        if is_none(content.get(section)):
            content[section] = {}
        if isinstance(content[section], dict):
            content[section].setdefault(option, value)
