"""Files that appear under their final names only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bgknown.errors import StorageError

PART = ".part"
"""The end of an unfinished file's name, which begins with a dot."""
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)  # Windows has neither


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """The file system's facts about a file; as long as all of them are the same, so is the file's content.

    Size and time of change alone are not enough: tools that copy, unpack or restore set the time back. Replacing a file
    changes its inode, and writing to it changes its change time, which no program can set. The reverse does not hold:
    a copy, another mount or another container gives the same content another state. Then the content's hash decides.
    """

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of change of the content, nanoseconds; programs can set it."""
    inode: int = 0
    """The file's number in its file system."""
    ctime_ns: int = 0
    """Time of the last change of the content or of these facts, nanoseconds; set by the system."""

    def facts(self) -> list[int]:
        """The four values in the order above, for a digest or a table."""
        return [self.size, self.mtime_ns, self.inode, self.ctime_ns]


def read_state(path: str | Path) -> FileState:
    """The state of a file; links are followed.

    Raises:
        OSError: there is no such file, or it cannot be accessed.
    """
    found = os.stat(path)  # noqa: PTH116  (a third of pathlib's time, and there may be 300,000 files)
    return FileState(size=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino, ctime_ns=found.st_ctime_ns)


def list_state(path: str | Path) -> list[int]:
    """The state of a file as numbers; none if it cannot be accessed, which whoever reads it will report."""
    try:
        return read_state(path).facts()
    except OSError:
        return []


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_bytes(*parts: bytes | memoryview) -> str:
    """SHA-256 of the parts one after another, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def write_whole(path: Path, *parts: bytes | memoryview, aside: Path | None = None) -> None:
    """Write aside, flush to the disk, then rename: a reader sees the old file or the new one, never a part.

    Args:
        path: final name; its folder must exist.
        parts: the file's content, one part after another.
        aside: folder for the unfinished file, on the same file system (default: the final folder).

    Raises:
        StorageError: the disk is full or refuses; nothing is left behind.
    """
    write_aside(path, *parts, aside=aside)()


def write_aside(
    path: Path, *parts: bytes | memoryview, aside: Path | None = None, flush: bool = True
) -> Callable[[], None]:
    """The first half of ``write_whole``; returns the second, which flushes and renames and may run in another thread.

    Args:
        path, parts, aside: as for ``write_whole``.
        flush: whether the second half waits for the disk; without it, a caller with many small files flushes them once.

    Raises:
        StorageError: as ``write_whole``, in either half.
    """
    try:
        part, descriptor = _new_file(aside or path.parent, path.name)
    except OSError as error:
        raise describe_storage_error(error, path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            for data in parts:
                file.write(data)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise describe_storage_error(error, path) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise

    def finish() -> None:
        try:
            if flush:
                opened = os.open(part, os.O_RDWR | _NO_LINKS)
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise describe_storage_error(error, path) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    return finish


def is_part(path: Path) -> bool:
    """Whether a file's name is that of an unfinished file, which a run that was killed may leave behind."""
    return path.name.startswith(".") and path.name.endswith(PART)


def _new_file(folder: Path, name: str) -> tuple[Path, int]:
    """A new file under a name that nobody can guess, open for writing.

    If somebody has put a link in its place, the link is not followed and the file cannot be made.
    """
    part = folder / f".{name[:40]}.{secrets.token_hex(8)}{PART}"
    return part, os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o666)


def open_own(path: Path) -> BinaryIO:
    """Open a file of this software for reading and writing; made if it is missing; a link is not followed.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666), "r+b")


def append_line(path: Path, text: str) -> None:
    """Add a line to a file that exists, in one write, so that several processes may do so.

    The line begins with a line break, so that an incomplete line before it stays separate.

    Raises:
        StorageError: the file is missing or is a link, or the disk is full.
    """
    append(path, f"\n{text}\n".encode())


def append(path: Path, data: bytes) -> None:
    """Add bytes to the end of a file that exists, in one write; a link is not followed.

    Raises:
        StorageError: the file is missing or is a link, or the disk is full; then some of the bytes may have been added.
    """
    left = memoryview(data)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | _NO_LINKS)
        try:
            while left:  # a disk that becomes full takes the first bytes without an error
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise describe_storage_error(error, path) from error


def refuse_link(path: Path) -> None:
    """Refuse a path that is a link, because its target would be opened for writing.

    Raises:
        StorageError: it is one.
    """
    if path.is_symlink():
        raise describe_storage_error(OSError(errno.ELOOP, "link"), path)


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        StorageError: it cannot be made, or a file has that name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise describe_storage_error(error, path) from error


def advise(option: str) -> str:
    """Advice for a folder that cannot be used: choose another one with an option, or with the cache's variable."""
    return "give another --cache, or set BGKNOWN_CACHE" if option == "--cache" else f"give another {option}"


@contextlib.contextmanager
def advise_option(option: str) -> Iterator[None]:
    """Add the option that chooses another folder to failures to write within.

    Raises:
        StorageError: writing failed.
    """
    try:
        yield
    except StorageError as error:
        if option in str(error):
            raise
        raise StorageError(f"{error}; {advise(option)}") from error


def sync_folder(path: Path) -> None:
    """Make the renames in a folder survive a power cut, if the system can.

    Raises:
        StorageError: the disk refuses.
    """
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise describe_storage_error(error, path) from error
    finally:
        os.close(descriptor)


def describe_storage_error(error: OSError, path: Path) -> StorageError:
    """One line for a failed file operation, with what to do."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space and run the same command again",
        errno.EDQUOT: "your quota is used up: free some space and run the same command again",
        errno.EACCES: "permission denied: choose a folder you can write to",
        errno.EPERM: "permission denied: choose a folder you can write to",
        errno.EROFS: "the file system is read-only: choose another folder",
        errno.ENOTDIR: "a part of this path is a file, not a folder",
        errno.EEXIST: "a file of this name is in the way",
        errno.ELOOP: "is a symbolic link, which is not followed for writing: delete it, or give another folder",
        errno.ENAMETOOLONG: "this name is longer than the file system allows",
    }.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"{path}: {advice}")
