"""The lock of every folder that is written to: held, without support, without permission."""

import errno
import fcntl

import filelock
import pytest

from benchmark.results import run_folder as runs
from bgknown.errors import StorageError
from bgknown.jobs import locking
from bgknown.mixtures.build import open_workspace
from pretrain.config import read_config
from pretrain.corpus import open_corpus
from pretrain.ranks import ALONE
from pretrain.state import Run
from tests.pretrain.made import make_corpus


def claim_workspace(out):
    return open_workspace(out).claim({"name": "x"})


def claim_results(out):
    return runs.claim(out)


def claim_run(out):
    return Run.claim(out, read_config("smoke"), open_corpus(make_corpus(out.parent / "corpus")), ALONE)


CLAIMS = pytest.mark.parametrize("claim", [claim_workspace, claim_results, claim_run])


@CLAIMS
@pytest.mark.parametrize(
    "error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "No locks available"), OSError(errno.ENOTSUP, "x")]
)
def test_a_file_system_without_locks_is_explained(claim, error, tmp_path, monkeypatch):
    def refuse(lock):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    message = r"out.*: its file system has no locks .*; give another --out, on a file system that has locks"
    with pytest.raises(StorageError, match=message), claim(tmp_path / "out"):
        pass


def test_a_refusal_that_looks_like_a_lock_that_is_held_is_explained(tmp_path, monkeypatch):
    """Versions of filelock before 3.20 wait for a file system that will never give a lock."""

    def wait(lock):
        raise filelock.Timeout(lock.lock_file)

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "lock").touch()
    monkeypatch.setattr(filelock.FileLock, "acquire", wait)
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="has no locks"), locking.hold(tmp_path / "lock", busy="held"):
        pass


@CLAIMS
def test_a_folder_that_cannot_be_written_names_the_option(claim, tmp_path, monkeypatch):
    def refuse(lock):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(StorageError, match=r"permission denied: .*; give another --out"), claim(tmp_path / "out"):
        pass


def test_a_lock_that_is_held_is_the_message_of_its_place(tmp_path):
    with (
        locking.hold(tmp_path / "lock", busy="held"),
        pytest.raises(StorageError, match=r"^another one has it$"),
        locking.hold(tmp_path / "lock", busy="another one has it"),
    ):
        pass


def test_a_lock_is_free_again_after_a_failure(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locking.hold(tmp_path / "lock", busy="held"):
            raise ZeroDivisionError
