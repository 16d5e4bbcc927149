"""Names of files in tables and documents: paths that stay inside a folder.

A name that somebody else wrote is relative to a folder that the user has given. It must stay inside: no ``..``, no
absolute path, no drive, no NUL. Links inside the folder are followed: the user, not the table, has made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError

_LONGEST_PART_BYTES = 255
_LONGEST_BYTES = 2_000
_ORDINARY = re.compile(r"(?:[\w-][\w .-]{0,99}/){0,9}[\w-][\w .-]{0,99}", re.ASCII)
"""Names that need no further check: most of those in large tables."""


def find_fault(name: str) -> str:
    """Why a name is not a path inside a folder; empty if it is."""
    if _ORDINARY.fullmatch(name):
        return ""
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    faults = {
        "is empty": not name.strip(),
        "holds a NUL character": "\0" in name,
        "is an absolute path": path.startswith("/") or path[1:2] == ":",
        "leads out of the folder": ".." in parts,
        "is the folder itself": not parts,
        "is longer than a file's name can be": len(name) > _LONGEST_PART_BYTES // 4 and _is_too_long(parts),
        "is not valid text": not name.isascii() and _has_surrogates(name),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _is_too_long(parts: Sequence[str]) -> bool:
    sizes = [len(part.encode(errors="replace")) for part in parts]
    return max(sizes, default=0) > _LONGEST_PART_BYTES or sum(sizes) + len(sizes) > _LONGEST_BYTES


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def find_fault_of_plain(name: str) -> str:
    """Why a name is not that of a file or folder directly in a folder; empty if it is."""
    return find_fault(name) or ("has folders in it" if "/" in name or "\\" in name else "")


def check_inside(names: Iterable[str], lines: Sequence[int], where: Path, column: str, *, plain: bool = False) -> None:
    """Check that every name in a column of a table is a path inside the folder.

    Args:
        names: the names.
        lines: the line of each.
        where: the table, for the message.
        column: its column, for the message.
        plain: whether names must be without folders.

    Raises:
        InvalidInputError: one is not; names the first such line.
    """
    find = find_fault_of_plain if plain else find_fault
    for line, name in zip(lines, names, strict=True):
        if fault := find(name):
            rule = "a plain file name, without folders" if plain else "a path inside its folder"
            raise InvalidInputError(f"{where}, line {line}: {column} {shorten_value(name)} {fault}; it must be {rule}")
