"""Finding the audio files of folders."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bgknown.errors import InvalidInputError
from bgknown.files import storage_error

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
"""File types that are packed."""


def audio_below(folder: Path) -> Iterator[Path]:
    """Audio files in a folder and below; links are followed, but no folder is entered twice.

    Raises:
        StorageError: a folder cannot be read.
        InvalidInputError: a name is not UTF-8.
    """

    def refuse(error: OSError) -> None:
        raise storage_error(error, Path(error.filename or folder)) from error

    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        state = Path(parent).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders.sort()  # which of several links to a folder is entered must not depend on the disk
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES:
                path = Path(parent, name)
                if not str(path).isprintable() and _not_utf8(path):
                    raise InvalidInputError(f"{str(path)!a}: the name is not UTF-8; rename the file")
                yield path


def _not_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return True
    return False


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name matches one of the patterns, or there are none."""
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
