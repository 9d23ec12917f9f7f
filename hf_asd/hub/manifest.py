"""The files of a detector's folder: its manifest `detector.json`, which lists the checksums of all others."""

import hashlib
import json
from pathlib import Path

from ..files import read_json


MANIFEST = "detector.json"
LOADED_FILES = (MANIFEST, "config.json", "*.safetensors", "encoder/*")
# Results of measurements on a detector and how it was made; they lie beside it and are not needed to load it.
DETECTOR_RECORDS = ("evaluation.json", "scores.parquet", "recipe.yaml", "compute.json", "compact.json")
# No file type that can execute code when it is loaded. Reports are not published: they contain sound.
PUBLISHED_SUFFIXES = (".md", ".json", ".safetensors", ".yaml", ".parquet")


def checksums(folder: str | Path) -> dict[str, dict]:
    """Size in bytes and SHA-256 of each file that a detector is loaded from, by its path below the folder."""
    files = [path for pattern in LOADED_FILES for path in sorted(Path(folder).glob(pattern)) if path.name != MANIFEST]
    return {
        path.relative_to(folder).as_posix(): _checksum(path) for path in files if path.suffix in PUBLISHED_SUFFIXES
    }


def _checksum(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_manifest(folder: str | Path, format_version: int) -> dict:
    """
    Reads `detector.json` and compares every file that it lists with its size and checksum.

    Args:
        folder (`str` or `Path`): the detector's folder.
        format_version (`int`): the format version that the caller can read.

    Returns:
        `dict`: the content of `detector.json`.

    Raises:
        ValueError: another format version, or a file that is missing, truncated or changed; names the file.
    """
    folder = Path(folder)
    again = "Save it again or, if it came from the Hub, download it again with force_download=True."
    try:
        content = read_json(folder / MANIFEST)
        version = content["format_version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / MANIFEST}: cannot be read ({error!r}). {again}") from error
    if version != format_version:
        raise ValueError(
            f"{folder}: has format version {version}, this version of hf_asd reads {format_version}; "
            f"{'upgrade hf_asd' if version > format_version else 'fit the detector again'}."
        )
    for name, listed in content["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: is missing, but {MANIFEST} lists it. {again}")
        size = path.stat().st_size
        if size < listed["bytes"]:
            raise ValueError(f"{path}: is truncated, it has {size} of {listed['bytes']} bytes. {again}")
        found = _checksum(path)["sha256"]
        if found != listed["sha256"]:
            raise ValueError(
                f"{path}: was changed after the detector was saved: its SHA-256 is {found}, {MANIFEST} lists "
                f"{listed['sha256']}. Do not use it. {again}"
            )
    return content


def detector_files(folder: str | Path) -> dict[str, Path]:
    """The files of a detector by their path below the folder: those that it is loaded from and its records."""
    folder = Path(folder)
    listed = read_json(folder / MANIFEST)["files"]
    return {name: folder / name for name in (MANIFEST, *listed, *DETECTOR_RECORDS) if (folder / name).is_file()}


def publishable_files(folder: str | Path) -> dict[str, Path]:
    """The files of a folder that may be published, by their path below it: weights, JSON, YAML, parquet, cards."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.suffix in PUBLISHED_SUFFIXES]
    return {path.relative_to(folder).as_posix(): path for path in files}
