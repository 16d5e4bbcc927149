"""The environment of a command: its streams, its user, and a folder for compiled code.

Containers and batch systems start commands without a home folder, as a user without a name, on a read-only install, or
with closed streams. Libraries that this software uses fail in each of these cases; this module prevents that.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bgknown.errors import NotFoundError
from bgknown.jobs import stopping
from bgknown.userpath import user_path

NUMBA_CACHE = "NUMBA_CACHE_DIR"
LENT_HOME = "BGKNOWN_LENT_HOME"
"""Set together with HOME if the user has no home folder."""


def adapt() -> None:
    """Prepare the process for a command."""
    _open_streams()
    _name_user()


def default_cache() -> Path:
    """The cache folder: ``BGKNOWN_CACHE``, or ``bgknown`` in the user's cache folder.

    Raises:
        NotFoundError: the user has no home folder.
    """
    named = os.environ.get("BGKNOWN_CACHE")
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    missing = "no home folder for the cache: give --cache DIR, or set BGKNOWN_CACHE=DIR"
    if not named and not base and LENT_HOME in os.environ:
        raise NotFoundError(missing)
    try:
        return user_path(named) if named else Path(base or Path.home() / ".cache") / "bgknown"
    except RuntimeError as error:  # no HOME, and a user that the system does not know
        raise NotFoundError(missing) from error


def prepare_libraries() -> Path | None:
    """Set a folder for numba's compiled code, and a home folder for a user without one, which libraries look into.

    It must come before numba, librosa or models are imported; processes that are started later use the same folders.
    They are in the cache folder, or else temporary. ``NUMBA_CACHE_DIR`` is respected if it is set. Numba's own choice,
    next to the source or in a folder of the user, fails on a read-only install without a home.

    Returns:
        the folder for compiled code; None if nothing can be stored.
    """
    if not os.environ.get(NUMBA_CACHE):
        folder = _make_library_folder("numba")
        if folder is not None:
            os.environ[NUMBA_CACHE] = str(folder)
    try:
        Path.home()
    except RuntimeError:
        home = _make_library_folder("home")
        if home is not None:
            os.environ["HOME"] = os.environ[LENT_HOME] = str(home)
    return Path(os.environ[NUMBA_CACHE]) if os.environ.get(NUMBA_CACHE) else None


def list_library_folders(cache: Path) -> list[Path]:
    """The folders of this user that ``prepare_libraries`` has made in a cache folder."""
    folders = [cache / f"{name}-{_find_user_number()}" for name in ("numba", "home")]
    return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]


def _make_library_folder(name: str) -> Path | None:
    """A folder of this user alone: in the cache, or else a temporary one; None if neither can be made."""
    with contextlib.suppress(NotFoundError, OSError):
        folder = _make_private(default_cache() / f"{name}-{_find_user_number()}")
        if folder is not None:
            return folder
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix=f"bgknown-{name}-"))
        stopping.remove_at_end(folder)
        return folder
    return None


def _make_private(folder: Path) -> Path | None:
    """The folder, made if it is missing; None if others could put code into it, or this user cannot write to it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    ours = os.name != "posix" or (facts.st_uid == os.geteuid() and not facts.st_mode & 0o022)
    return folder.absolute() if ours and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) else None


def _find_user_number() -> int:
    return os.geteuid() if os.name == "posix" else 0


def _name_user() -> None:
    """Give a user unknown to the system a name: libraries look it up to name their folders."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # OSError from Python 3.13 on
        os.environ["LOGNAME"] = f"user-{_find_user_number()}"


def _open_streams() -> None:
    """Write characters that an encoding lacks as escapes; discard the output of a closed stream."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # otherwise the next opened file gets this number, and messages go into it
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
