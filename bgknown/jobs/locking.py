"""One writer at a time in a folder, across processes: a lock that is released when its process ends, in any way."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from bgknown.errors import StorageError
from bgknown.jobs.files import advise, describe_storage_error, refuse_link

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def hold(path: Path, *, busy: str, option: str = "--out", wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock.

    Args:
        path: the lock's file; its folder must exist.
        busy: the message if another process holds it.
        option: the option that chooses another folder.
        wait_s: how long to wait for another process.

    Raises:
        StorageError: another process holds the lock, the folder cannot be written, or its file system has no locks.
    """
    refuse_link(path)  # it would be opened for writing
    lock = filelock.FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except (filelock.Timeout, NotImplementedError, OSError) as error:
        raise _explain(error, path, busy, option) from error
    try:
        yield
    finally:
        lock.release()


def _explain(error: Exception, path: Path, busy: str, option: str) -> StorageError:
    if isinstance(error, filelock.Timeout):
        reason = _find_refusal(path)  # older versions of filelock treat every refusal as a lock that is held
    elif isinstance(error, OSError) and error.errno not in _WITHOUT_LOCKS:
        return StorageError(f"{describe_storage_error(error, path.parent)}; {advise(option)}")
    else:
        reason = str(getattr(error, "strerror", None) or error)
    if not reason:
        return StorageError(busy)
    return StorageError(
        f"{path.parent}: its file system has no locks ({reason}), which prevent two processes from writing at once; "
        f"{advise(option)}, on a file system that has locks"
    )


def _find_refusal(path: Path) -> str:
    """Why the file system refuses a lock; empty if another process holds it."""
    try:
        import fcntl  # noqa: PLC0415  (not on Windows)

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            return os.strerror(error.errno or 0)
    except ImportError:
        pass
    return ""
