"""Results are written where the user says, whole or not at all, and can be read by whom the umask says."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hf_asd.files import check_writable, whole_file, write_text
from hf_asd.folders import (
    COMPLETE,
    FolderKind,
    check_replaceable,
    current_folder,
    finish_replacement,
    is_filled,
    read_whole,
    replaced_folder,
)


OLD, NEW = {"bank": "old", "encoder/config.json": "old"}, {"bank": "new", "report.html": "new"}
THING = FolderKind(
    "thing", "marker.json", lambda name: name in ("marker.json", "bank", "report.html") or name.startswith("encoder/")
)
needs_posix = pytest.mark.skipif(os.name != "posix", reason="devices, links and permissions as on POSIX systems")
needs_user = pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "marker.json").write_text(json.dumps(files))


def replace(folder: Path, files: dict[str, str]) -> None:
    with replaced_folder(folder, THING) as partial:
        fill(partial, files)


def content(folder: Path) -> dict[str, str]:
    """What a reader finds, without the marker."""
    current = current_folder(folder, THING)
    names = (file.relative_to(current).as_posix() for file in current.rglob("*") if file.is_file())
    return {name: (current / name).read_text() for name in sorted(names) if THING.owns(name) and name != "marker.json"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_posix
def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "monday.csv").write_text("old")
    (tmp_path / "latest.csv").symlink_to("archive/monday.csv")
    write_text(tmp_path / "latest.csv", "new")
    assert os.readlink(tmp_path / "latest.csv") == "archive/monday.csv"
    assert (tmp_path / "archive" / "monday.csv").read_text() == "new"
    (tmp_path / "next.csv").symlink_to("later/tuesday.csv")  # leads nowhere yet
    write_text(tmp_path / "next.csv", "new")
    assert (tmp_path / "next.csv").is_symlink() and (tmp_path / "later" / "tuesday.csv").read_text() == "new"


@needs_posix
def test_a_fifo_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "a line\n")
    reader.join()
    assert heard == ["a line\n"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


@needs_posix
def test_a_device_is_written_to(tmp_path):
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_text("")
    except OSError:
        pytest.skip("devices can be made by root alone, and not in every container")
    write_text(null, "gone")
    with whole_file(null) as place:
        assert place == null
    assert stat.S_ISCHR(null.stat().st_mode)
    (tmp_path / "link").symlink_to("null")
    write_text(tmp_path / "link", "gone")
    assert (tmp_path / "link").is_symlink() and stat.S_ISCHR(null.stat().st_mode)


@needs_posix
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_follow_the_umask_also_where_safetensors_writes(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "bank.safetensors") as partial:
            save_file({"bank": torch.zeros(2)}, partial)
        with replaced_folder(tmp_path / "thing", THING) as partial:
            save_file({"bank": torch.zeros(2)}, partial / "bank")
            write_text(partial / "marker.json", "whole")
    finally:
        os.umask(before)
    files = [tmp_path / "bank.safetensors", tmp_path / "thing" / "bank", tmp_path / "thing" / "marker.json"]
    assert [mode(file) for file in files] == [expected] * 3


@needs_posix
def test_an_older_file_and_folder_keep_their_permissions(tmp_path):
    write_text(tmp_path / "result.csv", "old")
    (tmp_path / "result.csv").chmod(0o640)
    write_text(tmp_path / "result.csv", "new")
    replace(tmp_path / "thing", OLD)
    (tmp_path / "thing").chmod(0o2770)
    replace(tmp_path / "thing", NEW)
    assert mode(tmp_path / "result.csv") == 0o640 and mode(tmp_path / "thing") == 0o2770


def test_a_long_name_can_be_written(tmp_path):
    name = "ü" * 125 + ".csv"
    write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    assert write_text(tmp_path / "a.csv", "a\udcff.wav").read_bytes() == b"a\\udcff.wav"


@pytest.mark.parametrize("others", [False, True])
def test_a_folder_is_replaced_as_a_whole(tmp_path, others):
    folder = tmp_path / "thing"
    replace(folder, OLD)
    if others:
        (folder / "notes.txt").write_text("mine")
        (folder / "encoder" / "notes.txt").mkdir()
        (folder / "empty").mkdir()
    inode = folder.stat().st_ino
    replace(folder, NEW)
    assert content(folder) == NEW
    if others:
        assert (folder / "notes.txt").read_text() == "mine"
        assert (folder / "encoder" / "notes.txt").is_dir() and (folder / "empty").is_dir()
    elif sys.platform == "linux":
        assert folder.stat().st_ino != inode, "the folders exchanged their names"
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]


def test_a_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    replace(tmp_path / "thing", OLD)
    monkeypatch.setattr("hf_asd.folders._exchange", lambda new, old: False)
    replace(tmp_path / "thing", NEW)
    assert content(tmp_path / "thing") == NEW and not (tmp_path / "thing" / "encoder").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]


def test_a_folder_is_replaced_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    replace(tmp_path / "thing", OLD)
    (tmp_path / "thing" / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "link", refuse)
    replace(tmp_path / "thing", NEW)
    assert content(tmp_path / "thing") == NEW and (tmp_path / "thing" / "notes.txt").read_text() == "mine"


@needs_posix
def test_a_link_to_a_folder_stays(tmp_path):
    replace(tmp_path / "november", OLD)
    (tmp_path / "current").symlink_to("november")
    replace(tmp_path / "current", NEW)
    assert (tmp_path / "current").is_symlink() and content(tmp_path / "november") == NEW


def test_an_error_before_the_marker_leaves_the_old_content_and_one_after_it_the_new(tmp_path):
    replace(tmp_path / "thing", OLD)
    with pytest.raises(KeyboardInterrupt), replaced_folder(tmp_path / "thing", THING) as partial:
        (partial / "bank").write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path / "thing") == OLD
    with pytest.raises(RuntimeError, match="no report"), replaced_folder(tmp_path / "thing", THING) as partial:
        fill(partial, {"bank": "new"})
        raise RuntimeError("no report")
    assert content(tmp_path / "thing") == {"bank": "new"}, "nothing of the old results stands beside the new bank"
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]


def test_a_folder_with_something_else_is_refused_before_the_work(tmp_path):
    (tmp_path / "bank").write_text("mine")
    with pytest.raises(ValueError, match="holds bank, but no marker.json, so it is not a thing"):
        check_replaceable(tmp_path, THING)
    with pytest.raises(ValueError, match="is a file; give a folder for the thing"):
        check_replaceable(tmp_path / "bank", THING)
    (tmp_path / "bank").rename(tmp_path / "recording.wav")
    replace(tmp_path, NEW)  # beside other files
    assert content(tmp_path) == NEW and (tmp_path / "recording.wav").read_text() == "mine"


def killed_at(step: int, folder: Path) -> bool:
    """Replaces a folder in another process, which is killed at the given step; `False` where it ends before it."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _) -> None:
            nonlocal left
            if event in ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod"):
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(count)
        replace(folder, NEW)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "other files", "no exchange"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_content(tmp_path, monkeypatch, way):
    if way == "no exchange":
        monkeypatch.setattr("hf_asd.folders._exchange", lambda new, old: False)
    folder, found, step = tmp_path / "thing", [], 1
    replace(folder, OLD)
    if way == "other files":
        (folder / "notes.txt").write_text("mine")
    while killed_at(step, folder):
        found.append(content(folder))
        replace(folder, OLD)
        assert content(folder) == OLD
        names = {one.name for one in folder.rglob("*")} - {"notes.txt"}
        assert names == {"marker.json", "bank", "encoder", "config.json"}, "the next save removes what was left"
        assert [one.name for one in tmp_path.iterdir()] == ["thing"]
        assert way != "other files" or (folder / "notes.txt").read_text() == "mine"
        step += 1
    assert step > 20 and all(one in (OLD, NEW) for one in found)
    assert OLD in found and NEW in found and content(folder) == NEW


def test_what_was_interrupted_while_files_took_their_places_is_finished(tmp_path):
    replace(tmp_path, OLD)
    (tmp_path / COMPLETE).mkdir()
    fill(tmp_path / COMPLETE, NEW)
    assert content(tmp_path) == NEW
    finish_replacement(tmp_path, THING)
    assert content(tmp_path) == NEW and not (tmp_path / COMPLETE).exists() and not (tmp_path / "encoder").exists()


def test_what_is_replaced_while_it_is_read_is_read_again(tmp_path):
    """By another process: the files go to their places, and then other content comes."""
    replace(tmp_path, OLD)
    (tmp_path / COMPLETE).mkdir()
    fill(tmp_path / COMPLETE, NEW)
    meanwhile = [lambda: finish_replacement(tmp_path, THING), lambda: replace(tmp_path, OLD)]
    given, found = [], []

    def read(folder: Path) -> str:
        given.append(folder)
        if len(given) == 1:
            meanwhile[0]()
        found.append((folder / "bank").read_text())
        if len(given) == 2:
            meanwhile[1]()
        return found[-1]

    assert read_whole(tmp_path, THING, read) == "old"
    assert given == [tmp_path / COMPLETE, tmp_path, tmp_path] and found == ["new", "old"]
    given.clear()
    (tmp_path / "bank").unlink()
    with pytest.raises(FileNotFoundError, match="bank"):
        read_whole(tmp_path, THING, lambda folder: given.append(folder) or (folder / "bank").read_text())
    assert given == [tmp_path], "a fault that nobody mends is told at once"


def test_a_reader_finds_content_at_every_moment(tmp_path):
    """While another process replaces it, again and again."""
    replace(tmp_path, OLD)
    (tmp_path / "notes.txt").write_text("mine")
    ended = threading.Event()

    def write() -> None:
        for number in range(60):
            replace(tmp_path, (OLD, NEW)[number % 2] | {"bank": str(number)})
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    while not ended.is_set():
        assert is_filled(tmp_path, THING)
        found.append(read_whole(tmp_path, THING, lambda folder: (folder / "bank").read_text()))
    writer.join()
    assert len(set(found)) > 1


def test_the_folder_of_a_running_process_is_not_removed(tmp_path):
    with replaced_folder(tmp_path / "thing", THING) as partial:
        fill(partial, OLD)
        replace(tmp_path / "thing", NEW)
        assert content(tmp_path / "thing") == NEW and partial.is_dir()
    assert content(tmp_path / "thing") == OLD


def test_a_full_disk_leaves_the_old_content_and_names_the_place(tmp_path, monkeypatch):
    replace(tmp_path / "thing", OLD)
    write_text(tmp_path / "result.csv", "old")
    for text in ("Error while serializing: I/O error: No space left on device (os error 28)", "no number"):
        error = OSError(errno.ENOSPC, text) if text == "no number" else RuntimeError(text)
        with pytest.raises(OSError, match="thing: cannot be written, the disk is full. What was there before is unch"):
            with replaced_folder(tmp_path / "thing", THING) as partial:
                (partial / "bank").write_text("half")
                raise error
        with pytest.raises(OSError, match="result.csv: cannot be written, the disk is full"):
            with whole_file(tmp_path / "result.csv"):
                raise error
    assert content(tmp_path / "thing") == OLD and (tmp_path / "result.csv").read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["result.csv", "thing"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB, and the folder that it is mounted on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone, and not in every container")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(small_disk):
    for folder in (small_disk, small_disk / "thing"):  # the first is a mount, which cannot change its name
        replace(folder, OLD)
        with pytest.raises(OSError, match="cannot be written, the disk is full"):
            replace(folder, {"bank": "x" * 400_000})
        with pytest.raises(OSError, match="cannot be written, the disk is full"):
            write_text(folder / "report.html", "x" * 400_000)
        assert content(folder) == OLD
    with pytest.raises(OSError), open(small_disk / "fill", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(ValueError, match="--output is .*, but .* cannot be written to .No space left on device"):
        check_writable("--output", small_disk / "other", is_folder=True)


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_place_is_checked_before_the_work(tmp_path, is_folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--csv is .*/file/x, but .*/file cannot be written to .Not a directory"):
        check_writable("--csv", tmp_path / "file" / "x", is_folder=is_folder)
    wrong = tmp_path / "file" if is_folder else tmp_path
    found = "which is a file; give a folder" if is_folder else "which is a folder; give a file"
    with pytest.raises(ValueError, match=f"--csv is .*, {found}"):
        check_writable("--csv", wrong, is_folder=is_folder)
    check_writable("--csv", tmp_path / "new" / "deep" / "x", is_folder=is_folder)
    assert [one.name for one in tmp_path.iterdir()] == ["file"], "nothing is made"


@needs_user
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(ValueError, match="--output is .*Permission denied"):
        check_writable("--output", tmp_path / "det", is_folder=True)
    tmp_path.chmod(0o755)
