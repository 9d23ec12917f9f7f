"""Writes and reads the submission files of the challenge."""

import csv
import io
import math
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from datasets import Dataset, Features, Value

from ..data.dcase.years import DEFAULT_YEAR, year_rules
from ..files import write_text


SCORE_FILE, DECISION_FILE = "anomaly_score", "decision_result"

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


def write_submission(dataset: Dataset, folder: str | Path, year: int = DEFAULT_YEAR) -> list[Path]:
    """
    Writes the challenge's result files: `anomaly_score_<machine>_section_<nn>_test.csv` and
    `decision_result_<machine>_section_<nn>_test.csv`, rows `<file name>,<value>` without a header. 2020 has `_id_<nn>`
    instead and no decisions, 2021 one pair of files per domain (`..._source_test.csv`).

    Args:
        dataset (`datasets.Dataset`): the scored test split with the columns `machine`, `section`, `domain`, `clip_id`,
            `anomaly_score`, `is_anomaly`.
        folder (`str` or `Path`): created if it does not exist; must not hold result files of other machines.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the names of the files.

    Returns:
        `list[Path]`: the files written.

    Raises:
        ValueError: a column is missing, a score is not finite, a clip occurs twice.
        FileExistsError: the folder holds result files of other machines, which would be submitted, too.
    """
    files = _result_rows(dataset, year)
    folder = Path(folder)
    others = sorted({file.name for file in folder.glob("*.csv") if _parse_name(file, year)} - set(files))
    if others:
        raise FileExistsError(
            f"{folder}: holds {', '.join(others)}, which this result would not replace. Remove them."
        )
    for file, rows in files.items():
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(sorted(rows.items()))
        write_text(folder / file, text.getvalue())
    return [folder / file for file in files]


def _result_rows(dataset: Dataset, year: int) -> dict[str, dict[str, str]]:
    """Name of each result file -> file name of each clip -> value."""
    has_decisions = year_rules(year).has_decisions
    needed = ["machine", "section", "domain", "clip_id", "anomaly_score"] + ["is_anomaly"] * has_decisions
    missing = [name for name in needed if name not in dataset.column_names]
    if missing:
        raise ValueError(f"the dataset lacks {', '.join(missing)}; it has {', '.join(dataset.column_names)}.")
    files = {}
    for row in dataset.select_columns(needed).to_list():
        name = row["clip_id"].rsplit("/", 1)[-1] + ".wav"
        if not math.isfinite(row["anomaly_score"]):
            raise ValueError(
                f"{row['clip_id']}: its anomaly_score is {row['anomaly_score']}; accepted are finite ones."
            )
        ending = _name_ending(row["machine"], row["section"], row["domain"], year)
        values = {f"{SCORE_FILE}_{ending}": repr(row["anomaly_score"])}
        if has_decisions:
            values[f"{DECISION_FILE}_{ending}"] = str(int(row["is_anomaly"]))
        for file, value in values.items():
            if name in files.setdefault(file, {}):
                raise ValueError(f"{row['clip_id']}: occurs twice in the dataset.")
            files[file][name] = value
    return files


def read_submission(folder: str | Path, year: int = DEFAULT_YEAR) -> Dataset:
    """
    Reads a folder of result files, of this package or any other.

    Args:
        folder (`str` or `Path`): holds the files that [`write_submission`] describes; the files of decisions may be
            missing altogether. Names of the organizers' baseline are accepted, too
            (`anomaly_score_DCASE2025T2fan_section_00_test_seed13711_id(0_)_Eval.csv`).
        year (`int`, *optional*, defaults to 2025): challenge year that defines the names of the files.

    Returns:
        `datasets.Dataset` with the columns `machine`, `section`, `domain` (`unknown` except for 2021), `file_name`,
        `anomaly_score` and `is_anomaly` (null where there are no decisions).

    Raises:
        FileNotFoundError: the folder does not exist, or it holds no result file of that year.
        ValueError: a file name or row is malformed, a clip occurs twice, a score is not finite, a decision is
            neither 0 nor 1, or scores and decisions are not of the same clips; names file and line.
    """
    score_files, decision_files = _find_files(Path(folder), year)
    columns = {name: [] for name in SUBMISSION_FEATURES}
    for (machine, section, domain), file in score_files.items():
        scores = _read_values(file, _score)
        decisions = dict.fromkeys(scores)
        if decision_files:
            decisions = _read_values(decision_files[machine, section, domain], _decision)
            check_same_clips(scores.keys(), decisions.keys(), f"{machine} section {section}: scores", "decisions")
        for name, score in scores.items():
            values = (machine, section, domain, name, score, decisions[name])
            for column, value in zip(columns, values, strict=True):
                columns[column].append(value)
    return Dataset.from_dict(columns, features=SUBMISSION_FEATURES)


def evaluation_files(folder: str | Path, year: int, machines: Collection[str]) -> list[Path]:
    """
    The files of a folder that are submitted: those of the machines of the evaluation set, if they are complete.

    Args:
        folder (`str` or `Path`): holds the files that [`write_submission`] describes, also of other machines.
        year (`int`): challenge year, one in which each machine has one section, `00`.
        machines (`Collection[str]`): the machines of the year's evaluation set.

    Returns:
        `list[Path]`: scores and decisions of each machine.

    Raises:
        FileNotFoundError: there is no such folder or no result file in it.
        ValueError: as for [`read_submission`]; or a machine, its decisions or one of its clips is missing, or a clip
            is not of the evaluation set.
    """
    read_submission(folder, year)  # checks each row
    tables = _find_files(Path(folder), year)
    wanted = {(machine, "00") for machine in machines}
    for kind, files in zip((SCORE_FILE, DECISION_FILE), tables, strict=True):
        found = {(machine, section) for machine, section, _ in files if machine in machines}
        missing = ", ".join(machine for machine, _ in sorted(wanted - found))
        if missing:
            raise ValueError(
                f"{folder}: {kind} of {missing} is missing, which {year}'s evaluation set has. Download its "
                f"recordings (hf-asd download {year} --parts train eval) and run the recipe with all machines."
            )
        surplus = sorted(found - wanted)
        if surplus:
            raise ValueError(f"{folder}: {' section '.join(surplus[0])} is not of {year}'s evaluation set.")
    scores, decisions = tables
    submitted = [clips for clips in scores if clips[0] in machines]
    for clips in submitted:
        _check_numbers(scores[clips], year)
    return [files[clips] for clips in submitted for files in (scores, decisions)]


def _check_numbers(file: Path, year: int) -> None:
    """Evaluation clips are numbered from 0 without gaps."""
    names = list(_read_values(file, _score))
    for name in names:
        if not re.fullmatch(year_rules(year).evaluation_name + r"\.wav", name):
            raise ValueError(f"{file}: {name} is not the name of an evaluation recording of {year}.")
    numbers = {int(name.removesuffix(".wav").rsplit("_", 1)[-1]) for name in names}
    missing = sorted(set(range(max(numbers) + 1)) - numbers)
    if missing:
        raise ValueError(f"{file}: lacks {len(missing)} recording(s), the first is number {missing[0]:04d}.")


Clips = tuple[str, str, str]  # machine, section, domain


def _find_files(folder: Path, year: int) -> tuple[dict[Clips, Path], dict[Clips, Path]]:
    """The files of scores and of decisions by the clips they are about."""
    accepted = f"accepted for {year} are names like {SCORE_FILE}_{_name_ending('fan', '00', 'source', year)}"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder.")
    tables = {SCORE_FILE: {}, DECISION_FILE: {}}
    for file in sorted(folder.glob("*.csv")):
        parts = _parse_name(file, year)
        if parts:
            table, clips = tables[parts["kind"]], (parts["machine"], parts["section"], parts.get("domain", "unknown"))
            if table.setdefault(clips, file) != file:
                raise ValueError(f"{file}: is about the same clips as {table[clips].name}; keep one of the two.")
        elif file.name.startswith(tuple(tables)):
            raise ValueError(f"{file}: unknown name; {accepted}.")
    scores, decisions = tables.values()
    if not scores:
        raise FileNotFoundError(f"{folder}: holds no result file; {accepted}.")
    if decisions and decisions.keys() != scores.keys():
        named = ", ".join(f"{machine} {section}" for machine, section, _ in sorted(decisions.keys() ^ scores.keys()))
        raise ValueError(f"{folder}: {named} has scores or decisions only; the other file is missing.")
    return scores, decisions


def check_same_clips(found: Collection, wanted: Collection, found_by: str, wanted_by: str) -> None:
    """
    Checks that two sets of clips are the same.

    Args:
        found, wanted (`Collection`): clips, each a name or a tuple of names.
        found_by, wanted_by (`str`): what the message calls the two.

    Raises:
        ValueError: names clips that only one of the two has.
    """
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


def _name_ending(machine: str, section: str, domain: str, year: int) -> str:
    return year_rules(year).result_name.format(machine=machine, section=section, domain=domain) + ".csv"


def _parse_name(file: Path, year: int) -> dict[str, str] | None:
    """Kind, machine, section and, where it is part of the name, domain of a result file."""
    name = year_rules(year).result_name.format(
        machine=rf"(?:DCASE{year}T2)?(?P<machine>.+)",
        section=r"(?P<section>\d\d)",
        domain="(?P<domain>source|target)",
    )
    found = re.fullmatch(rf"(?P<kind>{SCORE_FILE}|{DECISION_FILE})_{name}(?:_seed.*)?\.csv", file.name)
    return found.groupdict() if found else None


Parsed = TypeVar("Parsed")


def _read_values(file: Path, parse: Callable[[str], Parsed]) -> dict[str, Parsed]:
    values = {}
    with open(file, newline="", encoding="utf-8-sig") as rows:
        for line, row in enumerate(csv.reader(rows), start=1):
            if len(row) != 2:
                raise ValueError(f"{file}, line {line}: has {len(row)} values; accepted is <file name>,<value>.")
            if row[0] in values:
                raise ValueError(f"{file}, line {line}: {row[0]} occurs twice.")
            try:
                values[row[0]] = parse(row[1])
            except ValueError as error:
                raise ValueError(f"{file}, line {line}: {row[1]!r} is not a {error}.") from error
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
