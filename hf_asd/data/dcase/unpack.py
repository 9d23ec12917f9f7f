"""Unpacks a downloaded archive safely: no file outside its folder, no links, no ZIP bombs, no partial files."""

import errno
import re
import shutil
import stat
import zipfile
from pathlib import Path

from ...files import whole_file


# Recordings shrink to 40 to 95 % of their size in an archive; only digital silence shrinks to less than 1 %.
MAX_RATIO = 20
IGNORED = ("__MACOSX/", ".DS_Store")


def unpack(archive: str | Path, folder: str | Path, name: str | None = None) -> dict[str, int]:
    """
    Unpacks a ZIP archive. All members are checked before the first one is written.

    Args:
        archive (`str` or `Path`): the ZIP file.
        folder (`str` or `Path`): the target folder; files of the same name are replaced.
        name (`str`, *optional*): name of the archive in messages; defaults to its path.

    Returns:
        `dict[str, int]`: path below `folder` -> bytes.

    Raises:
        ValueError: the archive is damaged, truncated or encrypted, holds a path outside the folder, a link or another
            special file, or the same path twice, or unpacks to more than 20 times its size.
        OSError: there is too little free space.
    """
    archive, folder, name = Path(archive), Path(folder), name or str(archive)
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not _ignored(member)]
            _check(members, name, archive.stat().st_size)
            folder.mkdir(parents=True, exist_ok=True)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise OSError(
                    errno.ENOSPC,
                    f"{folder}: {name} unpacks to {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free. Free some "
                    "space and run the command again to continue.",
                )
            for member in members:
                _write(content, member, folder / member.filename)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{name}: not a valid ZIP archive ({error}). Remove it and download it again.") from error
    return {member.filename: member.file_size for member in members}


def _ignored(member: zipfile.ZipInfo) -> bool:
    return member.is_dir() or member.filename.startswith(IGNORED[0]) or member.filename.endswith(IGNORED[1])


def _check(members: list[zipfile.ZipInfo], name: str, size: int):
    seen = set()
    for member in members:
        # The original name: when reading, `zipfile` cuts names at a null byte and replaces separators.
        path = member.orig_filename
        parts = path.split("/")
        if not path or path != member.filename or ".." in parts or "" in parts or re.search(r"[\\:\0]", path):
            raise ValueError(f"{name}: holds {path!r}, a path outside its folder. Nothing was unpacked.")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            what = "a link" if kind == stat.S_IFLNK else "a special file"
            raise ValueError(f"{name}: {path!r} is {what}, but recordings are plain files. Nothing was unpacked.")
        if member.flag_bits & 1:
            raise ValueError(f"{name}: {path!r} is encrypted. Nothing was unpacked.")
        if path in seen:
            raise ValueError(f"{name}: holds {path!r} twice. Nothing was unpacked.")
        seen.add(path)
    total = sum(member.file_size for member in members)
    if total > MAX_RATIO * size:
        raise ValueError(
            f"{name}: has {size} bytes but unpacks to {total}, more than {MAX_RATIO} times as much; "
            "recordings never do. Nothing was unpacked."
        )


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path):
    with whole_file(file) as partial, content.open(member) as source, open(partial, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
