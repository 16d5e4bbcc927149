"""The files of the remainders mix - a, in a folder next to the page.

A page from disk may play files but not read them, so it cannot subtract by itself. FLAC keeps the remainder exact, so
that nothing in it is an artefact of compression.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bgknown.errors import StorageError
from bgknown.jobs.files import describe_storage_error, make_folder

_PLAIN = re.compile(r"[\w-][\w .-]{0,99}", re.ASCII)


def name_remainders(rows: Sequence[str]) -> list[str]:
    """The file of each row's remainder: the row's name, or its number where that is not a plain name of a file."""
    names: list[str] = []
    used: set[str] = set()
    for place, name in enumerate(rows):
        plain = name if _PLAIN.fullmatch(name) and name.casefold() not in used else f"row {place}"
        used.add(plain.casefold())
        names.append(f"{plain}.flac")
    return names


def get_remainder_folder(page: Path) -> Path:
    """The folder of a page's remainders."""
    return page.with_name(f"{page.stem}_remainders")


@contextmanager
def stage_remainders(page: Path, names: Sequence[str]) -> Iterator[Path | None]:
    """A folder for remainders on the way to their own, which gets all of them at the end, or none.

    Args:
        page: the page.
        names: the files of the remainders; without any there is no such folder.

    Raises:
        StorageError: they cannot be written.
    """
    if not names:
        yield None
        return
    final = get_remainder_folder(page)
    staged = final.with_name(f".{final.name}.{os.getpid()}")
    make_folder(staged)
    try:
        yield staged
        make_folder(final)
        _move_files(staged, final)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _move_files(staged: Path, final: Path) -> None:
    try:
        for path in staged.iterdir():
            path.replace(final / path.name)
    except OSError as error:
        raise describe_storage_error(error, final) from error


def count_remainder_bytes(page: Path, names: Sequence[str]) -> int:
    """The size of a page's remainders.

    Raises:
        StorageError: one cannot be accessed.
    """
    folder = get_remainder_folder(page)
    try:
        return sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}") from error
