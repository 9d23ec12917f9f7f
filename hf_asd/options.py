"""Options of config classes: default, help, accepted values and range of each are written once, in its field."""

import dataclasses
import difflib
import math
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


# What means "none" in a recipe, in an override and on the command line.
NONE_WORDS = ("none", "null", "~", "")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
BOUNDS = {"above": "above", "at_least": "from", "below": "below", "at_most": "to"}
LARGEST_WHOLE_NUMBER = 2**31 - 1  # numpy, PyTorch and random number generators take it everywhere


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    may_be_infinite: bool = False,
    default_factory: Any = dataclasses.MISSING,
) -> Any:
    """
    A dataclass field with its help and range; [`check_options`] checks them, the command line and recipes show them.

    Args:
        default, default_factory: as for `dataclasses.field`.
        help (`str`): what the option means, without its default and its accepted values.
        at_least, above, at_most, below (`float`, *optional*): bounds of a number, inclusive and exclusive; of each
            number in a list.
        may_be_infinite (`bool`, *optional*, defaults to `False`): whether infinity is accepted.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {"help": help, **{name: bound for name, bound in bounds.items() if bound is not None}}
    metadata |= {"may_be_infinite": True} if may_be_infinite else {}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def choices(annotation: Any) -> tuple | None:
    """
    The accepted words of a type: of a `Literal`, also inside `None | ...`, `list[...]` or `tuple[...]`; `None` for
    types without any.
    """
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    words = [word for part in get_args(annotation) for word in choices(part) or ()]
    return tuple(words) or None


def accepted(annotation: Any, metadata: Mapping[str, Any] = types.MappingProxyType({})) -> str:
    """The accepted values of an option in words, such as `"mean, cls, none"` or `"whole numbers from 1"`."""
    kinds = kinds_of(annotation)
    limits = [f"{word} {metadata[name]:g}" for name, word in BOUNDS.items() if name in metadata]
    found = [] if float not in kinds and int not in kinds else ["numbers" if float in kinds else "whole numbers"]
    found = [" ".join([*found, *limits])] if found else []
    found += ["inf"] if metadata.get("may_be_infinite") else []
    found += ["true", "false"] if bool in kinds else []
    found += [str(word) for word in choices(annotation) or ()]
    found += ["text"] if str in kinds else []
    found += ["a path"] if Path in kinds else []
    if listed_class(annotation) is not None:
        found += ["a list of options by name", "none"]
    elif is_sequence(annotation):
        found.append("a list of these" if choices(annotation) else "a list")
    found += ["options by name"] if is_mapping(annotation) else []
    if (types.NoneType in kinds or is_mapping(annotation)) and "none" not in found:
        found.append("none")
    return ", ".join(found)


def default_text(field: dataclasses.Field, annotation: Any) -> str:
    """An option's default as it is written in a recipe or on the command line."""
    if field.default is None and "none" in (choices(annotation) or ()):
        return "not set"  # here `none` is a word with a meaning of its own
    if field.default_factory is not dataclasses.MISSING:
        return _as_text(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else _as_text(field.default)


def _as_text(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "none"
    if isinstance(value, list | tuple):
        return " ".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def is_none(value: Any) -> bool:
    """Whether a value from YAML or the command line means none."""
    return value is None or (isinstance(value, str) and value.strip().lower() in NONE_WORDS)


def is_sequence(annotation: Any) -> bool:
    """Whether an option takes several values."""
    return any(get_origin(kind) in (list, tuple) for kind in kinds_of(annotation))


def takes_one(annotation: Any) -> bool:
    """Whether an option takes a single value, perhaps beside several."""
    return any(get_origin(kind) not in (list, tuple) and kind is not types.NoneType for kind in kinds_of(annotation))


def listed_class(annotation: Any) -> type | None:
    """The config class of which an option takes a list, if it does."""
    items = [get_args(kind)[0] for kind in kinds_of(annotation) if get_origin(kind) is list]
    return next((item for item in items if isinstance(item, type) and dataclasses.is_dataclass(item)), None)


def is_mapping(annotation: Any) -> bool:
    """Whether an option holds further options by name."""
    return any(get_origin(kind) is dict or kind is dict for kind in kinds_of(annotation))


def parse_option(
    name: str, value: Any, annotation: Any, metadata: Mapping[str, Any] = types.MappingProxyType({})
) -> Any:
    """
    An option's value from YAML or the command line.

    Args:
        name (`str`): the option's name, for errors.
        value: what was written; `none`, `null`, `~` and nothing mean none, numbers may be text.
        annotation, metadata: the field's type, help and range.

    Returns:
        the value, of the field's type; where further options by name are expected, none of them.

    Raises:
        ValueError: a value that is not accepted; names the option, the value, what is accepted and the nearest word.
    """
    kinds = kinds_of(annotation)
    if is_none(value):
        if "none" in (choices(annotation) or ()) and (takes_one(annotation) or not is_sequence(annotation)):
            return "none"
        if types.NoneType in kinds:
            return None
        if is_mapping(annotation):
            return {}
        if str not in kinds or value is None:
            raise ValueError(f"{name} is none; accepted are {accepted(annotation, metadata)}.")
    _check_words(name, value, annotation, metadata)
    from pydantic import TypeAdapter, ValidationError  # takes a tenth of a second, and most commands need none of it

    try:
        if isinstance(value, bool) and bool not in kinds:
            raise ValueError(f"{name} is {value}; accepted are {accepted(annotation, metadata)}.")
        parsed = TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name} is {value!r}; accepted are {accepted(annotation, metadata)}.") from error
    check_option(name, parsed, annotation, metadata)
    return parsed


def check_option(name: str, value: Any, annotation: Any, metadata: Mapping[str, Any]) -> None:
    """
    Checks a value against the accepted words and the range of its option.

    Raises:
        ValueError: names the option, its value, what is accepted and the nearest word.
    """
    if value is None and types.NoneType in kinds_of(annotation):
        return
    _check_words(name, value, annotation, metadata)
    for number in _numbers(value):
        if isinstance(number, float) and not (math.isfinite(number) or metadata.get("may_be_infinite")):
            raise ValueError(f"{name} is {value!r}; accepted are finite numbers: {accepted(annotation, metadata)}.")
        if isinstance(number, int) and abs(number) > LARGEST_WHOLE_NUMBER:
            raise ValueError(f"{name} is {value!r}; accepted are whole numbers up to {LARGEST_WHOLE_NUMBER}.")
        if not is_mapping(annotation) and not _is_inside(number, metadata):
            raise ValueError(f"{name} is {value!r}; accepted are {accepted(annotation, metadata)}.")


def check_options(config: Any) -> None:
    """
    Checks every option of a config against the accepted words and the range in its field.

    Args:
        config: an instance of a dataclass; called from its `__post_init__`.

    Raises:
        ValueError: names the option, its value and what is accepted.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        check_option(field.name, getattr(config, field.name), hints[field.name], field.metadata)


def check_word(name: str, value: Any, annotation: Any) -> None:
    """
    Checks one argument against the words of a `Literal`.

    Raises:
        ValueError: names the argument, its value, what is accepted and the nearest word.
    """
    _check_words(name, value, annotation, {})


def nearest(word: Any, words: Iterable[Any]) -> str:
    """The word that looks most like another one."""
    return difflib.get_close_matches(str(word), [str(one) for one in words], n=1, cutoff=0)[0]


def kinds_of(annotation: Any) -> tuple:
    """The types that a union is made of."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for part in get_args(annotation) for kind in kinds_of(part))
    return (annotation,)


def _check_words(name: str, value: Any, annotation: Any, metadata: Mapping[str, Any]) -> None:
    words = choices(annotation)
    only_several = is_sequence(annotation) and not takes_one(annotation)
    if not words or (only_several and not isinstance(value, list | tuple)):
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        if one not in words and not _is_number(one, kinds_of(annotation)):
            raise ValueError(
                f"{name} is {one!r}; accepted are {accepted(annotation, metadata)}. "
                f"Did you mean {nearest(one, words)}?"
            )


def _is_number(value: Any, kinds: tuple) -> bool:
    """Whether a value is a number, or the text of one, of the accepted kinds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if float in kinds:
        return not isinstance(value, str) or NUMBER.fullmatch(value.strip()) is not None
    is_whole = value.strip().lstrip("+-").isdigit() if isinstance(value, str) else isinstance(value, int)
    return int in kinds and is_whole


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers that an option holds: its own value, or those in a list or in options by name."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _is_inside(value: int | float, metadata: Mapping[str, Any]) -> bool:
    return (
        value >= metadata.get("at_least", value)
        and value <= metadata.get("at_most", value)
        and ("above" not in metadata or value > metadata["above"])
        and ("below" not in metadata or value < metadata["below"])
    )
