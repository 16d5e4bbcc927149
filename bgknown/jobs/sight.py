"""What the workers of a cluster must see and have: the folders of the command, and its software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bgknown.errors import StorageError
from bgknown.version import VERSION

_LANDMARKS = 12
_LIBRARIES = (
    "numpy", "scipy", "soundfile", "soxr", "librosa", "numba", "torch", "scaper", "jams", "pyloudnorm", "sox",
)  # fmt: skip
"""Those that a unit's bytes may depend on."""
_SAME = "all workers need the same folders under the same paths, on a shared file system"


@cache
def list_versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of Python and of the libraries that bytes may depend on, those that are installed."""
    found = [("Python", ".".join(platform.python_version_tuple()[:2]))]
    for name in _LIBRARIES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a unit that needs it says so
            continue
        found.append((name, version.partition("+")[0]))  # without the kind of build
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a worker must see: files that are only read, by size and time of change, and files with a random word."""

    read: tuple[tuple[str, int, int], ...] = ()
    """Path, bytes and time of change (ns) of some files of each folder that is read."""
    written: tuple[tuple[str, str], ...] = ()
    """Path and content of a file in each folder that is written."""
    version: str = VERSION
    """The version of this software."""
    versions: tuple[tuple[str, str], ...] = field(default_factory=list_versions)
    """Those of libraries."""


def list_landmarks(folders: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    """Some files of each folder, by size and time of change."""
    for folder in folders:
        found = 0
        for root, names, files in os.walk(folder.absolute()):
            names.sort()
            for name in sorted(files)[:3]:
                state = (Path(root) / name).stat()
                yield str(Path(root) / name), state.st_size, state.st_mtime_ns
                found += 1
            if found >= _LANDMARKS:
                break


def name_word_file(folder: Path, word: str) -> Path:
    """The file with the random word of a command, in a folder that is written; its name also says whose it is."""
    return folder.absolute() / f".seen-{socket.gethostname()}-{os.getpid()}-{word}"


def remove_lost_words(folder: Path) -> None:
    """Remove the words of commands of this machine that were killed."""
    prefix = f".seen-{socket.gethostname()}-"
    for path in folder.glob(f"{prefix}*"):
        number = path.name.removeprefix(prefix).partition("-")[0]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (OSError, ValueError):  # another user's process, or another host's name that begins like this one's
            continue


@cache
def check_sight(sight: Sight) -> None:
    """Refuse to work where folders or software are not those of the command; each process calls it once.

    Raises:
        StorageError: names this machine and what it does not see or has otherwise.
    """
    here = f"the worker on {socket.gethostname()}"
    if sight.version != VERSION:
        raise StorageError(f"{here} has bgknown {VERSION}, the command has {sight.version}; install the same version")
    ours = dict(list_versions())
    for name, version in sight.versions:
        if ours.get(name, version) != version:
            raise StorageError(
                f"{here} has {name} {ours[name]}, the command has {version}, and files could differ; install the same "
                "versions on all machines"
            )
    for path, size, changed in sight.read:
        try:
            state = os.stat(path)  # noqa: PTH116  (a text, as it travels)
        except OSError as error:
            raise StorageError(f"{here} cannot read {path} ({error.strerror}); {_SAME}") from error
        if (state.st_size, state.st_mtime_ns) != (size, changed):
            raise StorageError(f"{here} has another file at {path}; {_SAME}")
    for path, word in sight.written:
        try:
            found = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{here} does not see {Path(path).parent} as the command does; {_SAME}") from error
        if found != word:
            raise StorageError(f"{here} has another folder at {Path(path).parent}; {_SAME}")
