"""The lines of a store's index: which row of which part is the embedding of which file.

A line is CSV: part, row, crc32 of the row, sha256 of the file, crop, size, mtime_ns, inode, ctime_ns, path, and a
checksum of all that. Lines of 0.1.0 end in ``.`` instead and hold neither inode nor ctime_ns, so the state of their
file says nothing; the hash of its content does. They count for WAV and FLAC files alone, because 0.1.0 read some files
of other types only in part.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from bgknown.jobs.files import FileState

_PART = re.compile(r"part-[0-9a-f]{32}\.f32")
_READ_WHOLE = {".wav", ".flac"}
_PLAIN = re.compile(r"[\w/.() -]+", re.ASCII)
_ESCAPED = re.compile(r"[\\\n\r]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_CHARACTERS = {escape: character for character, escape in _ESCAPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLine:
    """Where the embedding of a file is."""

    part: str
    """Name of the data file."""
    row: int
    """Row in it."""
    crc32: int
    """Checksum of the row's bytes."""
    sha256: str
    """SHA-256 of the audio file."""
    crop: str
    """Length and place of the clip."""
    state: FileState
    """State of the audio file."""
    path: str
    """The audio file."""
    sure: bool = True
    """Whether the state identifies the file."""


def write_line(line: IndexLine) -> bytes:
    """Format a line, with its checksum and line break."""
    path = _ESCAPED.sub(lambda found: _ESCAPES[found[0]], line.path)
    facts = [line.part, line.row, line.crc32, line.sha256, line.crop, *line.state.facts(), path]
    if _PLAIN.fullmatch(path) and _PLAIN.fullmatch(line.crop):
        text = ",".join(map(str, facts))  # as csv writes it, at a third of the cost
    else:
        quoted = io.StringIO()
        csv.writer(quoted, lineterminator="").writerow(facts)
        text = quoted.getvalue()
    data = text.encode(errors="surrogateescape")  # file names may not be UTF-8
    return data + b"," + _check(data) + b"\n"


def read_line(data: bytes) -> IndexLine | None:
    """Parse a line without its line break; None where it is damaged, or names a part that no store writes."""
    content, _, check = data.rpartition(b",")
    old = check == b"."
    if not old and check != _check(content):
        return None
    try:
        (fields,) = csv.reader([content.decode(errors="surrogateescape")])
        part, row, crc32, sha256, crop, *facts, path = fields
        state = _state([int(fact) for fact in facts], 2 if old else 4)
        line = IndexLine(
            part=part,
            row=int(row),
            crc32=int(crc32),
            sha256=sha256,
            crop=crop,
            state=state,
            path=path if old or "\\" not in path else re.sub(r"\\[\\nr]", _character, path),
            sure=not old,
        )
    except (ValueError, csv.Error):  # too few or too many fields, or not numbers
        return None
    if not _PART.fullmatch(part) or line.row < 0 or (old and Path(path).suffix.lower() not in _READ_WHOLE):
        return None
    return line


def _character(escape: re.Match[str]) -> str:
    return _CHARACTERS[escape[0]]


def _state(facts: list[int], count: int) -> FileState:
    if len(facts) != count:
        raise ValueError(f"{len(facts)} facts")
    size, mtime_ns, inode, ctime_ns = [*facts, 0, 0][:4]
    return FileState(size=size, mtime_ns=mtime_ns, inode=inode, ctime_ns=ctime_ns)


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:16].encode()
