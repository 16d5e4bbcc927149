import errno
import os

import pytest

from bgknown.errors import StorageError
from bgknown.jobs import files


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


def test_the_rest_of_what_a_full_disk_took_in_part_is_not_lost_in_silence(tmp_path, monkeypatch):
    real, pieces = os.write, iter([3, 4])

    def write(descriptor, data):
        taken = next(pieces, None)
        if taken is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:taken])

    (tmp_path / "x").touch()
    monkeypatch.setattr(files.os, "write", write)
    files.append(tmp_path / "x", b"1,2,34\n")
    assert (tmp_path / "x").read_bytes() == b"1,2,34\n"
    with pytest.raises(StorageError, match="x: the disk is full"):
        files.append(tmp_path / "x", b"d,e,f\n")


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file of this name is in the way"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="a part of this path is a file"):
        files.make_folder(tmp_path / "file" / "below")


def test_a_planted_link_is_not_written_through(tmp_path, monkeypatch):
    (tmp_path / "victim").write_bytes(b"precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".x.guessed.part").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="a file of this name is in the way"):
        files.write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_the_unfinished_file_has_another_name_each_time(tmp_path):
    seen = set()
    for _ in range(3):
        finish = files.write_aside(tmp_path / ("x" * 250), b"new")
        (part,) = [path for path in tmp_path.iterdir() if files.is_part(path)]
        seen.add(part.name)
        finish()
    assert len(seen) == 3
    assert not any(str(os.getpid()) in name.split(".")[2] for name in seen)


def test_the_mode_is_what_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_whole(tmp_path / "x", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("write", [files.append_line, lambda path, text: files.append(path, text.encode())])
def test_a_link_is_not_appended_to(tmp_path, write):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "journal").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="is a symbolic link"):
        write(tmp_path / "journal", "x")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_final_name_that_is_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "x").symlink_to(tmp_path / "victim")
    files.write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "x").is_symlink()
