"""Options that say how fast a shaft turns, for reasons in orders."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .flags import add_flag


if TYPE_CHECKING:
    from ..detection.explanation.orders import Bearing, Shaft


def add_shaft(command: argparse.ArgumentParser, of_tables: bool = False) -> None:
    """
    Adds `--speed` and `--bearing`.

    Args:
        command (`argparse.ArgumentParser`): the command.
        of_tables (`bool`, *optional*, defaults to `False`): whether it reads a column `speed` too.
    """
    text = "speed of the shaft in 1/min: reasons name tones as multiples of it; with --explain"
    if of_tables:
        text += "; none: that of each recording in a column speed of metadata.csv"
    add_flag(command, "--speed", float | None, text, None, above=0)
    add_flag(
        command,
        "--bearing",
        list[str] | None,
        "a rolling bearing of this shaft: its name in a small table, or number of elements, their diameter, pitch "
        "diameter and contact angle in degrees; reasons name its defect frequencies; with a speed",
        None,
    )


def check_shaft(args: argparse.Namespace, explain: bool) -> "Bearing | None":
    """
    Checks the options of [`add_shaft`] before the work; returns the bearing, if there is one.

    Raises:
        ValueError: an option would not be used, or there is no such bearing.
    """
    from ..detection.explanation.orders import parse_bearing

    for name in ("speed", "bearing"):
        if getattr(args, name) is not None and not explain:
            raise ValueError(f"--{name} is given, but it would not be used: add --explain.")
    try:
        return None if args.bearing is None else parse_bearing(args.bearing)
    except ValueError as error:
        raise ValueError(f"--{error}") from error


def read_shaft(args: argparse.Namespace, explain: bool) -> "Shaft | None":
    """As [`read_shafts`], for recordings of which no table says the speed."""
    return read_shafts(args, explain, [None])[0]


def read_shafts(args: argparse.Namespace, explain: bool, speeds: "Sequence[float | None]") -> "list[Shaft | None]":
    """
    The shaft of each recording; `None` where its speed is not known, or no reasons are asked for.

    Args:
        args (`argparse.Namespace`): the options of [`add_shaft`]; `--speed` counts for all recordings.
        explain (`bool`): whether reasons are asked for.
        speeds (`Sequence[float | None]`): of the recordings, as tables say them, in 1/min.

    Raises:
        ValueError: as for [`check_shaft`], or `--bearing` is given and no speed is known.
    """
    from ..detection.explanation.orders import Shaft

    bearing = check_shaft(args, explain)
    found = [speed if args.speed is None else args.speed for speed in speeds]
    if bearing is not None and all(speed is None for speed in found):
        raise ValueError(
            "--bearing is given, but it would not be used: add --speed (score also reads a column speed in "
            "metadata.csv)."
        )
    return [None if speed is None or not explain else Shaft(speed, bearing) for speed in found]


def with_orders(row: dict, shaft: "Shaft | None") -> dict:
    """A decision's fields, with orders in its reasons."""
    from ..detection.explanation.orders import order_text

    if shaft is None or not row.get("reasons"):
        return row
    return row | {"reasons": [reason | {"text": order_text(reason, shaft)} for reason in row["reasons"]]}
