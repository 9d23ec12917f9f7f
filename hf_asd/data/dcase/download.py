"""Downloads DCASE Task 2 recordings from Zenodo: resumable, in parallel, verified, and unpacked safely."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tqdm.auto import tqdm

from .unpack import unpack
from .zenodo import RECORDS


ZENODO = "https://zenodo.org"
PARTS = ("dev", "train", "eval")
ATTEMPTS = 6
TIMEOUT_SECONDS = 60
WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
CHUNK_BYTES = 1 << 18
# How much larger recordings are than their archive; only for checking the free space beforehand.
UNPACKED_RATIO = 1.5


@dataclass(frozen=True)
class Archive:
    """One archive of a record, with what the record says of it."""

    name: str
    url: str
    size: int
    md5: str
    target: Path
    marker: Path

    @property
    def partial(self) -> Path:
        """The download so far. The MD5 in its name keeps the halves of two versions of an archive apart."""
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
    Downloads a year of DCASE Task 2 and unpacks it. A call that was stopped goes on where it was; once all is there,
    nothing is requested. Proxies are those of the environment (`https_proxy`, `no_proxy`).

    Args:
        year (`int` or `str`): 2020 to 2026, also as `"dcase2025"`.
        folder (`str` or `Path`, *optional*, defaults to `"data"`): gets `dcase<year>/dev_data/<machine>/` and
            `dcase<year>/eval_data/<machine>/`.
        parts (`list[str]`, *optional*): of `"dev"` (development), `"train"` (additional training), `"eval"`
            (evaluation); all by default.
        machines (`list[str]`, *optional*): only these; all by default.
        num_workers (`int`, *optional*, defaults to 4): archives at a time.
        endpoint (`str`, *optional*): a mirror that answers `/api/records/<number>` and
            `/records/<number>/files/<name>` as Zenodo does; defaults to the environment's `ZENODO_ENDPOINT`, else
            Zenodo.

    Returns:
        `Path`: `<folder>/dcase<year>`, for [`~hf_asd.data.dcase.loading.load_dcase`].

    Raises:
        ValueError: unknown year, part or machine; an archive whose MD5 sum is wrong, that is damaged, or that holds
            what a set of recordings has no reason to hold (a path out of the folder, a link, far more than its size).
        FileNotFoundError: a record or an archive is not there (any more).
        PermissionError: access was refused (403).
        ConnectionError: the server could not be reached or answers with errors, after several attempts.
        OSError: there is too little free space.
    """
    year = _year(year)
    parts = _chosen("part", parts, PARTS)
    records = [record for record in RECORDS[year] if record.part in parts]
    known = sorted({machine for record in records for machine in record.machines})
    machines = _chosen("machine", machines, known)
    endpoint = (endpoint or os.environ.get("ZENODO_ENDPOINT") or ZENODO).rstrip("/")
    root = Path(folder).absolute() / f"dcase{year}"
    missing = []
    for record in records:
        names = [name for machine, name in record.archives().items() if machine in machines]
        lacking = [name for name in names if not _is_unpacked(_marker(root, name), root / record.folder)]
        if lacking:
            missing += _describe(record.number, lacking, root, root / record.folder, endpoint)
    if not missing:
        return root
    (root / ".archives").mkdir(parents=True, exist_ok=True)
    _check_space(root, missing)
    total = sum(archive.size for archive in missing)
    done = sum(_size(archive.partial) for archive in missing)
    with tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=f"dcase{year}") as progress:
        _in_parallel(missing, num_workers, progress)
    return root


def _year(year: int | str) -> int:
    found = re.fullmatch(r"(?:dcase)?(\d{4})", str(year).lower())
    if not found or int(found[1]) not in RECORDS:
        raise ValueError(f"year is {year!r}; accepted are {', '.join(f'dcase{known}' for known in RECORDS)}.")
    return int(found[1])


def _chosen(what: str, wanted: list[str] | None, known) -> list[str]:
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise ValueError(f"unknown {what} {', '.join(unknown)}; accepted are {', '.join(known)}.")
    return list(wanted or known)


def _marker(root: Path, name: str) -> Path:
    return root / ".archives" / f"{name}.json"


def _is_unpacked(marker: Path, target: Path) -> bool:
    """Whether an archive was unpacked and all its files are still there."""
    if not marker.is_file():
        return False
    members = json.loads(marker.read_text(encoding="utf-8"))["members"]
    return all(_size(target / name) == size for name, size in members.items())


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _describe(number: int, names: list[str], root: Path, target: Path, endpoint: str) -> list[Archive]:
    """Size and MD5 sum of archives, from the record's metadata."""
    url = f"{endpoint}/api/records/{number}"
    try:
        content = json.loads(_patiently(lambda: _get(url), threading.Event()))
        files = {file["key"]: (int(file["size"]), file["checksum"]) for file in content["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{url}: is no description of a Zenodo record ({error!r}). Is it a mirror?") from error
    archives = []
    for name in names:
        if name not in files:
            raise FileNotFoundError(
                f"{url}: record {number} has no {name}; it has {', '.join(sorted(files)) or 'nothing'}. The "
                f"organizers may have replaced it: see {ZENODO}/records/{number}."
            )
        size, checksum = files[name]
        if not re.fullmatch(r"md5:[0-9a-f]{32}", checksum):
            raise ValueError(f"{url}: the checksum of {name} is {checksum!r}; accepted is md5: and 32 hex digits.")
        address = f"{endpoint}/records/{number}/files/{urllib.parse.quote(name)}?download=1"
        archives.append(Archive(name, address, size, checksum[4:], target, _marker(root, name)))
    return archives


def _check_space(root: Path, archives: list[Archive]):
    """An archive is removed once it is unpacked, so both lie there together for a while only."""
    to_come = sum(archive.size - _size(archive.partial) for archive in archives)
    needed = int(to_come + UNPACKED_RATIO * sum(archive.size for archive in archives))
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{root}: needs about {needed / 1e9:.1f} GB for {len(archives)} archives and what they hold, but "
            f"{free / 1e9:.1f} GB are free. Free some, give another folder, or fewer parts or machines.",
        )


def _in_parallel(archives: list[Archive], num_workers: int, progress: tqdm):
    """Every archive in a thread of its own; the first error stops all others at their next chunk."""
    stop = threading.Event()
    with ThreadPoolExecutor(num_workers) as pool:
        jobs = [pool.submit(_fetch_and_unpack, archive, progress, stop) for archive in archives]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [job.exception() for job in jobs if not job.cancelled() and job.exception()]
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])


class _Stopped(Exception):
    """Another download failed."""


class _TryAgain(Exception):
    """What went wrong may be over in a while."""

    def __init__(self, message: str, wait_seconds: float = 0.0):
        super().__init__(message)
        self.wait_seconds = wait_seconds


def _fetch_and_unpack(archive: Archive, progress: tqdm, stop: threading.Event):
    for old in archive.marker.parent.glob(f"{archive.name}.*.partial"):
        if old != archive.partial:
            old.unlink()  # of a version that the record no longer has
    _fetch(archive, progress, stop)
    members = unpack(archive.partial, archive.target, archive.name)
    marker = archive.marker.with_name(f"{archive.marker.name}.partial")
    marker.write_text(json.dumps({"md5": archive.md5, "members": members}), encoding="utf-8")
    os.replace(marker, archive.marker)
    archive.partial.unlink()


def _fetch(archive: Archive, progress: tqdm, stop: threading.Event):
    """The whole archive into its partial file; one whose MD5 sum is wrong is fetched a second time."""
    for last in (False, True):
        _patiently(lambda: _fetch_rest(archive, progress, stop), stop, lambda: _size(archive.partial))
        found = _md5(archive.partial, stop)
        if found == archive.md5:
            return
        archive.partial.unlink()
        progress.update(-archive.size)
        if last:
            raise ValueError(
                f"{archive.url}: has the MD5 sum {found}, twice, but its record says {archive.md5}. The archive on "
                "the server is damaged or was changed, or a proxy changes it; try again later or another mirror."
            )


def _fetch_rest(archive: Archive, progress: tqdm, stop: threading.Event):
    have = _size(archive.partial)
    if have == archive.size:
        return
    with _open(archive.url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if have and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            progress.update(-have)  # the server sends all of it again
            have = 0
        with open(archive.partial, "ab" if have else "wb") as file:
            while chunk := _read(answer, archive.url, CHUNK_BYTES):
                if stop.is_set():
                    raise _Stopped
                if have + len(chunk) > archive.size:
                    raise ValueError(f"{archive.url}: sends more than the {archive.size} bytes that its record says.")
                have += len(chunk)
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise OSError(
                        error.errno,
                        f"{archive.partial}: cannot be written ({error.strerror}) after {have} of {archive.size} "
                        "bytes. Free some space and run the command again to go on.",
                    ) from error
                progress.update(len(chunk))
    if have < archive.size:
        raise _TryAgain(f"{archive.url}: broke off after {have} of {archive.size} bytes")


def _get(url: str) -> bytes:
    with _open(url) as answer:
        return _read(answer, url, None)


def _read(answer, url: str, count: int | None) -> bytes:
    try:
        return answer.read(count)
    except (OSError, HTTPException) as error:
        raise _TryAgain(f"{url}: broke off ({error!r})") from error


def _open(url: str, headers: dict[str, str] | None = None):
    """An open answer. Errors say what to do; what may be over in a while is a `_TryAgain`."""
    request = urllib.request.Request(url, headers={"User-Agent": "hf-asd", **(headers or {})})
    try:
        # An opener of its own: the shared one keeps the proxies that the environment had at its first use.
        return urllib.request.build_opener().open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(
                f"{url}: is not there ({error.code}). The record may have moved to a new version, or the mirror lacks "
                "it."
            ) from error
        if error.code in (401, 403):
            raise PermissionError(
                f"{url}: access was refused ({error.code}). The record may be restricted, or a proxy or the server "
                "blocks this address; open it in a browser to see why."
            ) from error
        if error.code == 429:
            after = error.headers.get("Retry-After", "")
            raise _TryAgain(f"{url}: too many requests (429)", float(after) if after.isdigit() else 0.0) from error
        if error.code >= 500:
            raise _TryAgain(f"{url}: the server is in trouble ({error.code} {error.reason})") from error
        raise ConnectionError(f"{url}: answered {error.code} {error.reason}.") from error
    except (OSError, HTTPException) as error:
        raise _TryAgain(
            f"{url}: cannot be reached ({error}), check the network and the settings https_proxy and ZENODO_ENDPOINT"
        ) from error


def _patiently(action, stop: threading.Event, gained=lambda: 0):
    """What `action` returns, after up to `ATTEMPTS` attempts in a row that gain nothing, with growing pauses."""
    failures = 0
    while True:
        before = gained()
        try:
            return action()
        except _TryAgain as error:
            failures = 1 if gained() > before else failures + 1
            if failures == ATTEMPTS:
                raise ConnectionError(
                    f"{error}, {ATTEMPTS} times. Run the command again later; what is here is kept."
                ) from error
            pause = min(max(error.wait_seconds, WAIT_SECONDS * 2 ** (failures - 1)), MAX_WAIT_SECONDS)
            tqdm.write(f"{error}; trying again in {pause:.0f} s", file=sys.stderr)
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
