"""DCASE Task 2 folders of every year, 2020 to 2026, as one dataset schema."""

import csv
import hashlib
import json
import os
import re
from pathlib import Path

import datasets
import pyarrow as pa
import soundfile
from datasets import Dataset, DatasetDict, IterableDatasetDict
from datasets.table import MemoryMappedTable

from ..schema import dataset_from_rows
from .zenodo import years_of


YEARS = range(2020, 2027)
# Raised whenever the rows of the same files would come out differently: it is part of the cache's fingerprint.
ROWS_VERSION = 2

# One pattern a kind of file name. 2020 knows machine ids instead of sections, 2021 tells the domain of every clip,
# from 2022 on evaluation clips tell nothing; RoboticArm of 2024 leaves the split out.
LABELED = (
    r"section_(?P<section>\d\d)_(?P<domain>source|target)_(?P<split>train|test)_(?P<condition>normal|anomaly)"
    r"_(?P<number>\d{4})(?:_(?P<attributes>.*))?"
)
NAMES = {
    2020: [r"(?P<condition>normal|anomaly)_id_(?P<section>\d\d)_(?P<number>\d{8})", r"id_(?P<section>\d\d)_(\d{8})"],
    2021: [LABELED, r"section_(?P<section>\d\d)_(?P<domain>source|target)_test_\d{4}"],
    2022: [LABELED, r"section_(?P<section>\d\d)_\d{4}"],
    2024: [
        LABELED.replace("_(?P<split>train|test)", "(?:_(?P<split>train|test))?"),
        r"section_(?P<section>\d\d)_\d{4}",
    ],
}
NAMES |= {2023: NAMES[2022], 2025: NAMES[2022], 2026: NAMES[2022]}
# Such as section_00_machine_source_0000_noAttribute; descriptions order the words before the number differently.
SUPPLEMENTAL = r"section_(?P<section>\d\d)_(?P<words>[A-Za-z_]+)_(?P<number>\d{4})(?:_(?P<attributes>.*))?"
FOLDERS = {
    "train": "train",
    "test": "test",
    "source_test": "test",
    "target_test": "test",
    "supplemental": "supplemental",
}
HIDDEN = ("", "noAttribute")
SUBSETS = {"dev": "dev_data", "eval": "eval_data"}


def load_dcase(
    path: str | Path,
    year: int = 2025,
    *,
    subset: str | None = None,
    machines: str | list[str] | None = None,
    streaming: bool = False,
    strict: bool = True,
    cache_dir: str | Path | None = None,
) -> DatasetDict | IterableDatasetDict:
    """
    DCASE Task 2 recordings of one year as a dataset of the one schema. No recording is decoded.

    Args:
        path (`str` or `Path`): the folder that holds the machines' folders, one of its parents (`dev_data`,
            `dev_data/raw`, or the folder of both `dev_data` and `eval_data`), or one machine's folder.
        year (`int`, *optional*, defaults to 2025): the challenge's year, 2020 to 2026, which decides on layout and
            file names. A machine id of 2020 is a section.
        subset (`"dev"` or `"eval"`, *optional*): only that half where `path` holds both; defaults to all there is.
        machines (`str` or `list[str]`, *optional*): only these machines; defaults to all.
        streaming (`bool`, *optional*, defaults to `False`): an `IterableDatasetDict` instead.
        strict (`bool`, *optional*, defaults to `True`): whether files that `attributes_00.csv` lists and that are not
            there, empty files, repeated clip numbers and machines of other years are errors.
        cache_dir (`str` or `Path`, *optional*): where the rows are kept, memory-mapped; defaults to a folder in the
            cache of `datasets`. Names, sizes and times of the files make the fingerprint.

    Returns:
        `datasets.DatasetDict`: `train`, `test` and `supplemental` where present. `attributes` are those published
        (`attributes_00.csv`, else the file name), empty where hidden; evaluation clips have an `unknown` condition
        and, from 2022 on, an `unknown` domain. `clip_id` is `"<machine>/<split>/<file stem>"`. Recordings of 2026 have
        two channels, near (0) and far (1). Supplemental clips that hold noise only (see [`is_noise_only`]) have an
        `unknown` condition.

    Raises:
        FileNotFoundError: there is no such folder, it holds no machine, or the tree is half unpacked.
        ValueError: the year is not the tree's, a file name is unknown, a clip is there twice.
    """
    if year not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are 2020 to 2026.")
    if subset not in (None, *SUBSETS):
        raise ValueError(f"subset is {subset!r}; accepted are 'dev', 'eval' and None (all there is).")
    path = Path(path).absolute()
    folders = _machine_folders(path, subset)
    if machines is not None:
        wanted = [machines] if isinstance(machines, str) else list(machines)
        unknown = sorted(set(wanted) - {folder.name for folder in folders})
        if unknown:
            known = ", ".join(sorted({folder.name for folder in folders}))
            raise ValueError(f"{path}: holds no machine {', '.join(unknown)}; it holds {known}.")
        folders = [folder for folder in folders if folder.name in wanted]

    listing = [(folder, _list_clips(folder), sorted(folder.glob("attributes_*.csv"))) for folder in folders]
    signature = hashlib.sha256(json.dumps([ROWS_VERSION, year, strict]).encode())
    for folder, clips, tables in listing:
        signature.update(json.dumps([str(folder), clips]).encode())
        for table in tables:
            signature.update(table.read_bytes())
    fingerprint = signature.hexdigest()[:32]
    cache = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_asd") / fingerprint
    if not (cache / "splits.json").is_file():
        splits = {"train": [], "test": [], "supplemental": []}
        for folder, clips, tables in listing:
            for row in _machine_rows(folder, clips, tables, year, strict):
                splits[row["split"]].append(row)
        _check_tree(path, year, splits, strict)
        _write_cache(cache, {split: dataset_from_rows(rows) for split, rows in splits.items() if rows})
    loaded = {
        split: Dataset(
            MemoryMappedTable.from_file(str(cache / f"{split}.arrow")), fingerprint=f"{fingerprint}-{split}"
        )
        for split in json.loads((cache / "splits.json").read_text())
    }
    if streaming:
        return IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in loaded.items()})
    return DatasetDict(loaded)


def is_noise_only(clip_id: str) -> bool:
    """Whether a supplemental clip of 2025 is the factory's noise without the machine, from its `clip_id`."""
    found = re.fullmatch(SUPPLEMENTAL, clip_id.rsplit("/", 1)[-1])
    # Only the words before the number: `noise` is also a key of ToyCar's attributes.
    return found is not None and "noise" in found["words"].split("_")


def load_attribute_truth(path: str | Path) -> dict[str, dict[str, str]]:
    """
    The true attributes of machines whose attributes are hidden: for evaluation, or for training where somebody hands
    them over ([`~hf_asd.data.schema.reveal_attributes`]).

    Args:
        path (`str` or `Path`): one such table, or a folder (or one of its parents) with tables
            `<machine>_attributes_00.csv` as the simulated factory writes them into `ground_truth/`, or with the
            organizers' later `<machine>/attributes_00_<split>_correspondence.csv` (columns `source_file_name`, the
            name that tells, and `target_file_name`, the published one).

    Returns:
        `dict[str, dict[str, str]]`: `clip_id` -> attributes.

    Raises:
        FileNotFoundError: there is no such table.
    """
    path = Path(path)
    tables = [path] if path.is_file() else sorted(path.rglob("*attributes_*.csv"))
    truth = {}
    for table in tables:
        machine = re.fullmatch(r"(.+)_attributes_\d\d", table.stem)
        if machine:
            for name, attributes in _read_attributes(table).items():
                truth[_clip_id(machine[1], _named_split(name), name)] = attributes
    for table in tables:
        if not re.fullmatch(r"attributes_.*_correspondence", table.stem):
            continue
        with open(table, newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                told = _stem(row["source_file_name"])
                clip_id = _clip_id(table.parent.name, _named_split(told), row["target_file_name"])
                truth[clip_id] = _attributes_from_name(re.fullmatch(LABELED, told)["attributes"])
    if not truth:
        raise FileNotFoundError(
            f"{path}: holds no table of true attributes. Accepted are <machine>_attributes_00.csv and "
            "<machine>/attributes_00_<split>_correspondence.csv, there or in a subfolder."
        )
    return truth


def _machine_folders(path: Path, subset: str | None) -> list[Path]:
    """The machines' folders below `path`, in alphabetical order, development before evaluation."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder.")
    if _is_machine(path):
        return [path]
    halves = [SUBSETS[subset]] if subset else list(SUBSETS.values())
    bases = [path / half for half in halves if (path / half).is_dir()] or [path]
    if subset and bases == [path] and path.name != SUBSETS[subset] and path.parent.name != SUBSETS[subset]:
        raise FileNotFoundError(f"{path}: holds no {SUBSETS[subset]}, which subset={subset!r} asks for.")
    bases = [base / "raw" if (base / "raw").is_dir() else base for base in bases]
    found = [folder for base in bases for folder in sorted(base.iterdir()) if folder.is_dir() and _is_machine(folder)]
    if not found:
        looked = ", ".join(map(str, bases))
        raise FileNotFoundError(
            f"{path}: holds no machine. Looked in {looked} for folders that hold train/ or test/; "
            "`hf-asd download` makes such a tree."
        )
    return found


def _is_machine(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in FOLDERS)


def _list_clips(folder: Path) -> list[tuple[str, str, int, int]]:
    """(folder, file name, bytes, time of change) of all that lies in a machine's split folders."""
    clips = []
    for name in FOLDERS:
        if (folder / name).is_dir():
            for entry in os.scandir(folder / name):
                if not entry.name.startswith("."):
                    stat = entry.stat()
                    clips.append((name, entry.name, stat.st_size, stat.st_mtime_ns))
    return sorted(clips)


def _machine_rows(folder: Path, clips: list, tables: list[Path], year: int, strict: bool) -> list[dict]:
    years = years_of(folder.name)
    if strict and years and year not in years:
        raise ValueError(
            f"{folder}: {folder.name} is a machine of {' and '.join(map(str, years))}, so this is no tree of {year}. "
            "Give the right year, or pass strict=False for a machine of your own."
        )
    listed = {name: attributes for table in tables for name, attributes in _read_attributes(table).items()}
    rows = []
    for where, name, size, _ in clips:
        file, split = folder / where / name, FOLDERS[where]
        if not name.lower().endswith(".wav"):
            raise ValueError(f"{file}: unknown file; a split's folder holds WAV files only. Move it elsewhere.")
        if strict and size == 0:
            raise FileNotFoundError(f"{file}: has 0 bytes, the tree looks half unpacked. Unpack the archive again.")
        row = _parse_name(file, split, year)
        attributes = listed.get(_stem(name)) or row["attributes"]
        if year < 2024 and year > 2020 and "noAttribute" in name:
            raise ValueError(f"{file}: attributes are hidden from 2024 on only, so this is no tree of {year}.")
        if year > 2022 and row["section"] != "00":
            raise ValueError(f"{file}: machines have one section, 00, from 2023 on, so this is no tree of {year}.")
        row |= {"path": file, "machine": folder.name, "split": split, "attributes": attributes}
        rows.append(row | {"clip_id": _clip_id(folder.name, split, name)})
    if not any(row["split"] == "train" for row in rows):
        raise FileNotFoundError(
            f"{folder}: holds no training clip in train/, the tree looks half unpacked. Unpack the archive of the "
            f"{'additional training' if rows else 'development'} data of {folder.name} into {folder.parent}."
        )
    present, splits = {_stem(name) for _, name, _, _ in clips}, {row["split"] for row in rows}
    lost = sorted(name for name in listed if name not in present and _named_split(name) in splits)
    if strict and lost:
        raise FileNotFoundError(
            f"{folder}: {len(lost)} of the {len(listed)} files that its attributes table lists are not there, the "
            f"first is {lost[0]}. The tree looks half unpacked: unpack the archive again, or pass strict=False."
        )
    channels = _channels(rows[0]["path"])
    if (channels == 2) != (year == 2026):
        raise ValueError(
            f"{rows[0]['path']}: has {channels} channel(s), so this is no tree of {year}: "
            "recordings have two channels (near, far) in 2026 and one before."
        )
    return rows


def _parse_name(file: Path, split: str, year: int) -> dict:
    """Section, domain, condition and attributes that a file's name tells."""
    if split == "supplemental":
        found = re.fullmatch(SUPPLEMENTAL, file.stem)
        if year < 2025 or not found:
            why = "2025 brought supplemental clips" if year < 2025 else "accepted is section_00_<words>_0000..."
            raise ValueError(f"{file}: unknown file in a tree of {year}; {why}.")
        words = found["words"].split("_")
        domain = next((word for word in words if word in ("source", "target")), "unknown")
        condition = "unknown" if is_noise_only(file.stem) else "normal"
        attributes = _attributes_from_name(found["attributes"])
        return {"section": found["section"], "domain": domain, "condition": condition, "attributes": attributes}
    found = next(filter(None, (re.fullmatch(pattern, file.stem) for pattern in NAMES[year])), None)
    folder_is_2021 = file.parent.name in ("source_test", "target_test")
    told = found.groupdict() if found else {}
    fits = found and (split == "test" or told.get("condition"))
    if not fits or (split == "test" and folder_is_2021 != (year == 2021)):
        others = [y for y in YEARS if y != year and any(re.fullmatch(p, file.stem) for p in NAMES[y])]
        hint = f" It reads like {others[0]}" + (f" or {others[-1]}." if others[1:] else ".") if others else ""
        example = (
            "normal_id_00_00000000.wav" if year == 2020 else "section_00_source_train_normal_0000_<attributes>.wav"
        )
        test = "source_test/ and target_test/" if year == 2021 else "test/"
        raise ValueError(
            f"{file}: unknown file name for {year}, whose clips are named like {example} and whose test clips lie in "
            f"{test}.{hint} Give the right year, or move the file elsewhere."
        )
    if told.get("split") and told["split"] != split:
        raise ValueError(f"{file}: lies in {file.parent.name}/ but is a {told['split']} clip by its name.")
    if folder_is_2021 and told["domain"] != file.parent.name.removesuffix("_test"):
        raise ValueError(f"{file}: lies in {file.parent.name}/ but is a {told['domain']} clip by its name.")
    if split == "train" and told["condition"] == "anomaly":
        raise ValueError(f"{file}: is an anomaly by its name; training clips are normal. Move it to test/.")
    return {
        "section": told["section"],
        "domain": told.get("domain") or "unknown",
        "condition": told.get("condition") or "unknown",
        "attributes": _attributes_from_name(told.get("attributes")),
    }


def _attributes_from_name(text: str | None) -> dict[str, str]:
    """
    `"car_A1_spd_28V"` -> `{"car": "A1", "spd": "28V"}`. Names that do not pair up are one attribute, `name`: whichever
    way they are read, equal names give equal attributes.
    """
    if not text or text in HIDDEN:
        return {}
    words = text.split("_")
    return {"name": text} if len(words) % 2 else dict(zip(words[::2], words[1::2], strict=True))


def _read_attributes(table: Path) -> dict[str, dict[str, str]]:
    """File stem -> attributes, from columns `file_name, d1p, d1v, d2p, d2v, ...` (parameter and value)."""
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        keys = [column for column in columns if re.fullmatch(r"d\d+p", column)]
        if "file_name" not in columns or any(f"{key[:-1]}v" not in columns for key in keys):
            raise ValueError(f"{table}: has the columns {columns}; accepted are file_name, d1p, d1v, d2p, d2v, ...")
        return {
            _stem(row["file_name"]): {
                row[key]: row[f"{key[:-1]}v"]
                for key in keys
                if (row[key] or "") not in HIDDEN and (row[f"{key[:-1]}v"] or "") not in HIDDEN
            }
            for row in reader
        }


def _named_split(name: str) -> str:
    """The split that a clip's name tells. Evaluation clips and RoboticArm's of 2024 tell none: they are tests."""
    words = name.split("_")
    return next((split for split in ("train", "supplemental") if split in words), "test")


def _clip_id(machine: str, split: str, name: str) -> str:
    return f"{machine}/{split}/{_stem(name)}"


def _stem(name: str) -> str:
    """
    A file's name without folder and `.wav`. Tables list some machines' files with the machine's folder in front, some
    without an ending, and values such as `ac_0.01` hold dots of their own.
    """
    return name.rsplit("/", 1)[-1].removesuffix(".wav")


def _channels(file: Path) -> int:
    try:
        return soundfile.info(str(file)).channels
    except soundfile.LibsndfileError as error:
        raise FileNotFoundError(f"{file}: is no readable recording ({error}). Unpack the archive again.") from error


def _check_tree(path: Path, year: int, splits: dict[str, list[dict]], strict: bool) -> None:
    """What can only be seen over all machines: halves that are missing and clips that are there twice."""
    clips = [row for rows in splits.values() for row in rows]
    first = {}
    for row in clips:
        if first.setdefault(row["clip_id"], row) is not row:
            raise ValueError(
                f"{row['path']}: is there twice, also as {first[row['clip_id']]['path']}. Keep one of the two."
            )
    if strict and year > 2020:
        for row in clips:
            if row["condition"] == "unknown":
                continue
            stem = re.match(r"(section_.*?_\d{4})(_|$)", row["path"].stem)[1]
            key = (row["machine"], row["split"], row["domain"], stem)
            if first.setdefault(key, row) is not row:
                raise ValueError(
                    f"{row['path']}: is a duplicate, {first[key]['path'].name} has the same number. Were two versions "
                    "of an archive unpacked into one folder? Remove one, or pass strict=False."
                )
    tested = {row["path"].parent.parent for row in splits["test"]}
    untested = {row["path"].parent.parent for row in splits["train"]} - tested
    siblings = {folder.parent for folder in tested}
    half = sorted(folder for folder in untested if folder.parent in siblings)
    if half:
        raise FileNotFoundError(
            f"{path}: half unpacked, {', '.join(folder.name for folder in half)} hold(s) no test clip while other "
            "machines do. Unpack the missing archives or name the wanted machines (machines=[...])."
        )


def _write_cache(cache: Path, splits: dict[str, Dataset]) -> None:
    """The rows as Arrow files that are memory-mapped; `splits.json` is written last and says that all are whole."""
    cache.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        partial = cache / f"{split}.arrow.{os.getpid()}.partial"
        schema = rows.features.arrow_schema
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            writer.write_table(rows.with_format("arrow")[:].cast(schema))
        os.replace(partial, cache / f"{split}.arrow")
    partial = cache / f"splits.json.{os.getpid()}.partial"
    partial.write_text(json.dumps(list(splits)))
    os.replace(partial, cache / "splits.json")
