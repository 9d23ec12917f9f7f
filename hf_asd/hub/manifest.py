"""The files of a detector's folder: its manifest `detector.json`, which lists the checksums of all others."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ..files import read_json
from ..folders import FolderKind, current_folder, read_whole


MANIFEST, ENCODER_FOLDER = "detector.json", "encoder"
BANK_FILE, PROFILE_FILE = "memory_bank.safetensors", "normal_profiles.safetensors"
# What is kept of the normal recordings, to learn again with others beside them.
CLIPS_TABLE, CLIPS_FILE = "training_clips.parquet", "training_clips.safetensors"
LOADED_FILES = (MANIFEST, "config.json", "*.safetensors", CLIPS_TABLE, f"{ENCODER_FOLDER}/*")
# Results of measurements on a detector and how it was made; they lie beside it and are not needed to load it.
PROBE_FILE = "probe.json"
DETECTOR_RECORDS = ("evaluation.json", "scores.parquet", "recipe.yaml", "compute.json", "compact.json", PROBE_FILE)
# For people: also written beside a detector.
CARD, REPORT = "README.md", "report.html"
# No file type that can execute code when it is loaded. Reports are not published: they contain sound.
PUBLISHED_SUFFIXES = (".md", ".json", ".safetensors", ".yaml", ".parquet")
AGAIN = "Save it again or, if it came from the Hub, download it again with force_download=True."


class FileRecord(TypedDict):
    """Size and SHA-256 of a file."""

    bytes: int
    sha256: str


class MachineRecord(TypedDict):
    """What the manifest says about a machine; its embeddings and scores are tensors."""

    threshold: float
    false_alarm_rate: float
    asked_false_alarm_rate: float
    num_normal_scores: int
    num_dropped: int
    clip_ids: dict[str, list[str]]
    sessions: list[str] | None
    added: list[str] | None


class TrainingRecord(TypedDict):
    """Facts about the normal recordings of a machine, for the card; further ones are allowed."""

    clips: int
    recordings: int
    clip_seconds: float | None
    domains: dict[str, int]
    attributes: int
    hidden: int
    pseudo_attributes: dict[str, Any]
    seconds: float
    sampling_rates: list[int]
    channels: list[int]


class Manifest(TypedDict):
    """The content of `detector.json`. Numbers are not text and not infinite; TypedDicts let further entries pass."""

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")  # pyright: ignore

    format_version: int
    encoder: str | None
    config: dict[str, Any]
    descriptions: dict[str, str]
    machines: dict[str, MachineRecord]
    profiles: list[str]
    window_seconds: float | Literal["auto"] | None
    training_summary: dict[str, TrainingRecord]
    base_model: str | None
    precision_cosine: float | None
    files: dict[str, FileRecord]


def _is_detector_file(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder:
        return folder == ENCODER_FOLDER and file.endswith((".json", ".safetensors"))
    known = (
        MANIFEST,
        "config.json",
        BANK_FILE,
        PROFILE_FILE,
        CLIPS_TABLE,
        CLIPS_FILE,
        *DETECTOR_RECORDS,
        CARD,
        REPORT,
    )
    return name in known


DETECTOR_FOLDER = FolderKind("detector", MANIFEST, _is_detector_file)


def checksums(folder: str | Path) -> dict[str, dict]:
    """Size in bytes and SHA-256 of each file that a detector is loaded from, by its path below the folder."""
    files = [path for pattern in LOADED_FILES for path in sorted(Path(folder).glob(pattern)) if path.name != MANIFEST]
    return {
        path.relative_to(folder).as_posix(): _checksum(path) for path in files if path.suffix in PUBLISHED_SUFFIXES
    }


def _checksum(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_manifest(folder: str | Path, format_version: int) -> Manifest:
    """
    Reads `detector.json` and compares every file that it lists with its size and checksum.

    Args:
        folder (`str` or `Path`): the detector's folder.
        format_version (`int`): the format version that the caller can read.

    Returns:
        `Manifest`: the content of `detector.json`.

    Raises:
        ValueError: another format version, an entry that is missing or of another kind, or a file that is missing,
            truncated, changed or outside the folder; names the file.
    """
    folder = Path(folder)
    file = folder / MANIFEST
    content = read_json(file)
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise ValueError(f"{file}: is not the manifest of a detector, it has no format_version. {AGAIN}")
    if version != format_version:
        raise ValueError(
            f"{folder}: has format version {version}, this version of hf_asd reads {format_version}; "
            f"{'upgrade hf_asd' if version > format_version else 'fit the detector again'}."
        )
    manifest = _checked_manifest(file, content)
    for name, listed in manifest["files"].items():
        _check_file(inner_file(folder, name), listed)
    return manifest


def _checked_manifest(file: Path, content: object) -> Manifest:
    """
    The content of a manifest, if it has every entry that there has to be.

    Raises:
        ValueError: an entry is missing or of another kind; names the file and the entry.
    """
    try:
        manifest = TypeAdapter(Manifest).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"]))
        fault = "is missing" if first["type"] == "missing" else f"is {str(first['input'])[:60]!r}: {first['msg']}"
        raise ValueError(f"{file}: {entry or 'its content'} {fault}. {AGAIN}") from error
    if manifest["encoder"] not in (None, ENCODER_FOLDER):
        raise ValueError(
            f"{file}: encoder is {manifest['encoder']!r}; accepted are none and {ENCODER_FOLDER!r}. {AGAIN}"
        )
    machines = manifest["machines"]
    if not machines or not all(saved["clip_ids"] for saved in machines.values()):
        raise ValueError(f"{file}: has no machines, or one without normal recordings. {AGAIN}")
    if machines.keys() != manifest["training_summary"].keys():
        raise ValueError(f"{file}: machines and training_summary name different machines. {AGAIN}")
    needed = [BANK_FILE] + [PROFILE_FILE] * bool(manifest["profiles"])
    needed += [CLIPS_TABLE, CLIPS_FILE] * any(saved["added"] is not None for saved in machines.values())
    needed += [f"{ENCODER_FOLDER}/config.json"] * (manifest["encoder"] is not None)
    for name in needed:
        if name not in manifest["files"]:
            raise ValueError(f"{file}: files does not list {name}. {AGAIN}")
    return manifest


def inner_file(folder: str | Path, name: str) -> Path:
    """
    A file of a detector by its path below the folder.

    Raises:
        ValueError: it is, or a link makes it, a file outside the folder.
    """
    folder, parts = Path(folder), PurePosixPath(name).parts
    root = folder.resolve()
    if root.parent.name == "snapshots":  # the cache of the Hub keeps files in `blobs` beside it, and links to them
        root = root.parents[1]
    path = folder / name
    plain = bool(parts) and parts[0] != "/" and ".." not in parts and not set(name) & {"\\", ":"}
    if not plain or not path.resolve().is_relative_to(root):
        raise ValueError(
            f"{folder}: {name} is not a file of this folder but leads out of it. Accepted are files inside the folder "
            "alone; do not use a detector from somebody whom you do not trust."
        )
    return path


def _check_file(path: Path, listed: FileRecord) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: is missing, but {MANIFEST} lists it. {AGAIN}")
    size = path.stat().st_size
    if size < listed["bytes"]:
        raise ValueError(f"{path}: is truncated, it has {size} of {listed['bytes']} bytes. {AGAIN}")
    found = _checksum(path)["sha256"]
    if found != listed["sha256"]:
        raise ValueError(
            f"{path}: was changed after the detector was saved: its SHA-256 is {found}, {MANIFEST} lists "
            f"{listed['sha256']}. Do not use it. {AGAIN}"
        )


def manifest_in(folder: Path) -> Manifest:
    """As [`read_manifest`], without a look at the other files."""
    return _checked_manifest(folder / MANIFEST, read_json(folder / MANIFEST))


def machines_of(folder: str | Path) -> list[str]:
    """The machines that a detector knows, by its folder."""
    return list(read_whole(folder, DETECTOR_FOLDER, manifest_in)["machines"])


def detector_files(folder: str | Path) -> dict[str, Path]:
    """
    The files of a detector by their path below the folder: those that it is loaded from and its records.

    Raises:
        ValueError: a file outside the folder.
    """
    folder = current_folder(folder, DETECTOR_FOLDER)
    listed = manifest_in(folder)["files"]
    files = {name: inner_file(folder, name) for name in (MANIFEST, *listed, *DETECTOR_RECORDS)}
    return {name: path for name, path in files.items() if path.is_file()}


def publishable_files(folder: str | Path) -> dict[str, Path]:
    """
    The files of a folder that may be published, by their path below it: weights, JSON, YAML, parquet, cards.

    Raises:
        ValueError: a link leads out of the folder.
    """
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.suffix in PUBLISHED_SUFFIXES]
    names = [path.relative_to(folder).as_posix() for path in files]
    return {name: inner_file(folder, name) for name in names}
