"""The speed of the shaft of each recording, as a table says it."""

from collections.abc import Iterable, Mapping, Sequence

from .names import words_of


SPEED_COLUMNS = ("speed", "shaftspeed", "rpm", "drehzahl")  # without case, spaces and underscores
LEAST = 10.0  # 1/min; a column of smaller numbers or of words (1, 2, 3; slow, fast; 28V) names levels
MOST = 1e6


class SpeedError(ValueError):
    """A cell of a column of speeds is none."""


def find_speed_column(columns: Iterable[str], rows: Sequence[Mapping[str, str]]) -> str | None:
    """
    The column that holds speeds in 1/min; `None` where none does.

    Args:
        columns (`Iterable[str]`): names of columns.
        rows (`Sequence[Mapping[str, str]]`): cells by column.
    """
    for column in columns:
        if _is_named_speed(column) and any(_number(row[column]) is not None for row in rows):
            return column
    return None


def check_speed(cell: str, column: str, where: str) -> None:
    """
    Checks a cell of that column.

    Raises:
        SpeedError: it is no speed; names the table, the line and the cell.
    """
    if _number(cell) is None:
        raise SpeedError(
            f"{where}: {column} is {cell!r}; accepted is the speed of the shaft in 1/min, a number from {LEAST:g} to "
            f"{MOST:.0f} such as 1480. Leave the cell empty where it is not known."
        )


def speed_of(attributes: Sequence[Mapping[str, str]]) -> float | None:
    """
    The speed of a recording in 1/min; `None` where it is not known.

    Args:
        attributes (`Sequence[Mapping[str, str]]`): `key` and `value` of each, as in the schema.
    """
    found = (_number(one["value"]) for one in attributes if _is_named_speed(one["key"]))
    return next((speed for speed in found if speed is not None), None)


def _is_named_speed(column: str) -> bool:
    return "".join(words_of(column)) in SPEED_COLUMNS


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if LEAST <= value <= MOST else None
