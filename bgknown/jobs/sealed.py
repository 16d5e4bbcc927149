"""Caches that detect damage: files that end with their checksum, and JSON objects that contain one.

A cache is only a shortcut: an entry that does not match its checksum is treated as absent and made again. These
checksums protect against accidents (a failing disk, an incomplete copy, an edit), not against attacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bgknown.jobs.files import write_whole

CHECK = "check"
"""The key of a JSON object's checksum."""
_MARK = b"\n#sha256 "
_LENGTH = len(_MARK) + 64 + 1


def write_sealed(path: Path, data: bytes | memoryview) -> None:
    """Write a cache file, whole or not at all; its last line is the checksum of everything before it.

    The cached formats (zip of numpy and torch, CSV with comments) can be read with that line in place.

    Raises:
        StorageError: the disk is full or refuses.
    """
    write_whole(path, data, _MARK, hashlib.sha256(data).hexdigest().encode(), b"\n")


def unseal(data: bytes) -> memoryview | None:
    """The data given to ``write_sealed``; None if the checksum is missing or wrong."""
    content, last = memoryview(data)[:-_LENGTH], data[-_LENGTH:]
    seal = _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"
    return content if last == seal else None


def read_sealed(path: Path) -> memoryview | None:
    """The data that ``write_sealed`` wrote; None if the file is missing, cannot be read, or is damaged."""
    try:
        return unseal(path.read_bytes())
    except (OSError, ValueError):
        return None


def add_check(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum of all its values."""
    return {**entry, CHECK: _make_checksum(entry)}


def read_checked(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object without its checksum; None if that is missing or wrong, or the text is not an object."""
    entry = read_json_object(text)
    if entry is None or CHECK not in entry:
        return None
    check = entry.pop(CHECK)
    return entry if check == _make_checksum(entry) else None


def read_json_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None if the text is something else, or nested too deeply to be read."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or numbers of thousands of digits
        return None
    return entry if isinstance(entry, dict) else None


def _make_checksum(entry: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in entry.items() if name != CHECK}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
