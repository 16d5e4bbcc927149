import errno
import os

import pytest

from bgknown import files
from bgknown.errors import StorageError


def test_a_file_is_replaced_whole(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    files.write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "your quota is used up"), (errno.EACCES, "permission denied")],
)
def test_a_failure_leaves_the_old_file_and_says_what_to_do(tmp_path, monkeypatch, code, advice):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(StorageError, match=f"x: {advice}"):
        files.write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file of this name is in the way"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="a part of this path is a file"):
        files.make_folder(tmp_path / "file" / "below")
