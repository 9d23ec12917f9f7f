"""A watched folder as it really is: slow writers, other clocks, replaced files, storage that goes away."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd.detection.monitoring import arrivals as module
from hf_asd.detection.monitoring.arrivals import Arrivals
from hf_asd.detection.monitoring.state import StateFile
from hf_asd.detection.monitoring.windows import Fault


SETTLE = 10.0


class Watch:
    """Looks at a folder every half second of a clock of its own."""

    def __init__(self, folder: Path, subfolders: bool = True, state: Path | None = None):
        file = None if state is None else StateFile(state, str(folder))
        self.folder, self.arrivals, self.now = folder, Arrivals(str(folder), subfolders, SETTLE, file), 0.0

    def for_seconds(self, seconds: float) -> list[str]:
        """What was given in that time: names of recordings, and `name: error`."""
        found, end = [], self.now + seconds
        while self.now < end:
            self.now += 0.5
            for one in self.arrivals.look(self.now):
                path = one.source if isinstance(one, Fault) else one
                name = os.path.relpath(path, self.folder)
                found.append(f"{name}: {one.error}" if isinstance(one, Fault) else name)
        return found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, seed: int = 0, seconds: float = 1.0) -> bytes:
    path.parent.mkdir(exist_ok=True, parents=True)
    soundfile.write(path, hum(np.random.default_rng(seed), seconds=seconds), RATE)
    return path.read_bytes()


def test_a_whole_recording_is_given_once_when_it_is_at_rest(folder):
    write(folder / "a.wav")
    watch = Watch(folder)
    assert watch.for_seconds(1.5) == []
    assert watch.for_seconds(2) == ["a.wav"]
    assert watch.for_seconds(30) == []


def test_those_that_arrive_at_once_come_by_name(folder):
    for name in ("b.wav", "day 2/a.wav", "a.flac", "day 1/z.wav"):
        write(folder / name)
    assert Watch(folder).for_seconds(3) == ["a.flac", "b.wav", "day 1/z.wav", "day 2/a.wav"]


@pytest.mark.parametrize("hours", [-24 * 365 * 20, -1, 1, 24 * 365 * 10])
def test_no_clock_counts(folder, hours):
    watch = Watch(folder)
    watch.for_seconds(1)
    for number in range(2):
        write(folder / f"{number}.wav", number)
        moment = time.time() + 3600 * hours
        os.utime(folder / f"{number}.wav", (moment, moment))
        assert watch.for_seconds(4) == [f"{number}.wav"]


def test_a_writer_that_pauses_for_five_seconds(folder):
    content = write(folder / "a.wav")
    watch = Watch(folder)
    for share in (0.001, 0.3, 0.6):
        (folder / "a.wav").write_bytes(content[: int(share * len(content))])
        assert watch.for_seconds(5) == []
    (folder / "a.wav").write_bytes(content)
    assert watch.for_seconds(3) == ["a.wav"]


def test_a_length_that_the_header_does_not_say_needs_a_longer_rest(folder):
    content = write(folder / "a.wav")
    content = content[:4] + bytes(4) + content[8:40] + bytes(4) + content[44:]
    watch = Watch(folder)
    for share in (0.3, 0.6, 1.0):
        (folder / "a.wav").write_bytes(content[: int(share * len(content))])
        assert watch.for_seconds(5) == []
    assert watch.for_seconds(SETTLE) == ["a.wav"]


def test_a_length_that_was_reserved_as_zeros_needs_a_longer_rest(folder):
    content = write(folder / "a.wav")
    (folder / "a.wav").write_bytes(content[:20_000] + bytes(len(content) - 20_000))
    watch = Watch(folder)
    assert watch.for_seconds(5) == []
    (folder / "a.wav").write_bytes(content)
    assert watch.for_seconds(3) == ["a.wav"]


def test_what_stays_cut_off_is_an_error_and_is_read_when_it_is_complete(folder):
    content = write(folder / "a.wav")
    (folder / "a.wav").write_bytes(content[:20_000])
    watch = Watch(folder)
    assert watch.for_seconds(SETTLE - 1) == []
    (found,) = watch.for_seconds(30)
    assert found.startswith("a.wav: ") and "19956 of 32000 bytes" in found
    (folder / "a.wav").write_bytes(content)
    assert watch.for_seconds(30) == ["a.wav"]


def test_names_that_are_not_ready(folder):
    for name in (".a.wav", "._a.wav", "a.wav.part", "a.wav.tmp", "a.wav.partial", "a.wav.crdownload", "a.txt"):
        (folder / name).write_bytes(b"half")
    watch = Watch(folder)
    assert watch.for_seconds(30) == []
    write(folder / "whole.wav")
    (folder / "whole.wav").rename(folder / ".whole.wav")
    assert watch.for_seconds(5) == []
    (folder / ".whole.wav").rename(folder / "a.wav")
    assert watch.for_seconds(5) == ["a.wav"]


def test_a_temporary_name_that_looks_like_a_recording(folder):
    write(folder / "temporary.wav")
    watch = Watch(folder)
    assert watch.for_seconds(1) == []
    (folder / "temporary.wav").rename(folder / "a.wav")
    assert watch.for_seconds(30) == ["a.wav"]


@pytest.mark.parametrize("is_renamed", [False, True])
@pytest.mark.parametrize("keeps_time", [False, True])
def test_another_recording_of_the_same_name_and_length_is_new(folder, is_renamed, keeps_time):
    path = folder / "a.wav"
    content = write(path)
    status = path.stat()
    watch = Watch(folder)
    assert watch.for_seconds(5) == ["a.wav"]
    other = content[:16_000] + b"\0\x7f" + content[16_002:]  # a click in the middle
    (folder / ".other").write_bytes(other)
    if is_renamed:
        (folder / ".other").rename(path)
    else:
        path.write_bytes(other)
    if keeps_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert watch.for_seconds(5) == ["a.wav"]
    assert watch.for_seconds(30) == []


def test_a_recording_that_was_touched_or_written_again_or_moved_is_not_new(folder):
    content = write(folder / "a.wav")
    watch = Watch(folder)
    assert watch.for_seconds(5) == ["a.wav"]
    os.utime(folder / "a.wav", (0, 0))
    assert watch.for_seconds(30) == []
    (folder / "a.wav").write_bytes(content)
    assert watch.for_seconds(30) == []
    (folder / "done").mkdir()
    (folder / "a.wav").rename(folder / "done" / "b.wav")
    assert watch.for_seconds(30) == []


def test_two_recordings_with_the_same_samples_are_two(folder):
    silence = np.zeros(RATE, np.float32)
    soundfile.write(folder / "a.wav", silence, RATE)
    watch = Watch(folder)
    assert watch.for_seconds(15) == ["a.wav"]
    soundfile.write(folder / "b.wav", silence, RATE)
    assert watch.for_seconds(15) == ["b.wav"]
    (folder / "a.wav").unlink()
    soundfile.write(folder / "c.wav", silence, RATE)
    assert watch.for_seconds(15) == ["c.wav"]


def test_a_folder_that_is_away_for_a_while(folder):
    write(folder / "a.wav")
    watch = Watch(folder)
    assert watch.for_seconds(5) == ["a.wav"]
    write(folder / "b.wav", 1)
    watch.for_seconds(0.5)
    found = []
    for _ in range(2):
        folder.rename(folder.with_name("gone"))
        assert watch.for_seconds(3600) == [
            ".: the folder cannot be read: No such file or directory; waiting until it is back."
        ]
        folder.with_name("gone").rename(folder)
        write(folder / "c.wav", 2)
        found += watch.for_seconds(0.5)
    assert found + watch.for_seconds(5) == ["b.wav", "c.wav"]


def test_a_folder_that_was_unmounted_and_comes_back_as_another_file_system(folder, monkeypatch):
    contents = {name: write(folder / name, seed) for seed, name in enumerate(("a.wav", "b.wav"))}
    is_mounted = True
    monkeypatch.setattr(module.os.path, "ismount", lambda path: is_mounted)
    watch = Watch(folder)
    assert watch.for_seconds(5) == ["a.wav", "b.wav"]
    write(folder / "c.wav", 3)
    watch.for_seconds(0.5)
    is_mounted = False
    for path in folder.iterdir():
        path.unlink()
    assert watch.for_seconds(60) == [".: the folder is no longer mounted; waiting until it is back."]
    is_mounted = True
    for name, content in contents.items():  # other file numbers and times
        (folder / name).write_bytes(content)
    write(folder / "c.wav", 3)
    assert watch.for_seconds(60) == ["c.wav"]


def test_a_file_that_is_removed_before_it_was_decided(folder):
    write(folder / "a.wav")
    watch = Watch(folder)
    watch.for_seconds(1)
    (folder / "a.wav").unlink()
    (found,) = watch.for_seconds(30)
    assert found == "a.wav: is gone before it was decided: it was removed, or is a link to nothing."
    write(folder / "a.wav")
    assert watch.for_seconds(5) == ["a.wav"]


def test_a_file_that_is_removed_between_two_calls(folder, monkeypatch):
    write(folder / "a.wav")
    write(folder / "b.wav", 1)
    take_stamp = module.list_recordings.__globals__["take_stamp"]

    def remove_first(path: str):
        if path.endswith("a.wav"):
            Path(path).unlink(missing_ok=True)
        return take_stamp(path)

    monkeypatch.setitem(module.list_recordings.__globals__, "take_stamp", remove_first)
    found = Watch(folder).for_seconds(30)
    assert found[0] == "b.wav" and found[1].startswith("a.wav: is gone") and len(found) == 2


def test_files_that_cannot_be_read(folder):
    (folder / "text.wav").write_text("not a recording")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "link.wav").symlink_to("nothing.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "link to a device.wav").symlink_to("/dev/zero")
    write(folder / "whole.wav")
    first, *others = Watch(folder).for_seconds(60)
    assert first == "whole.wav"
    found = dict(one.split(": ", maxsplit=1) for one in others)
    names = ["empty.wav", "link to a device.wav", "link.wav", "loop.wav", "pipe.wav", "text.wav"]
    assert sorted(found) == names and len(others) == len(names)
    assert "0 bytes" in found["empty.wav"] and "link to nothing" in found["link.wav"]
    assert "not a file but a device" in found["link to a device.wav"]


def test_what_storage_could_not_give_is_tried_again(folder, monkeypatch):
    write(folder / "a.wav")
    watch = Watch(folder)
    content_of = module.content_of

    def broken(path: str):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "content_of", broken)
    assert watch.for_seconds(30) == ["a.wav: cannot be read: Input/output error."]
    monkeypatch.setattr(module, "content_of", content_of)
    folder.rename(folder.with_name("gone"))
    assert len(watch.for_seconds(5)) == 1
    folder.with_name("gone").rename(folder)
    assert watch.for_seconds(5) == ["a.wav"]
    assert not watch.arrivals.put_back(str(folder / "a.wav"))  # the fault lay in the recording
    assert watch.for_seconds(30) == []
    monkeypatch.setattr(module, "content_of", broken)
    assert watch.arrivals.put_back(str(folder / "a.wav"))  # the fault lay in the storage
    monkeypatch.setattr(module, "content_of", content_of)
    assert watch.for_seconds(30) == ["a.wav"]


def test_a_folder_that_goes_away_during_a_look(folder, monkeypatch):
    """As when hundreds of recordings are read again on another file system: only the folder is at fault."""
    for number in range(4):
        write(folder / f"{number}.wav", number)
    watch = Watch(folder)
    assert len(watch.for_seconds(5)) == 4
    write(folder / "4.wav", 4)
    (folder / "text.wav").write_text("not a recording")
    os.mkfifo(folder / "pipe.wav")
    assert sorted(one.partition(":")[0] for one in watch.for_seconds(60)) == ["4.wav", "pipe.wav", "text.wav"]
    write(folder / "new.wav", 5)
    for path in folder.iterdir():
        os.utime(path, (0, 0))  # all of them look different
    watch.for_seconds(1)
    content_of, opened = module.content_of, []

    def leave_after_two(path: str):
        opened.append(path)
        if len(opened) == 3:
            folder.rename(folder.with_name("gone"))
        return content_of(path)

    monkeypatch.setattr(module, "content_of", leave_after_two)
    watch.now += 3600  # what the last look took
    (found,) = watch.for_seconds(30)
    assert "the folder cannot be read" in found and len(opened) > 3
    folder.with_name("gone").rename(folder)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert watch.for_seconds(60) == ["new.wav"]


def test_faults_are_not_repeated_when_the_folder_comes_back(folder):
    (folder / "link.wav").symlink_to("nothing.wav")
    (folder / "text.wav").write_text("not a recording")
    write(folder / "removed.wav")
    watch = Watch(folder)
    watch.for_seconds(1)
    (folder / "removed.wav").unlink()
    assert len(watch.for_seconds(30)) == 3
    for _ in range(2):
        folder.rename(folder.with_name("gone"))
        assert len(watch.for_seconds(5)) == 1
        folder.with_name("gone").rename(folder)
        assert watch.for_seconds(30) == []
    write(folder / "removed.wav")
    watch.for_seconds(1)
    (folder / "removed.wav").unlink()
    assert len(watch.for_seconds(30)) == 1  # another one


def test_subfolders(folder):
    for name in ("a.wav", "day/b.wav", ".Trashes/c.wav", "$RECYCLE.BIN/d.wav", "@eaDir/e.wav", "day/deep/f.wav"):
        write(folder / name)
    write(folder / "download" / "g.wav")
    (folder / "day" / "circle").symlink_to(folder)
    assert Watch(folder).for_seconds(5) == ["a.wav", "day/b.wav", "day/deep/f.wav", "download/g.wav"]
    assert Watch(folder, subfolders=False).for_seconds(5) == ["a.wav"]


def test_a_subfolder_that_cannot_be_read(folder, monkeypatch):
    write(folder / "a.wav")
    write(folder / "day" / "b.wav", 1)
    scandir, is_open = os.scandir, False

    def refuse(path: str):
        if path.endswith("day") and not is_open:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    watch = Watch(folder)
    assert watch.for_seconds(30) == [
        "day: this subfolder cannot be read: Permission denied; the others are watched.",
        "a.wav",
    ]
    is_open = True
    assert watch.for_seconds(5) == ["day/b.wav"]


def test_a_subfolder_that_is_removed_during_a_look_is_no_fault(folder, monkeypatch):
    write(folder / "a.wav")
    write(folder / "done" / "b.wav", 1)
    scandir = os.scandir

    def remove(path: str | int):
        if str(path).endswith("done"):  # rmtree gives a number
            shutil.rmtree(path)
        return scandir(path)

    watch = Watch(folder)
    assert watch.for_seconds(30) == ["a.wav", "done/b.wav"]
    monkeypatch.setattr(os, "scandir", remove)
    assert watch.for_seconds(30) == []


def test_without_waiting_everything_is_taken_as_it_is(folder):
    content = write(folder / "a.wav")
    (folder / "cut.wav").write_bytes(content[:20_000])
    found = list(Arrivals(str(folder), True, 0.0).look(0.0))
    assert found[0] == str(folder / "a.wav")
    assert isinstance(found[1], Fault) and found[1].source == str(folder / "cut.wav")


def test_the_names_that_are_remembered_are_limited(folder, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 2)
    watch = Watch(folder)
    for number in range(6):
        write(folder / f"{number}.wav", number)
        assert watch.for_seconds(4) == [f"{number}.wav"]
        if number < 5:
            (folder / f"{number}.wav").unlink()
    watch.for_seconds(1)
    assert [os.path.basename(path) for path in watch.arrivals.known] == ["3.wav", "4.wav", "5.wav"]


def test_a_restart_with_a_state_decides_nothing_again(folder, tmp_path):
    state = tmp_path / "state.jsonl"
    content = write(folder / "a.wav")
    write(folder / "day" / "b.wav", 1)
    (folder / "text.wav").write_text("not a recording")
    assert len(Watch(folder, state=state).for_seconds(15)) == 3
    os.utime(folder / "a.wav", (0, 0))
    write(folder / "c.wav", 2)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    assert Watch(elsewhere, state=state).for_seconds(15) == ["c.wav"]
    assert Watch(elsewhere, state=state).for_seconds(15) == []
    assert Watch(elsewhere).for_seconds(5) == ["a.wav", "c.wav", "day/b.wav"]
    (elsewhere / "a.wav").write_bytes(content[:20_000] + b"\0\x7f" + content[20_002:])
    assert Watch(elsewhere, state=state).for_seconds(15) == ["a.wav"]


def test_a_recording_enters_the_state_when_it_was_decided(folder, tmp_path):
    for number in range(2):
        write(folder / f"{number}.wav", number)
    state = tmp_path / "new folder" / "state.jsonl"
    looks = Arrivals(str(folder), True, 0.0, StateFile(state, str(folder))).look(0.0)
    assert os.path.basename(next(looks)) == "0.wav" and not state.read_text()
    assert os.path.basename(next(looks)) == "1.wav"  # the process is killed here
    state.write_text(state.read_text() + state.read_text()[:30])
    assert Watch(folder, state=state).for_seconds(5) == ["1.wav"]


def test_a_state_that_is_something_else_is_refused_and_kept(folder, tmp_path):
    content = write(tmp_path / "a.wav")
    with pytest.raises(ValueError, match=r"state is .*a.wav, which holds something else in line 1"):
        Watch(folder, state=tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == content
    (tmp_path / "note.txt").write_text("one line")
    with pytest.raises(ValueError, match="something else in line 1"):
        Watch(folder, state=tmp_path / "note.txt")
    assert (tmp_path / "note.txt").read_text() == "one line"
    with pytest.raises(OSError):
        Watch(folder, state=tmp_path)


def test_a_state_that_cannot_be_written_is_an_error_and_the_work_goes_on(folder, tmp_path, monkeypatch):
    write(folder / "a.wav")
    write(folder / "b.wav", 1)
    watch = Watch(folder, state=tmp_path / "state.jsonl")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateFile, "add", full)
    found = watch.for_seconds(5)
    assert [found[0], found[2]] == ["a.wav", "b.wav"] and "the state cannot be written: No space left" in found[1]
