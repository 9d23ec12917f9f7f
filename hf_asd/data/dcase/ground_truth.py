"""
The ground truth of evaluation data, from files the user has. The organizers publish it under a license for evaluation
only, so nothing of it comes with this package. Only evaluation reads it.
"""

import csv
import re
from pathlib import Path

from .loading import LABELED, NAMES, YEARS, load_dcase


CONDITIONS = {"0": "normal", "1": "anomaly"}
DOMAINS = {"0": "source", "1": "target"}


def load_ground_truth(path: str | Path, year: int = 2025) -> dict[tuple[str, str], dict[str, str]]:
    """
    True condition and domain of every test clip.

    Args:
        path (`str` or `Path`): one of
            - the organizers' evaluator, or any folder with its `ground_truth_data` and `ground_truth_domain`: files
              `ground_truth_<machine>_section_<nn>_test.csv` (2020 `_id_<nn>`, 2021 `_source_test`), rows
              `<file name>,<0 or 1>`, 1 for an anomaly or the target domain;
            - the organizers' list `eval_data_list_<year>.csv`, or a folder with it: a line with the machine's name,
              then rows `<published file name>,<original file name>`, the latter telling condition and domain;
            - a tree of recordings whose names tell their condition (development data, the simulated factory).
        year (`int`, *optional*, defaults to 2025): 2020 to 2026.

    Returns:
        `dict[tuple[str, str], dict[str, str]]`: (machine, file name) -> `condition` and `domain` (`unknown` in 2020).

    Raises:
        FileNotFoundError: nothing of the three is there.
        ValueError: a row is malformed, a file is there twice, the year is not that of the files, or the list has the
            known fault of the 2022 list (its names for ToyCar and ToyTrain are shuffled, 608 labels are wrong).
    """
    if year not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are 2020 to 2026.")
    path = Path(path)
    lists = sorted(path.glob("eval_data_list*.csv")) if path.is_dir() else [path]
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder.")
    data = path / "ground_truth_data" if (path / "ground_truth_data").is_dir() else path
    tables = sorted(data.glob("ground_truth_*.csv")) if data.is_dir() else []
    if tables:
        return _from_tables(tables, data.parent / "ground_truth_domain", year)
    if lists:
        fitting = [file for file in lists if len(lists) == 1 or file.stem.endswith(str(year))]
        if not fitting:
            raise FileNotFoundError(
                f"{path}: holds no eval_data_list_{year}.csv but {', '.join(f.name for f in lists)}."
            )
        return _from_list(fitting[0], year)
    return _from_tree(path, year)


def _from_tables(tables: list[Path], domains: Path, year: int) -> dict:
    section = {2020: r"id_\d\d(?:_test)?", 2021: r"section_\d\d_(?P<domain>source|target)_test"}.get(
        year, r"section_\d\d_test"
    )
    truth = {}
    for table in tables:
        found = re.fullmatch(rf"ground_truth_(?P<machine>.+?)_{section}", table.stem)
        if not found:
            raise ValueError(f"{table}: is no ground truth of {year} by its name.")
        domain = dict.fromkeys(_read_pairs(table, CONDITIONS), found.groupdict().get("domain") or "unknown")
        if year > 2021:
            domain = _read_pairs(domains / table.name, DOMAINS)
        for name, condition in _read_pairs(table, CONDITIONS).items():
            if name not in domain:
                raise ValueError(f"{domains / table.name}: tells no domain for {name}, which {table} lists.")
            truth[found["machine"], name] = {"condition": condition, "domain": domain[name]}
    return truth


def _read_pairs(table: Path, meaning: dict[str, str]) -> dict[str, str]:
    if not table.is_file():
        raise FileNotFoundError(f"{table}: there is no such file, it belongs to the ground truth.")
    pairs = {}
    with open(table, newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.reader(file), start=1):
            if len(row) != 2 or row[1].strip() not in meaning:
                raise ValueError(f"{table}, line {line}: {row}; accepted is <file name>,<0 or 1>.")
            if row[0] in pairs:
                raise ValueError(f"{table}, line {line}: {row[0]} is there twice.")
            pairs[row[0]] = meaning[row[1].strip()]
    return pairs


def _from_list(file: Path, year: int) -> dict:
    # RoboticArm of 2024 lacks the `test` in its original names.
    labeled = NAMES[2020][0] if year == 2020 else LABELED.replace("_(?P<split>train|test)", "(?:_test)?")
    truth, shuffled, machine = {}, [], None
    with open(file, newline="", encoding="utf-8-sig") as rows:
        for line, row in enumerate(csv.reader(rows), start=1):
            cells = [cell.strip() for cell in row if cell.strip()]
            if len(cells) == 1:
                machine = cells[0]
            if len(cells) < 2:
                continue
            original = re.fullmatch(labeled, Path(cells[1]).stem)
            if (
                machine is None
                or not original
                or not any(re.fullmatch(pattern, Path(cells[0]).stem) for pattern in NAMES[year])
            ):
                raise ValueError(
                    f"{file}, line {line}: {row}; accepted for {year} is a machine's name alone on a line, then rows "
                    "<published file name>,<original file name>."
                )
            if (machine, cells[0]) in truth:
                raise ValueError(f"{file}, line {line}: {machine} {cells[0]} is there twice.")
            if len(cells) > 2 and CONDITIONS.get(cells[2]) != original["condition"]:
                raise ValueError(f"{file}, line {line}: {cells[1]} is labeled {cells[2]}, its name tells otherwise.")
            domain = original["domain"] if year > 2020 else "unknown"
            truth[machine, cells[0]] = {"condition": original["condition"], "domain": domain}
            if year == 2022 and not Path(cells[0]).stem.endswith(original["number"]):
                shuffled.append(machine)
    if not truth:
        raise ValueError(f"{file}: holds no row.")
    # In 2022 published clips keep the number of their original name, but for two machines whose rows are shuffled:
    # 608 of their labels contradict the organizers' own evaluator.
    if shuffled:
        raise ValueError(
            f"{file}: is the faulty list of 2022. In {len(shuffled)} rows ({', '.join(sorted(set(shuffled)))}) the "
            "original name has another number than the published one, which gives wrong labels. Use the organizers' "
            "evaluator of 2022 (ground_truth_data/ and ground_truth_domain/)."
        )
    return truth


def _from_tree(path: Path, year: int) -> dict:
    test = load_dcase(path, year).get("test")
    if test is None or "unknown" in test["condition"][:]:
        raise ValueError(
            f"{path}: its test clips do not tell their condition, so it is no ground truth. Give the organizers' "
            "evaluator folder (ground_truth_data/, ground_truth_domain/) or eval_data_list_<year>.csv."
        )
    rows = test.select_columns(["machine", "clip_id", "condition", "domain"])
    return {
        (row["machine"], row["clip_id"].rsplit("/", 1)[-1] + ".wav"): {
            "condition": row["condition"],
            "domain": row["domain"],
        }
        for row in rows
    }
