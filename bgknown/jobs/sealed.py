"""Caches that notice their own damage: files that end with their checksum, and JSON objects that carry one.

A cache is only ever a shortcut: what does not match its checksum is treated as absent and made again. These checksums
are against accidents (a failing disk, a cut copy, an edit), not against people.
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
    """Write a cache file, whole or not at all; its last line is the checksum of what is before it.

    The formats that are cached so (zip of numpy and torch, CSV with comments) can be read with that line in place.

    Raises:
        StorageError: the disk is full or refuses.
    """
    write_whole(path, data, _MARK, hashlib.sha256(data).hexdigest().encode(), b"\n")


def unseal(data: bytes) -> memoryview | None:
    """What was given to ``write_sealed``; None where the checksum is missing or wrong."""
    content, last = memoryview(data)[:-_LENGTH], data[-_LENGTH:]
    wanted = _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"
    return content if last == wanted else None


def read_sealed(path: Path) -> memoryview | None:
    """What ``write_sealed`` wrote; None where there is no such file, it cannot be read, or it is damaged."""
    try:
        return unseal(path.read_bytes())
    except (OSError, ValueError):
        return None


def add_check(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum of all its values."""
    return {**entry, CHECK: _check(entry)}


def read_checked(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object without the checksum that it carries; None where that is missing or wrong, or it is no object."""
    entry = read_json_object(text)
    if entry is None or CHECK not in entry:
        return None
    check = entry.pop(CHECK)
    return entry if check == _check(entry) else None


def read_json_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None where the text is something else, or nested too deeply to be read."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, numbers of thousands of digits
        return None
    return entry if isinstance(entry, dict) else None


def _check(entry: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in entry.items() if name != CHECK}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
