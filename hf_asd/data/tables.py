"""Reads tables as programs export them: CSV with any usual separator and encoding, JSON lines, parquet."""

import codecs
import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .listing import printable


SEPARATORS = ",;\t|"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Table:
    """
    A table of text.

    Args:
        path (`Path`): its file.
        columns (`list[str]`): in order.
        rows (`list[tuple[int, dict[str, str]]]`): (line or row number, cells by column); an empty cell is `""`.
        note (`str`, *optional*): what had to be assumed to read it.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    note: str | None = None


def parse_table(path: Path) -> Table:
    """
    Reads a table.

    Args:
        path (`Path`): `.csv` or `.tsv` (UTF-8, UTF-16 with its mark, else cp1252; separated by comma, semicolon, tab
            or bar), `.jsonl` or `.parquet`.

    Raises:
        ValueError: it cannot be read so, a row has more cells than columns, or a column occurs twice.
    """
    if path.suffix.lower() == ".parquet":
        try:
            content = pq.read_table(path).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{printable(path)}: cannot be read as parquet ({error}).") from error
        return _from_records(path, list(enumerate(content, start=1)), None)
    text, note = _decode(path)
    if path.suffix.lower() == ".jsonl":
        return _from_records(path, _read_json_lines(path, text), note)
    return _read_csv(path, text, note)


def _decode(path: Path) -> tuple[str, str | None]:
    content = path.read_bytes()
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding), None
            except UnicodeDecodeError as error:
                raise ValueError(f"{printable(path)}: starts as {encoding}, but is not ({error.reason}).") from error
    if b"\0" in content:
        raise ValueError(f"{printable(path)}: is not a text, or UTF-16 without its mark. Save it as UTF-8.")
    try:
        return content.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), "read as cp1252 (Windows), because it is not UTF-8"
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(path)}: is neither UTF-8 nor cp1252. Save it as UTF-8.") from error


def _read_csv(path: Path, text: str, note: str | None) -> Table:
    lines = io.StringIO(text, newline="")
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    if first.strip().casefold().startswith("sep="):  # written by spreadsheets
        separator = first.strip()[4:5] or separator
    reader = csv.reader(lines, delimiter=separator)
    try:
        found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{printable(path)}, line {reader.line_num}: is not CSV ({error}).") from error
    found = [(number, cells) for number, cells in found if any(cells)]
    if found and found[0][1][0].casefold().startswith("sep="):
        found.pop(0)
    if not found:
        raise ValueError(f"{printable(path)}: is empty.")
    columns = found[0][1]
    while columns and not columns[-1] and all(not any(cells[len(columns) - 1 :]) for _, cells in found[1:]):
        columns.pop()  # spreadsheets write empty columns
    _check_columns(path, columns)
    rows = []
    for number, cells in found[1:]:
        if any(cells[len(columns) :]):
            raise ValueError(
                f"{printable(path)}, line {number}: has {len(cells)} cells, but there are {len(columns)} columns. Put "
                f"cells that hold {separator!r} into quotes."
            )
        rows.append((number, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))))
    return Table(path, columns, rows, note)


def _read_json_lines(path: Path, text: str) -> list[tuple[int, dict]]:
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{printable(path)}, line {number}: is not JSON ({error}).") from error
        if not isinstance(record, dict):
            raise ValueError(f"{printable(path)}, line {number}: is not a JSON object.")
        records.append((number, record))
    return records


def _from_records(path: Path, records: list[tuple[int, dict]], note: str | None) -> Table:
    columns = list(dict.fromkeys(str(column) for _, record in records for column in record))
    _check_columns(path, columns)
    rows = [(number, {column: _as_text(record.get(column)) for column in columns}) for number, record in records]
    return Table(path, columns, rows, note)


def _check_columns(path: Path, columns: list[str]) -> None:
    small = [column.casefold() for column in columns]
    doubled = sorted({column for column in columns if small.count(column.casefold()) > 1})
    if doubled:
        raise ValueError(f"{printable(path)}: has the column {', '.join(doubled)} twice.")


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip()
