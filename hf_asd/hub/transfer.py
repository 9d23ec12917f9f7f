"""Pull and push: detectors, encoders and metrics on the Hub, each version in one commit."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from ..folders import is_filled
from ..hub_errors import HubError, hub_errors
from .manifest import DETECTOR_FOLDER, LOADED_FILES, MANIFEST, PROBE_FILE
from .package_source import PACKAGE


DEFAULT_REPO_FILES = {".gitattributes", "README.md"}  # the Hub puts them into every new repository


@dataclass(frozen=True)
class RepoKind:
    """
    What a repository holds.

    Args:
        marker_file (`str`): the file that shows that a repository holds this kind of content.
        repo_type (`str`, *optional*, defaults to `"model"`), space_sdk (`str`, *optional*): as for
            `huggingface_hub.create_repo`.
    """

    marker_file: str
    repo_type: str = "model"
    space_sdk: str | None = None


DETECTOR = RepoKind(MANIFEST)
ENCODER = RepoKind("model.safetensors")  # a detector has this file in a subfolder


def hub_id(name: str | Path | None) -> str | None:
    """The name if it is an id on the Hub; `None` for a local folder, which others cannot load."""
    return str(name) if name is not None and str(name).count("/") == 1 and not Path(name).exists() else None


def resolve_detector(detector: str | Path, revision: str | None = None, token: str | None = None, **download) -> Path:
    """
    The local folder of a detector; one on the Hub is downloaded, or taken from the cache.

    Args:
        detector (`str` or `Path`): a folder, or an id on the Hub.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.
        download: further options of `huggingface_hub.snapshot_download`, such as `cache_dir` or `force_download`.

    Returns:
        `Path`: the folder.

    Raises:
        FileNotFoundError: the folder does not exist, or it holds no detector.
        HubError: the Hub refuses the request or cannot be reached, or the repository holds no detector.
    """
    if Path(detector).exists():
        if not is_filled(detector, DETECTOR_FOLDER):
            raise FileNotFoundError(f"{detector}: holds no {MANIFEST}; give the folder that a detector was saved in.")
        return Path(detector)
    if str(detector).count("/") != 1 or str(detector).startswith("."):
        raise FileNotFoundError(f"{detector}: there is no such folder, and it is not an id on the Hub (ORG/NAME).")
    with hub_errors(str(detector)):
        folder = snapshot_download(
            str(detector),
            revision=revision,
            token=token,
            allow_patterns=[*LOADED_FILES, PROBE_FILE],
            ignore_patterns=[f"{PACKAGE.name}/*"],  # the code beside it is for Inference Endpoints
            **download,
        )
    if not (Path(folder) / MANIFEST).is_file():
        raise HubError(f"{detector}: holds no {MANIFEST}, so it is not a detector of hf_asd. Is it an encoder?")
    return Path(folder)


def check_same_kind(api: HfApi, repo_id: str, kind: RepoKind) -> None:
    """
    Checks that a repository is empty or holds an older version of the same kind of content.

    Raises:
        HubError: the repository holds something else.
    """
    present = set(api.list_repo_files(repo_id, repo_type=kind.repo_type)) - DEFAULT_REPO_FILES
    if present and kind.marker_file not in present:
        raise HubError(
            f"{repo_id}: already exists and holds something else ({', '.join(sorted(present)[:5])}). Choose another "
            "name; an existing repository can only be replaced by a new version of the same content."
        )


def push_files(
    repo_id: str,
    files: Callable[[str], Mapping[str, Path | bytes]],
    kind: RepoKind,
    *,
    commit_message: str,
    private: bool | None = True,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """
    Publishes files in one commit, so that the repository holds the old version or the new one, never parts of both. If
    an upload was interrupted, repeat it: only the missing files are sent.

    Args:
        repo_id (`str`): `"ORG/NAME"`, or `"NAME"` for one of your own. Created if it does not exist; all files of an
            existing repository of the same kind are replaced.
        files (`Callable`): takes the repository's full id, returns path -> content or the path of a local file.
        kind ([`RepoKind`]): what the repository holds.
        commit_message (`str`): message of the commit.
        private (`bool`, *optional*, defaults to `True`): whether a repository that is created now is visible only to
            you.
        revision (`str`, *optional*): branch to push to, created if it does not exist; defaults to `main`.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses the request or cannot be reached, or the repository holds something else; then
            nothing is published.
    """
    api = HfApi(token=token)
    with hub_errors(repo_id), warnings.catch_warnings():
        # scores.parquet is meant to be in the commit.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        created = api.create_repo(
            repo_id, private=private, exist_ok=True, repo_type=kind.repo_type, space_sdk=kind.space_sdk
        )
        repo_id = created.repo_id
        check_same_kind(api, repo_id, kind)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, repo_type=kind.repo_type, exist_ok=True)
        new = files(repo_id)
        old = set(api.list_repo_files(repo_id, revision=revision, repo_type=kind.repo_type))
        additions = [CommitOperationAdd(path, content) for path, content in new.items()]
        deletions = [CommitOperationDelete(path) for path in sorted(old - DEFAULT_REPO_FILES - set(new))]
        api.create_commit(
            repo_id,
            [*additions, *deletions],
            commit_message=commit_message,
            repo_type=kind.repo_type,
            revision=revision,
        )
    return repo_id
