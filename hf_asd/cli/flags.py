"""Flags of the command line, made from the fields of config classes: name, type, accepted values, default and help."""

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..data.dcase.years import DEFAULT_YEAR, YEARS
from ..options import accepted, default_text, is_none, is_sequence, option, parse_option, takes_one
from ..recipe.unused import check_used


Config = TypeVar("Config")


class _SetOption(argparse.Action):
    """Parses and checks the value of one option."""

    def __init__(self, *args, annotation: Any, metadata: Any, **kwargs):
        super().__init__(*args, **kwargs)
        self.annotation, self.metadata = annotation, metadata

    def __call__(self, parser, namespace, values, option_string=None):
        if isinstance(values, list) and len(values) == 1 and (is_none(values[0]) or takes_one(self.annotation)):
            values = values[0]
        try:
            setattr(
                namespace, self.dest, parse_option(option_string or self.dest, values, self.annotation, self.metadata)
            )
        except ValueError as error:
            parser.error(str(error))


def add_flag(
    command: argparse.ArgumentParser, name: str, annotation: Any, help: str, default: Any = MISSING, **bounds: Any
) -> None:
    """
    Adds a flag that belongs to a command alone.

    Args:
        command (`argparse.ArgumentParser`): gets the flag.
        name (`str`): such as `"--num-workers"`.
        annotation: its type, for instance `int`, `Path | None` or a `Literal`.
        help (`str`), default, bounds: as for [`~hf_asd.options.option`]; without a default the flag is required.
    """
    field = option(default, help, **bounds)
    field.name = name.removeprefix("--").replace("-", "_")
    _add(command, field, annotation, default)


def add_year(command: argparse.ArgumentParser, if_none: str | None = None) -> None:
    """
    Adds `--year`.

    Args:
        command (`argparse.ArgumentParser`): gets the flag.
        if_none (`str`, *optional*): which year is used by default, in words; by default the default year.
    """
    annotation, default = (int, DEFAULT_YEAR) if if_none is None else (int | None, None)
    text = "challenge year that defines the score" + ("" if if_none is None else f"; none: {if_none}")
    add_flag(command, "--year", annotation, text, default, at_least=min(YEARS), at_most=max(YEARS))


def add_options(command: argparse.ArgumentParser, config_class: type, only: tuple[str, ...] | None = None) -> None:
    """Adds a flag for each option of a config class; [`build_config`] reads them."""
    group = command.add_argument_group(f"options of {config_class.__name__}")
    hints = get_type_hints(config_class)
    for field in fields(config_class):
        if field.init and (only is None or field.name in only):
            _add(group, field, hints[field.name], argparse.SUPPRESS)


def _add(command: Any, field: Field, annotation: Any, default: Any) -> None:
    flag = f"--{field.name.replace('_', '-')}"
    help = f"{field.metadata['help']} ("
    if annotation is bool and field.default is False:
        command.add_argument(
            flag, action="store_true", default=default, help=f"{help}default: false)".replace("%", "%%")
        )
        return
    is_required, default_words = default is MISSING, f"default: {default_text(field, annotation)}"
    help += f"accepted: {accepted(annotation, field.metadata)}; {'required' if is_required else default_words})"
    command.add_argument(
        flag,
        required=is_required,
        action=_SetOption,
        annotation=annotation,
        metadata=field.metadata,
        nargs="+" if is_sequence(annotation) else None,
        default=None if is_required else default,
        help=help.replace("%", "%%"),
    )


def build_config(args: argparse.Namespace, config_class: type[Config]) -> Config:
    """
    The config of the flags that were given.

    Raises:
        ValueError: options that contradict each other, or that would not be used; names flags.
    """
    given = {field.name: getattr(args, field.name) for field in fields(config_class) if hasattr(args, field.name)}  # pyright: ignore[reportArgumentType]
    with flag_names(config_class):
        config = config_class(**given)
    written = [name for name, value in given.items() if value is not None]
    check_used(config, written, lambda name: f"--{name.replace('_', '-')}")
    return config


def not_a_recipe(stage: str) -> Callable[[str], Path]:
    """The type of an argument that is a folder of recordings or a detector, which users take a recipe for."""

    def parse(text: str) -> Path:
        path = Path(text)
        is_detector = (path / "detector.json").is_file()  # it keeps the recipe that made it
        if path.suffix in (".yaml", ".yml") or ((path / "recipe.yaml").is_file() and not is_detector):
            raise argparse.ArgumentTypeError(f"{path} is a recipe; use hf-asd run {path} --until {stage}")
        return path

    return parse


@contextmanager
def flag_names(config_class: type) -> Iterator[None]:
    """Writes the options that an error of the library names as flags: `pooling is ...` becomes `--pooling is ...`."""
    names = [field.name for field in fields(config_class)]
    try:
        yield
    except ValueError as error:
        text = str(error)
        for name in names:
            anywhere = rf"(?<![\w.-]){name}(?!\w)" if "_" in name else rf"^{name}(?!\w)"
            text = re.sub(anywhere, f"--{name.replace('_', '-')}", text)
        raise type(error)(text) from error
