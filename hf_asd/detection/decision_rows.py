"""Decisions as CSV and JSON: a line for each recording, with the file and every field of its decision."""

import csv
import io
import json


FILE = "file"


def rows_as_json(rows: list[dict]) -> str:
    """One JSON object a line, with `file` and every field of a decision."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def rows_as_csv(rows: list[dict], names: list[str]) -> str:
    """A line for each recording, with the columns `names`; what lists hold is joined by semicolons."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows({name: _cell(row[name]) for name in names} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        return "; ".join(item["text"] if isinstance(item, dict) else str(item) for item in value)
    return value
