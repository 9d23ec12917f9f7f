"""Submission files of the challenge: written, read, and scored against a ground truth."""

import csv
import math
import os
import re
from pathlib import Path

from datasets import Dataset, Features, Value

from ..metrics.functional import YEARS


SUBMISSION_FEATURES = Features(
    {
        "machine": Value("string"),
        "section": Value("string"),
        "domain": Value("string"),
        "file_name": Value("string"),
        "anomaly_score": Value("float64"),
        "is_anomaly": Value("bool"),
    }
)


def write_submission(dataset: Dataset, folder: str | Path, year: int = 2025) -> list[Path]:
    """
    Writes the challenge's result files: `anomaly_score_<machine>_section_<nn>_test.csv` and
    `decision_result_<machine>_section_<nn>_test.csv`, rows `<file name>,<value>` without a header. 2020 has `_id_<nn>`
    instead and no decisions, 2021 one pair of files a domain (`..._source_test.csv`).

    Args:
        dataset (`datasets.Dataset`): the scored test split: columns `machine`, `section`, `domain`, `clip_id`,
            `anomaly_score`, `is_anomaly`.
        folder (`str` or `Path`): made where it is not there; must not hold other result files.
        year (`int`, *optional*, defaults to 2025): decides on the files' names.

    Returns:
        `list[Path]`: the files written.

    Raises:
        ValueError: a column is missing, a score is not finite, a clip is there twice.
        FileExistsError: the folder holds result files of other machines, which would be handed in, too.
    """
    needed = ["machine", "section", "domain", "clip_id", "anomaly_score"] + ["is_anomaly"] * (year > 2020)
    missing = [name for name in needed if name not in dataset.column_names]
    if missing:
        raise ValueError(f"the dataset lacks {', '.join(missing)}; it has {', '.join(dataset.column_names)}.")
    files = {}
    for row in dataset.select_columns(needed):
        name = row["clip_id"].rsplit("/", 1)[-1] + ".wav"
        if not math.isfinite(row["anomaly_score"]):
            raise ValueError(
                f"{row['clip_id']}: its anomaly_score is {row['anomaly_score']}; accepted are finite ones."
            )
        ending = _ending(row["machine"], row["section"], row["domain"], year)
        values = {f"anomaly_score_{ending}": repr(row["anomaly_score"])}
        if year > 2020:
            values[f"decision_result_{ending}"] = str(int(row["is_anomaly"]))
        for file, value in values.items():
            if name in files.setdefault(file, {}):
                raise ValueError(f"{row['clip_id']}: is there twice in the dataset.")
            files[file][name] = value
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted({file.name for file in folder.glob("*.csv") if _parts(file, year)} - set(files))
    if others:
        raise FileExistsError(
            f"{folder}: holds {', '.join(others)}, which this result would not replace. Remove them."
        )
    for file, rows in files.items():
        partial = folder / f"{file}.partial"
        with open(partial, "w", newline="", encoding="utf-8") as out:
            csv.writer(out, lineterminator="\n").writerows(sorted(rows.items()))
        os.replace(partial, folder / file)
    return [folder / file for file in files]


def read_submission(folder: str | Path, year: int = 2025) -> Dataset:
    """
    Reads a folder of result files, of this package or any other.

    Args:
        folder (`str` or `Path`): holds the files that [`write_submission`] describes; decisions may be missing
            altogether. The names of the organizers' baseline are read, too
            (`anomaly_score_DCASE2025T2fan_section_00_test_seed13711_id(0_)_Eval.csv`).
        year (`int`, *optional*, defaults to 2025): decides on the files' names.

    Returns:
        `datasets.Dataset` with the columns `machine`, `section`, `domain` (`unknown` but for 2021), `file_name`,
        `anomaly_score` and `is_anomaly` (null where there are no decisions).

    Raises:
        FileNotFoundError: there is no such folder, or it holds no result file of that year.
        ValueError: a file name or row is malformed, a clip is there twice, a score is not finite, a decision is
            neither 0 nor 1, or scores and decisions are not of the same clips; names file and line.
    """
    if year not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are 2020 to 2026.")
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder.")
    tables = {"anomaly_score": {}, "decision_result": {}}
    accepted = f"accepted for {year} are names like anomaly_score_{_ending('fan', '00', 'source', year)}"
    for file in sorted(folder.glob("*.csv")):
        parts = _parts(file, year)
        if parts:
            key = (parts["machine"], parts["section"], parts["domain"] or "unknown")
            if tables[parts["kind"]].setdefault(key, file) != file:
                raise ValueError(
                    f"{file}: is of the same clips as {tables[parts['kind']][key].name}; keep one of them."
                )
        elif file.name.startswith(tuple(tables)):
            raise ValueError(f"{file}: unknown name; {accepted}.")
    if not tables["anomaly_score"]:
        raise FileNotFoundError(f"{folder}: holds no result file; {accepted}.")
    if tables["decision_result"] and tables["decision_result"].keys() != tables["anomaly_score"].keys():
        lonely = sorted(tables["decision_result"].keys() ^ tables["anomaly_score"].keys())
        named = ", ".join(f"{machine} {section}" for machine, section, _ in lonely)
        raise ValueError(f"{folder}: {named} has scores or decisions only, the other file is missing.")
    columns = {name: [] for name in SUBMISSION_FEATURES}
    for (machine, section, domain), file in tables["anomaly_score"].items():
        scores = _read_values(file, _score)
        decisions = dict.fromkeys(scores)
        if tables["decision_result"]:
            decisions = _read_values(tables["decision_result"][machine, section, domain], _decision)
            check_same_clips(scores.keys(), decisions.keys(), f"{machine} section {section}: scores", "decisions")
        for name, score in scores.items():
            values = (machine, section, domain, name, score, decisions[name])
            for column, value in zip(columns, values, strict=True):
                columns[column].append(value)
    return Dataset.from_dict(columns, features=SUBMISSION_FEATURES)


def check_same_clips(found, wanted, found_by: str, wanted_by: str) -> None:
    """Raises a `ValueError` that names the clips that only one of two sets has."""
    missing, surplus = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or surplus:
        few = [
            f"{len(names)} {what} ({', '.join(map(_readable, names[:5]))}{', ...' if names[5:] else ''})"
            for names, what in ((missing, "missing"), (surplus, "surplus"))
            if names
        ]
        raise ValueError(f"{found_by} and {wanted_by} are not of the same clips: {' and '.join(few)} in the first.")


def _readable(name: str | tuple[str, ...]) -> str:
    return name if isinstance(name, str) else " ".join(name)


def _ending(machine: str, section: str, domain: str, year: int) -> str:
    if year == 2020:
        return f"{machine}_id_{section}.csv"
    return f"{machine}_section_{section}_{f'{domain}_' if year == 2021 else ''}test.csv"


def _parts(file: Path, year: int) -> dict | None:
    """Kind, machine, section and domain that a result file's name tells."""
    end = {
        2020: r"id_(?P<section>\d\d)(?P<domain>)",
        2021: r"section_(?P<section>\d\d)_(?P<domain>source|target)_test",
    }
    end = end.get(year, r"section_(?P<section>\d\d)(?P<domain>)_test")
    kind = r"(?P<kind>anomaly_score|decision_result)"
    found = re.fullmatch(rf"{kind}_(?:DCASE{year}T2)?(?P<machine>.+)_{end}(?:_seed.*)?\.csv", file.name)
    return found.groupdict() if found else None


def _read_values(file: Path, parse) -> dict:
    values = {}
    with open(file, newline="", encoding="utf-8-sig") as rows:
        for line, row in enumerate(csv.reader(rows), start=1):
            if len(row) != 2:
                raise ValueError(f"{file}, line {line}: has {len(row)} values; accepted is <file name>,<value>.")
            if row[0] in values:
                raise ValueError(f"{file}, line {line}: {row[0]} is there twice.")
            try:
                values[row[0]] = parse(row[1])
            except ValueError as error:
                raise ValueError(f"{file}, line {line}: {row[1]!r} is no {error}.") from error
    if not values:
        raise ValueError(f"{file}: is empty.")
    return values


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError("number") from error
    if not math.isfinite(value):
        raise ValueError("finite anomaly score")
    return value


def _decision(text: str) -> bool:
    if text.strip() not in ("0", "1"):
        raise ValueError("decision; accepted are 0 (normal) and 1 (anomaly)")
    return text.strip() == "1"
