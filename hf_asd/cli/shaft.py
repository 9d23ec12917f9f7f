"""Options that say how fast a shaft turns, for reasons in orders."""

import argparse
from typing import TYPE_CHECKING

from .flags import add_flag


if TYPE_CHECKING:
    from ..detection.explanation.orders import Shaft


def add_shaft(command: argparse.ArgumentParser) -> None:
    """Adds `--speed` and `--bearing`; [`read_shaft`] reads them."""
    text = "speed of the shaft in 1/min: reasons name tones as multiples of it; with --explain"
    add_flag(command, "--speed", float | None, text, None, above=0)
    add_flag(
        command,
        "--bearing",
        list[str] | None,
        "a rolling bearing of this shaft: its name in a small table, or number of elements, their diameter, pitch "
        "diameter and contact angle in degrees; reasons name its defect frequencies; with --speed",
        None,
    )


def read_shaft(args: argparse.Namespace, explain: bool) -> "Shaft | None":
    """
    The shaft of [`add_shaft`]'s options; `None` where none is given.

    Raises:
        ValueError: an option would not be used, or there is no such bearing.
    """
    from ..detection.explanation.orders import Shaft, parse_bearing

    if args.bearing is not None and args.speed is None:
        raise ValueError("--bearing is given, but it would not be used: add --speed.")
    if args.speed is None:
        return None
    if not explain:
        raise ValueError("--speed is given, but it would not be used: add --explain.")
    try:
        return Shaft(args.speed, None if args.bearing is None else parse_bearing(args.bearing))
    except ValueError as error:
        raise ValueError(f"--{error}") from error


def with_orders(row: dict, shaft: "Shaft | None") -> dict:
    """A decision's fields, with orders in its reasons."""
    from ..detection.explanation.orders import order_text

    if shaft is None or not row.get("reasons"):
        return row
    return row | {"reasons": [reason | {"text": order_text(reason, shaft)} for reason in row["reasons"]]}
