"""Errors of the Hub, each in a sentence that names the remedy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


REACH_SECONDS = 10.0
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class HubError(OSError):
    """The Hub refuses a request or cannot be reached, or a downloaded file is incomplete; names the remedy."""


@contextmanager
def hub_errors(repo_id: str | None) -> Iterator[None]:
    """Turns exceptions of `huggingface_hub` into a [`HubError`] that names the remedy."""
    check_settings()
    try:
        yield
    except (OfflineModeIsEnabled, EntryNotFoundError, HTTPError, HFValidationError, RuntimeError) as error:
        # huggingface_hub raises RuntimeError when an upload to LFS fails.
        raise HubError(f"{repo_id}: {_reason(error)}") from error
    except PermissionError as error:
        raise HubError(
            f"{repo_id}: {error.filename} cannot be written to ({error.strerror}), where downloads are kept. Set "
            "HF_HOME to a folder that can be written to."
        ) from error


def check_settings() -> None:
    """
    Checks what the environment says about the Hub.

    Raises:
        HubError: a file of certificates that does not exist, or an address without `http(s)://`; names the variable.
    """
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise HubError(f"{name} is {path}; there is no such file or folder of certificates. Correct or unset it.")
    if not constants.ENDPOINT.startswith(("http://", "https://")):
        raise HubError(f"HF_ENDPOINT is {constants.ENDPOINT}; accepted is an address such as https://huggingface.co.")


def check_repo(repo_id: str, file: str, revision: str | None = None, token: str | None = None) -> Path | None:
    """
    Asks the Hub once whether a repository has a file: the requests of `huggingface_hub` and transformers are repeated
    for a minute where the Hub cannot be reached.

    Args:
        repo_id (`str`): `ORG/NAME`.
        file (`str`): such as `"config.json"`.
        revision, token (`str`, *optional*): as for `huggingface_hub.hf_hub_download`.

    Returns:
        `Path`: the folder in the cache that holds the repository, if the Hub cannot be reached; else `None`.

    Raises:
        HubError: there is no such repository or file, or the Hub cannot be reached and the cache has no copy.
    """
    with hub_errors(repo_id):
        try:
            get_hf_file_metadata(hf_hub_url(repo_id, file, revision=revision), token=token, timeout=REACH_SECONDS)
        except (OfflineModeIsEnabled, HTTPError) as error:
            cached = None if _has_answered(error) else try_to_load_from_cache(repo_id, file, revision=revision)
            if not isinstance(cached, str):
                raise
            return Path(cached).parents[file.count("/")]
    return None


def _has_answered(error: Exception) -> bool:
    return isinstance(error, HfHubHTTPError) and error.response.status_code < 500


def _reason(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, HFValidationError):
        return f"is not a valid id on the Hub ({error}). Accepted is ORG/NAME."
    if isinstance(error, OfflineModeIsEnabled) or (status is None and constants.HF_HUB_OFFLINE):
        return (
            "offline mode is on (HF_HUB_OFFLINE=1): nothing is pushed, and only cached repositories are loaded. Unset "
            "the variable, or load the repository once while online."
        )
    if isinstance(error, GatedRepoError):
        return "is gated. Ask for access on its page, then log in with `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision. Accepted are its branches, tags and commits."
    if isinstance(error, RepositoryNotFoundError):
        return (
            "there is no such repository on the Hub, or it is private and your token has no access to it. Check the "
            "name; log in with `hf auth login` or set HF_TOKEN."
        )
    if status == 401:
        return (
            f"{constants.ENDPOINT} does not accept your token, or you have none. Log in with `hf auth login` or set "
            "HF_TOKEN."
        )
    if status == 403:
        return (
            "your token has no write access there. Create a token with write access (Settings, Access Tokens), or "
            "push to a repository of your own."
        )
    if status is None and isinstance(error, HTTPError | LocalEntryNotFoundError):
        return (
            f"the Hub at {constants.ENDPOINT} cannot be reached ({str(error).splitlines()[0]}). Check the connection "
            "(behind a proxy, set HTTPS_PROXY), or give a local folder."
        )
    return f"unexpected answer of the Hub at {constants.ENDPOINT}: {error}"
