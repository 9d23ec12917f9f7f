"""Downloads DCASE Task 2 recordings from Zenodo: in parallel, resumed after an interruption, and verified."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from tqdm.auto import tqdm

from ...files import read_json, remove_leftovers, write_json
from .unpack import unpack
from .years import YEARS, ZenodoRecord, year_rules


logger = logging.getLogger(__name__)

ZENODO = "https://zenodo.org"
PARTS = ("dev", "train", "eval")
ATTEMPTS = 6
TIMEOUT_SECONDS = 60
WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
CHUNK_BYTES = 1 << 18
# Size of recordings relative to their archive, to check the free space before downloading.
UNPACKED_RATIO = 1.5


@dataclass(frozen=True)
class Archive:
    """One archive of a record, with its size and MD5 sum from the record."""

    name: str
    url: str
    size: int
    md5: str
    target: Path
    marker: Path

    @property
    def partial(self) -> Path:
        """The incomplete download. The MD5 sum in its name keeps parts of two versions of an archive apart."""
        return self.marker.with_name(f"{self.name}.{self.md5}.partial")


def download_dcase(
    year: int | str,
    folder: str | Path = "data",
    *,
    parts: list[str] | None = None,
    machines: list[str] | None = None,
    num_workers: int = 4,
    endpoint: str | None = None,
) -> Path:
    """
    Downloads a year of DCASE Task 2 and unpacks it. Repeat an interrupted call to continue it; nothing is requested if
    everything is there. Proxies are read from the environment (`https_proxy`, `no_proxy`).

    Args:
        year (`int` or `str`): challenge year, also as `"dcase2025"`.
        folder (`str` or `Path`, *optional*, defaults to `"data"`): gets `dcase<year>/dev_data/<machine>/` and
            `dcase<year>/eval_data/<machine>/`.
        parts (`list[str]`, *optional*): any of `"dev"` (development), `"train"` (additional training), `"eval"`
            (evaluation); defaults to all.
        machines (`list[str]`, *optional*): only these; defaults to all.
        num_workers (`int`, *optional*, defaults to 4): archives downloaded at the same time.
        endpoint (`str`, *optional*): a mirror that answers `/api/records/<number>` and
            `/records/<number>/files/<name>` like Zenodo; defaults to the environment variable `ZENODO_ENDPOINT`, else
            Zenodo.

    Returns:
        `Path`: `<folder>/dcase<year>`, for [`~hf_asd.data.dcase.loading.load_dcase`].

    Raises:
        ValueError: unknown year, part or machine; an archive that has a wrong MD5 sum, is damaged, or is unsafe to
            unpack (a path outside the folder, a link, far more than its size).
        FileNotFoundError: a record or an archive does not exist (any more).
        PermissionError: access is denied (403).
        ConnectionError: the server cannot be reached or answers with errors, after several attempts.
        OSError: there is too little free space.
    """
    year = _parse_year(year)
    records, wanted = _choose(year, parts, machines)
    endpoint = (endpoint or os.environ.get("ZENODO_ENDPOINT") or ZENODO).rstrip("/")
    root = Path(folder).absolute() / f"dcase{year}"
    missing = []
    for record in records:
        names = [name for machine, name in record.archives().items() if machine in wanted]
        lacking = [name for name in names if not _is_unpacked(_marker(root, name), root / record.folder)]
        if lacking:
            missing += _read_record(record.number, lacking, root, root / record.folder, endpoint)
    if not missing:
        return root
    (root / ".archives").mkdir(parents=True, exist_ok=True)
    # Before the threads start: two archives of a machine are unpacked into one folder at the same time.
    for target in {archive.target for archive in missing}:
        remove_leftovers(target)
    _check_space(root, missing)
    total = sum(archive.size for archive in missing)
    done = sum(_size(archive.partial) for archive in missing)
    with tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=f"dcase{year}") as progress:
        _in_parallel(missing, num_workers, progress)
    return root


def _parse_year(year: int | str) -> int:
    digits = str(year).lower().removeprefix("dcase")
    if not digits.isdigit() or int(digits) not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are {', '.join(map(str, YEARS))}.")
    return int(digits)


def _choose(year: int, parts: list[str] | None, machines: list[str] | None) -> tuple[list[ZenodoRecord], set[str]]:
    """The records of the wanted parts, and the wanted machines."""
    _check_known("part", parts, PARTS)
    records = [record for record in year_rules(year).records if record.part in (parts or PARTS)]
    known = {machine for record in records for machine in record.machines}
    _check_known("machine", machines, sorted(known))
    return records, set(machines or known)


def _check_known(what: str, wanted: list[str] | None, known: Iterable[str]) -> None:
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise ValueError(f"unknown {what} {', '.join(unknown)}; accepted are {', '.join(known)}.")


def _marker(root: Path, name: str) -> Path:
    return root / ".archives" / f"{name}.json"


def _is_unpacked(marker: Path, target: Path) -> bool:
    """Whether an archive was unpacked and all its files are still there."""
    if not marker.is_file():
        return False
    members = read_json(marker)["members"]
    return all(_size(target / name) == size for name, size in members.items())


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _read_record(number: int, names: list[str], root: Path, target: Path, endpoint: str) -> list[Archive]:
    """Archives with their size and MD5 sum from the record's metadata."""
    url = f"{endpoint}/api/records/{number}"
    try:
        content = json.loads(_with_retries(lambda: _get(url), threading.Event()))
        files = {file["key"]: (int(file["size"]), file["checksum"]) for file in content["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{url}: not the metadata of a Zenodo record ({error!r}). Is it a mirror?") from error
    archives = []
    for name in names:
        if name not in files:
            raise FileNotFoundError(
                f"{url}: record {number} has no {name}; it has {', '.join(sorted(files)) or 'nothing'}. The "
                f"organizers may have replaced it: see {ZENODO}/records/{number}."
            )
        size, checksum = files[name]
        if not re.fullmatch(r"md5:[0-9a-f]{32}", checksum):
            raise ValueError(
                f"{url}: the checksum of {name} is {checksum!r}; accepted is md5: and 32 hexadecimal digits."
            )
        address = f"{endpoint}/records/{number}/files/{urllib.parse.quote(name)}?download=1"
        archives.append(Archive(name, address, size, checksum[4:], target, _marker(root, name)))
    return archives


def _check_space(root: Path, archives: list[Archive]):
    """An archive is removed when it is unpacked, so both need space at the same time for a short time only."""
    remaining = sum(archive.size - _size(archive.partial) for archive in archives)
    needed = int(remaining + UNPACKED_RATIO * sum(archive.size for archive in archives))
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{root}: needs about {needed / 1e9:.1f} GB for {len(archives)} archives and their contents, but "
            f"{free / 1e9:.1f} GB are free. Free some space, give another folder, or fewer parts or machines.",
        )


def _in_parallel(archives: list[Archive], num_workers: int, progress: tqdm):
    """Downloads archives in threads; the first error stops all others at their next chunk."""
    stop = threading.Event()
    with ThreadPoolExecutor(num_workers) as pool:
        jobs = [pool.submit(_fetch_and_unpack, archive, progress, stop) for archive in archives]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [error for job in jobs if not job.cancelled() and (error := job.exception()) is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])


Result = TypeVar("Result")


class _Stopped(Exception):
    """Another download failed."""


class _TryAgain(Exception):
    """A problem that may be temporary."""

    def __init__(self, message: str, wait_seconds: float = 0.0):
        super().__init__(message)
        self.wait_seconds = wait_seconds


def _fetch_and_unpack(archive: Archive, progress: tqdm, stop: threading.Event):
    for old in archive.marker.parent.glob(f"{archive.name}.*.partial"):
        if old != archive.partial:
            old.unlink()  # of an older version of the record
    _fetch(archive, progress, stop)
    members = unpack(archive.partial, archive.target, archive.name)
    write_json(archive.marker, {"md5": archive.md5, "members": members})
    archive.partial.unlink()


def _fetch(archive: Archive, progress: tqdm, stop: threading.Event):
    """Downloads an archive into its partial file, a second time if its MD5 sum is wrong."""
    for last in (False, True):
        _with_retries(lambda: _fetch_rest(archive, progress, stop), stop, lambda: _size(archive.partial))
        found = _md5(archive.partial, stop)
        if found == archive.md5:
            return
        archive.partial.unlink()
        progress.update(-archive.size)
        if last:
            raise ValueError(
                f"{archive.url}: has the MD5 sum {found}, twice, but its record lists {archive.md5}. The archive on "
                "the server is damaged or was changed, or a proxy changes it; try again later or use another mirror."
            )


def _fetch_rest(archive: Archive, progress: tqdm, stop: threading.Event):
    have = _size(archive.partial)
    if have == archive.size:
        return
    with _open(archive.url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if have and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            progress.update(-have)  # the server sends the whole file again
            have = 0
        with open(archive.partial, "ab" if have else "wb") as file:
            while chunk := _read(answer, archive.url, CHUNK_BYTES):
                if stop.is_set():
                    raise _Stopped
                if have + len(chunk) > archive.size:
                    raise ValueError(f"{archive.url}: sends more than the {archive.size} bytes that its record lists.")
                have += len(chunk)
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise OSError(
                        error.errno,
                        f"{archive.partial}: cannot be written ({error.strerror}) after {have} of {archive.size} "
                        "bytes. Free some space and run the command again to continue.",
                    ) from error
                progress.update(len(chunk))
    if have < archive.size:
        raise _TryAgain(f"{archive.url}: was interrupted after {have} of {archive.size} bytes")


def _get(url: str) -> bytes:
    with _open(url) as answer:
        return _read(answer, url, None)


def _read(answer, url: str, count: int | None) -> bytes:
    try:
        return answer.read(count)
    except (OSError, HTTPException) as error:
        raise _TryAgain(f"{url}: was interrupted ({error!r})") from error


def _open(url: str, headers: dict[str, str] | None = None):
    """Opens an address. Messages name the remedy; problems that may be temporary raise `_TryAgain`."""
    request = urllib.request.Request(url, headers={"User-Agent": "hf-asd", **(headers or {})})
    try:
        # A new opener: the shared one keeps the proxies that the environment had when it was first used.
        return urllib.request.build_opener().open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(
                f"{url}: does not exist ({error.code}). There may be a new version of the record, or the mirror lacks "
                "it."
            ) from error
        if error.code in (401, 403):
            raise PermissionError(
                f"{url}: access is denied ({error.code}). The record may be restricted, or a proxy or the server "
                "blocks this address; open it in a browser to see why."
            ) from error
        if error.code == 429:
            after = error.headers.get("Retry-After", "")
            raise _TryAgain(f"{url}: too many requests (429)", float(after) if after.isdigit() else 0.0) from error
        if error.code >= 500:
            raise _TryAgain(f"{url}: the server has a problem ({error.code} {error.reason})") from error
        raise ConnectionError(f"{url}: answered {error.code} {error.reason}.") from error
    except (OSError, HTTPException) as error:
        raise _TryAgain(
            f"{url}: cannot be reached ({error}), check the network and the settings https_proxy and ZENODO_ENDPOINT"
        ) from error


def _with_retries(
    action: Callable[[], Result], stop: threading.Event, progress: Callable[[], int] = lambda: 0
) -> Result:
    """The result of `action`, repeated with growing pauses; `ATTEMPTS` failures in a row without progress end it."""
    failures = 0
    while True:
        before = progress()
        try:
            return action()
        except _TryAgain as error:
            failures = 1 if progress() > before else failures + 1
            if failures == ATTEMPTS:
                raise ConnectionError(
                    f"{error}, {ATTEMPTS} times. Run the command again later to continue."
                ) from error
            pause = min(max(error.wait_seconds, WAIT_SECONDS * 2 ** (failures - 1)), MAX_WAIT_SECONDS)
            logger.warning("%s; trying again in %.0f s", error, pause)
            stop.wait(pause)
            if stop.is_set():
                raise _Stopped from error


def _md5(file: Path, stop: threading.Event) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            if stop.is_set():
                raise _Stopped
            digest.update(chunk)
    return digest.hexdigest()
