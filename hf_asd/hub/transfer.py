"""Detectors and encoders on the Hub: pushed in one commit, pulled and checked before anything is used."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


MANIFEST = "detector.json"
ENCODER_MARK = "model.safetensors"  # a detector has it one folder deeper
LOADED = (MANIFEST, "config.json", "*.safetensors", "encoder/*")
# What was found out about a detector, beside it.
RECORDS = ("evaluation.json", "scores.parquet", "recipe.yaml", "compute.json", "compact.json")
DEFAULT_REPO_FILES = {".gitattributes", "README.md"}  # what the Hub itself puts into a new repository
# Nothing that runs code when it is read. Reports stay at home: they hold sound of the recordings.
PUBLISHED = (".md", ".json", ".safetensors", ".yaml", ".parquet")


class HubError(OSError):
    """The Hub refused or cannot be reached, or what it gave is not whole; the message says what to do."""


@contextmanager
def hub_errors(repo_id: str | None) -> Iterator[None]:
    """Turns what `huggingface_hub` raises into a [`HubError`] that says what to do."""
    try:
        yield
    except (OfflineModeIsEnabled, EntryNotFoundError, HTTPError, HFValidationError, RuntimeError) as error:
        # A RuntimeError is what `huggingface_hub` makes of an upload to LFS that failed.
        raise HubError(f"{repo_id}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, HFValidationError):
        return f"is no id of the Hub ({error}). Accepted is ORG/NAME."
    if isinstance(error, OfflineModeIsEnabled) or (status is None and constants.HF_HUB_OFFLINE):
        return (
            "offline mode is on (HF_HUB_OFFLINE=1): nothing is pushed, and only what is in the cache is loaded. Unset "
            "it, or load the repository once while online."
        )
    if isinstance(error, GatedRepoError):
        return "is gated. Ask for access on its page, then log in with `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision. Accepted are its branches, tags and commits."
    if isinstance(error, RepositoryNotFoundError):
        return (
            "there is no such repository on the Hub, or it is private and your token may not see it. Check the name; "
            "log in with `hf auth login` or set HF_TOKEN."
        )
    if status == 401:
        return (
            f"{constants.ENDPOINT} does not accept your token, or you have none. Log in with `hf auth login` or set "
            "HF_TOKEN."
        )
    if status == 403:
        return (
            "your token may not write there. Make one with write access (Settings, Access Tokens), or push to a name "
            "of your own."
        )
    return f"the Hub at {constants.ENDPOINT} did not answer as expected: {error}"


def hub_id(name: str | Path | None) -> str | None:
    """The name, if it is an id on the Hub: a folder of this machine means nothing to others."""
    return str(name) if name is not None and str(name).count("/") == 1 and not Path(name).exists() else None


def resolve_detector(detector: str | Path, revision: str | None = None, token: str | None = None, **download) -> Path:
    """
    The folder of a detector; one on the Hub is downloaded, or taken from the cache.

    Args:
        detector (`str` or `Path`): a folder, or an id on the Hub.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.
        download: further options of `huggingface_hub.snapshot_download`, such as `cache_dir` or `force_download`.

    Returns:
        `Path`: the folder.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no detector.
        HubError: the Hub refuses, cannot be reached, or holds something else there.
    """
    folder = Path(detector)
    if folder.exists():
        if not (folder / MANIFEST).is_file():
            raise FileNotFoundError(f"{folder}: holds no {MANIFEST}; give the folder that a detector was saved in.")
        return folder
    if str(detector).count("/") != 1 or str(detector).startswith("."):
        raise FileNotFoundError(f"{detector}: there is no such folder, and it is no id on the Hub (ORG/NAME).")
    with hub_errors(str(detector)):
        folder = snapshot_download(
            str(detector), revision=revision, token=token, allow_patterns=list(LOADED), **download
        )
    if not (Path(folder) / MANIFEST).is_file():
        raise HubError(
            f"{detector}: holds no {MANIFEST}, so it is no detector of hf_asd. Is it the name of an encoder?"
        )
    return Path(folder)


def checksums(folder: str | Path) -> dict[str, dict]:
    """Size in bytes and SHA-256 of each file that a detector is loaded from, by its path below the folder."""
    files = [path for pattern in LOADED for path in sorted(Path(folder).glob(pattern)) if path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in files if path.suffix in PUBLISHED}


def _checksum(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_manifest(folder: str | Path, format_version: int) -> dict:
    """
    What `detector.json` says, once every file that it lists is found as it was written.

    Args:
        folder (`str` or `Path`): of the detector.
        format_version (`int`): the one that this version of the package reads.

    Returns:
        `dict`: the content of `detector.json`.

    Raises:
        ValueError: another format version, or a file that is missing, truncated or changed; names it.
    """
    folder = Path(folder)
    again = "Save it again or, if it came from the Hub, download it again with force_download=True."
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version = content["format_version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / MANIFEST}: cannot be read ({error!r}). {again}") from error
    if version != format_version:
        raise ValueError(
            f"{folder}: has format version {version}, this version of hf_asd reads {format_version}; "
            f"{'upgrade hf_asd' if version > format_version else 'fit the detector again'}."
        )
    for name, told in content["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: is missing, {MANIFEST} lists it. {again}")
        size = path.stat().st_size
        if size < told["bytes"]:
            raise ValueError(f"{path}: is truncated, {size} of {told['bytes']} bytes are there. {again}")
        found = _checksum(path)["sha256"]
        if found != told["sha256"]:
            raise ValueError(
                f"{path}: was changed after the detector was saved: its SHA-256 is {found}, {MANIFEST} says "
                f"{told['sha256']}. Do not trust it. {again}"
            )
    return content


def publishable_files(folder: str | Path) -> dict[str, Path]:
    """The files of a folder that may be published, by their path below it: weights, JSON, YAML, parquet, cards."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.suffix in PUBLISHED]
    return {path.relative_to(folder).as_posix(): path for path in files}


def detector_files(folder: str | Path) -> dict[str, Path]:
    """A detector's files by their path in its folder: what it is loaded from and what was found out about it; nothing
    else that lies there."""
    folder = Path(folder)
    listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    return {name: folder / name for name in (MANIFEST, *listed, *RECORDS) if (folder / name).is_file()}


def check_same_kind(api: HfApi, repo_id: str, mark: str, repo_type: str = "model") -> None:
    """
    Raises:
        HubError: the repository is not empty and lacks the file that tells what it holds.
    """
    there = set(api.list_repo_files(repo_id, repo_type=repo_type)) - DEFAULT_REPO_FILES
    if there and mark not in there:
        raise HubError(
            f"{repo_id}: is there already and holds something else ({', '.join(sorted(there)[:5])}). Choose another "
            "name; a repository that is there is only replaced by a new version of the same thing."
        )


def push_files(
    repo_id: str,
    files: Callable[[str], dict[str, Path | bytes]],
    *,
    mark: str,
    commit_message: str,
    private: bool | None = True,
    revision: str | None = None,
    token: str | None = None,
    **repo,
) -> str:
    """
    Publishes files in one commit: what is on the Hub is the old state or the new one, never half of each. An upload
    that was interrupted sends only the rest when it is repeated.

    Args:
        repo_id (`str`): `"ORG/NAME"`, or `"NAME"` for one of your own. Made where it is not there; all files of one
            that holds the same kind of thing are replaced.
        files (`Callable`): from the repository's full id to its files, path -> content or where the content lies.
        mark (`str`): the file that tells that a repository holds the same kind of thing.
        commit_message (`str`): of the commit.
        private (`bool`, *optional*, defaults to `True`): whether only you see a repository that is made now.
        revision (`str`, *optional*): branch to push to, made where it is not there; `main` by default.
        token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.
        repo: `repo_type` and `space_sdk`, as for `huggingface_hub.create_repo`.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses or cannot be reached, or the repository holds something else; nothing is published.
    """
    api, repo_type = HfApi(token=token), repo.get("repo_type", "model")
    with hub_errors(repo_id), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="It seems that you are about to commit a data file"
        )  # scores.parquet
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True, **repo).repo_id
        check_same_kind(api, repo_id, mark, repo_type)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        new = files(repo_id)
        stale = (
            set(api.list_repo_files(repo_id, revision=revision, repo_type=repo_type)) - DEFAULT_REPO_FILES - set(new)
        )
        additions = [CommitOperationAdd(path, content) for path, content in new.items()]
        api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(path) for path in sorted(stale))],
            commit_message=commit_message,
            repo_type=repo_type,
            revision=revision,
        )
    return repo_id
