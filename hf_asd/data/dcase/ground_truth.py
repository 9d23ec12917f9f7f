"""
Reads the ground truth of evaluation data from files that the user has. The organizers publish it under a license for
evaluation only, so it is not part of this package. Only evaluation reads it.
"""

import csv
import re
from pathlib import Path

from .loading import load_dcase
from .names import match_name, name_stem
from .years import DEFAULT_YEAR, SPLIT_IN_NAME, year_rules


CONDITION_BY_DIGIT = {"0": "normal", "1": "anomaly"}
DOMAIN_BY_DIGIT = {"0": "source", "1": "target"}
SHUFFLED_LIST_YEAR = 2022


def load_ground_truth(path: str | Path, year: int = DEFAULT_YEAR) -> dict[tuple[str, str], dict[str, str]]:
    """
    Reads the true condition and domain of every test clip.

    Args:
        path (`str` or `Path`): one of
            - the organizers' evaluator, or any folder with its `ground_truth_data` and `ground_truth_domain`: files
              `ground_truth_<machine>_section_<nn>_test.csv` (2020 `_id_<nn>`, 2021 `_source_test`), rows
              `<file name>,<0 or 1>`, 1 for an anomaly or the target domain;
            - the organizers' list `eval_data_list_<year>.csv`, or a folder with it: a line with the machine's name,
              then rows `<published file name>,<original file name>`; the latter contains condition and domain;
            - a folder of recordings with their condition in the names (development data, the simulated factory).
        year (`int`, *optional*, defaults to 2025): challenge year, which defines the names of files.

    Returns:
        `dict[tuple[str, str], dict[str, str]]`: (machine, file name) -> `condition` and `domain` (`unknown` in 2020).

    Raises:
        FileNotFoundError: there is none of the three.
        ValueError: a row is malformed, a file is listed twice, the files are of another year, or it is the faulty list
            of 2022 (its names for ToyCar and ToyTrain are shuffled, 608 labels are wrong).
    """
    year_rules(year)
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


def load_revealed_names(path: str | Path, year: int = DEFAULT_YEAR) -> dict[tuple[str, str], str]:
    """
    The published names of evaluation clips by their original ones, which contain condition, domain and attributes and
    were revealed after the challenge. Submissions that were made later may use either.

    Args:
        path (`str` or `Path`): as for [`load_ground_truth`]; read are the evaluator's `ground_truth_attributes`, rows
            `<published file name>,<original name>`, and `eval_data_list_<year>.csv`.
        year (`int`, *optional*, defaults to 2025): challenge year.

    Returns:
        `dict[tuple[str, str], str]`: (machine, original file name) -> published file name; empty where neither is
        there.
    """
    path, names = Path(path), {}
    for folder in (path / "ground_truth_attributes", path.parent / "ground_truth_attributes"):
        for table in sorted(folder.glob("ground_truth_*.csv")):
            found = re.fullmatch(r"ground_truth_(.+?)_section_\d\d_test", table.stem)
            with open(table, newline="", encoding="utf-8-sig") as rows:
                for row in csv.reader(rows):
                    if found and len(row) >= 2:
                        names[found[1], f"{name_stem(row[1].strip())}.wav"] = row[0].strip()
    for file in sorted(path.glob("eval_data_list*.csv")) if path.is_dir() else [path]:
        if file.stem != f"eval_data_list_{year}":
            continue
        machine = ""
        with open(file, newline="", encoding="utf-8-sig") as rows:
            for row in csv.reader(rows):
                cells = [cell.strip() for cell in row if cell.strip()]
                machine = cells[0] if len(cells) == 1 else machine
                if len(cells) >= 2:
                    names[machine, f"{name_stem(cells[1])}.wav"] = cells[0]
    return names


def _from_tables(tables: list[Path], domains: Path, year: int) -> dict:
    name = year_rules(year).result_name.format(
        machine="(?P<machine>.+?)", section=r"\d\d", domain="(?P<domain>source|target)"
    )
    name = name if name.endswith("_test") else f"{name}(?:_test)?"
    has_domain_tables = year_rules(year).has_domains and "(?P<domain>" not in name
    truth = {}
    for table in tables:
        found = re.fullmatch(f"ground_truth_{name}", table.stem)
        if not found:
            raise ValueError(f"{table}: is not a file name of a ground truth of {year}.")
        domain = dict.fromkeys(_read_pairs(table, CONDITION_BY_DIGIT), found.groupdict().get("domain") or "unknown")
        if has_domain_tables:
            domain = _read_pairs(domains / table.name, DOMAIN_BY_DIGIT)
        for clip, condition in _read_pairs(table, CONDITION_BY_DIGIT).items():
            if clip not in domain:
                raise ValueError(f"{domains / table.name}: lists no domain for {clip}, which is in {table}.")
            truth[found["machine"], clip] = {"condition": condition, "domain": domain[clip]}
    return truth


def _read_pairs(table: Path, meaning: dict[str, str]) -> dict[str, str]:
    if not table.is_file():
        raise FileNotFoundError(f"{table}: there is no such file; the ground truth needs it.")
    pairs = {}
    with open(table, newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.reader(file), start=1):
            if len(row) != 2 or row[1].strip() not in meaning:
                raise ValueError(f"{table}, line {line}: {row}; accepted is <file name>,<0 or 1>.")
            if row[0] in pairs:
                raise ValueError(f"{table}, line {line}: {row[0]} is listed twice.")
            pairs[row[0]] = meaning[row[1].strip()]
    return pairs


def _from_list(file: Path, year: int) -> dict:
    rules = year_rules(year)
    # The original names of RoboticArm in 2024 lack the `test`.
    labeled = rules.labeled_name.replace(SPLIT_IN_NAME, "(?:_test)?")
    truth, shuffled, machine = {}, [], None
    with open(file, newline="", encoding="utf-8-sig") as rows:
        for line, row in enumerate(csv.reader(rows), start=1):
            cells = [cell.strip() for cell in row if cell.strip()]
            if len(cells) == 1:
                machine = cells[0]
            if len(cells) < 2:
                continue
            published, original = cells[0], re.fullmatch(labeled, Path(cells[1]).stem)
            if machine is None or original is None or not match_name(Path(published).stem, year):
                raise ValueError(
                    f"{file}, line {line}: {row}; accepted for {year} is a machine's name alone on a line, then rows "
                    "<published file name>,<original file name>."
                )
            if (machine, published) in truth:
                raise ValueError(f"{file}, line {line}: {machine} {published} is listed twice.")
            if len(cells) > 2 and CONDITION_BY_DIGIT.get(cells[2]) != original["condition"]:
                raise ValueError(f"{file}, line {line}: the label {cells[2]} contradicts the name {cells[1]}.")
            domain = original["domain"] if rules.has_domains else "unknown"
            truth[machine, published] = {"condition": original["condition"], "domain": domain}
            if year == SHUFFLED_LIST_YEAR and not Path(published).stem.endswith(original["number"]):
                shuffled.append(machine)
    if not truth:
        raise ValueError(f"{file}: holds no row.")
    _check_not_shuffled(file, shuffled)
    return truth


def _check_not_shuffled(file: Path, shuffled: list[str]) -> None:
    """
    In 2022 published clips keep the number of their original name, except for two machines whose rows are shuffled:
    608 of their labels contradict the organizers' own evaluator.
    """
    if shuffled:
        raise ValueError(
            f"{file}: is the faulty list of {SHUFFLED_LIST_YEAR}. In {len(shuffled)} rows "
            f"({', '.join(sorted(set(shuffled)))}) the original name has another number than the published one, which "
            f"gives wrong labels. Use the organizers' evaluator of {SHUFFLED_LIST_YEAR} (ground_truth_data/ and "
            "ground_truth_domain/)."
        )


def _from_tree(path: Path, year: int) -> dict:
    test = load_dcase(path, year).get("test")
    if test is None or "unknown" in test["condition"][:]:
        raise ValueError(
            f"{path}: the names of its test clips do not contain their condition. Give the organizers' evaluator "
            "folder (ground_truth_data/, ground_truth_domain/) or eval_data_list_<year>.csv."
        )
    rows = test.select_columns(["machine", "clip_id", "condition", "domain"]).to_list()
    return {
        (row["machine"], row["clip_id"].rsplit("/", 1)[-1] + ".wav"): {
            "condition": row["condition"],
            "domain": row["domain"],
        }
        for row in rows
    }
