"""Unpacking what is not to be trusted, and what needs more space than there is."""

import errno
import io
import zipfile

import numpy as np
import pytest

from hf_asd.data.dcase import unpack
from hf_asd.files import whole_file


CLIP = "fan/train/section_00_source_train_normal_0000_n_A.wav"


def archive_of(files: dict) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


class Free:
    """As much of `shutil.disk_usage`'s result as is read."""

    free = 1000


def test_a_path_twice_and_a_lying_size_are_refused(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("fan/a.wav", b"1")
        archive.writestr("fan/a.wav", b"2")
    (tmp_path / "twice.zip").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="twice.zip: holds 'fan/a.wav' twice"):
        unpack.unpack(tmp_path / "twice.zip", tmp_path / "out")
    # The directory says fewer bytes than the member unpacks to: not one more is written, and the sum gives it away.
    whole = bytearray(archive_of({"fan/a.wav": b"ab" * 500}))
    place = whole.index(b"PK\x01\x02") + 24
    whole[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "lie.zip").write_bytes(whole)
    with pytest.raises(ValueError, match="lie.zip: not a valid ZIP archive"):
        unpack.unpack(tmp_path / "lie.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "fan" / "a.wav").exists()


def test_other_systems_leftovers_and_folders_are_left_out(tmp_path):
    whole = archive_of(
        {
            "fan/": b"",
            CLIP: np.random.default_rng(0).bytes(20_000),
            "__MACOSX/fan/._a.wav": b"x",
            "fan/train/.DS_Store": b"x",
        }
    )
    (tmp_path / "mac.zip").write_bytes(whole)
    assert unpack.unpack(tmp_path / "mac.zip", tmp_path / "out") == {CLIP: 20_000}
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [CLIP.split("/")[-1]]


def test_space_for_what_an_archive_holds_is_checked_before_unpacking(tmp_path, monkeypatch):
    (tmp_path / "big.zip").write_bytes(archive_of({CLIP: np.random.default_rng(0).bytes(20_000)}))
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: Free)
    with pytest.raises(OSError, match="big.zip unpacks to 0.00 GB, but 0.00 GB are free") as caught:
        unpack.unpack(tmp_path / "big.zip", tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC and not any((tmp_path / "out").iterdir())


def test_what_another_thread_is_writing_stays(tmp_path):
    """The additional and the evaluation archive of a machine are unpacked into one folder at the same time."""
    (tmp_path / "one.zip").write_bytes(archive_of({CLIP: np.random.default_rng(0).bytes(20_000)}))
    with whole_file(tmp_path / "out" / "fan" / "train" / "other.wav") as partial:
        partial.write_bytes(b"1")
        unpack.unpack(tmp_path / "one.zip", tmp_path / "out")
    assert (tmp_path / "out" / "fan" / "train" / "other.wav").read_bytes() == b"1"
