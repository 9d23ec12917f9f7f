"""Options of config classes: default, help, accepted values and range of each are written once, in its field."""

import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    default_factory: Any = dataclasses.MISSING,
) -> Any:
    """
    A dataclass field with its help and range; [`check_options`] checks them, the command line and recipes show them.

    Args:
        default, default_factory: as for `dataclasses.field`.
        help (`str`): what the option means, without its default and its accepted values.
        at_least, above, at_most, below (`float`, *optional*): bounds of a number, inclusive and exclusive.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {"help": help, **{name: bound for name, bound in bounds.items() if bound is not None}}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def choices(annotation: Any) -> tuple | None:
    """
    The accepted words of a type: of a `Literal`, also inside `None | ...`, `list[...]` or `tuple[...]`; `None` for types
    without any.
    """
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    words = [word for part in get_args(annotation) for word in choices(part) or ()]
    return tuple(words) or None


def accepted(annotation: Any, metadata: Any = types.MappingProxyType({})) -> str:
    """The accepted values of an option in words, such as `"mean, cls"`, `"a number above 0"`; empty where any is."""
    kinds = _kinds(annotation)
    words = [str(word) for word in choices(annotation) or ()]
    if int in kinds and words:
        words.insert(0, "a number from 0")
    bounds = {"above": "above", "at_least": "from", "below": "below", "at_most": "to"}
    limits = [f"{word} {metadata[name]:g}" for name, word in bounds.items() if name in metadata]
    if limits:
        words.append(f"{'whole numbers' if int in kinds and float not in kinds else 'numbers'} {' '.join(limits)}")
    if types.NoneType in kinds and words:
        words.append("none")
    return ", ".join(words)


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
        value, annotation = getattr(config, field.name), hints[field.name]
        if value is None and types.NoneType in _kinds(annotation):
            continue
        words = choices(annotation)
        values = value if isinstance(value, list | tuple) else [value]
        wrong = [
            one for one in values if words and one not in words and not (_is_number(one) and int in _kinds(annotation))
        ]
        if wrong or not _is_inside(value, field.metadata):
            raise ValueError(
                f"{field.name} is {wrong[0] if wrong else value!r}; accepted are {accepted(annotation, field.metadata)}."
            )


def check_word(name: str, value: Any, annotation: Any) -> None:
    """
    Checks one argument against the words of a `Literal`.

    Raises:
        ValueError: names the argument, its value and what is accepted.
    """
    words = choices(annotation) or ()
    if value not in words:
        raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(str, words))}.")


def _kinds(annotation: Any) -> tuple:
    """The types that a union is made of."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (annotation,)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_inside(value: Any, metadata: Any) -> bool:
    if not _is_number(value):
        return True
    return (
        value >= metadata.get("at_least", value)
        and value <= metadata.get("at_most", value)
        and ("above" not in metadata or value > metadata["above"])
        and ("below" not in metadata or value < metadata["below"])
    )
