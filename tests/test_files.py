"""Files are written whole or not at all."""

import pytest

from hf_asd.files import remove_leftovers, whole_file, write_text


def test_an_error_leaves_the_older_file(tmp_path):
    write_text(tmp_path / "scores.csv", "old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "scores.csv") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "scores.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    """Two archives with the same recording are unpacked at the same time by threads of one process."""
    with whole_file(tmp_path / "scores.csv") as first, whole_file(tmp_path / "scores.csv") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "scores.csv").read_text() == "first" and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    with whole_file(tmp_path / "a" / "scores.csv") as partial:
        partial.write_text("whole")
    partial.write_text("half")
    remove_leftovers(tmp_path)
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["scores.csv"]
