r"""Titles, uploaders and licences of single recordings, from the files that the corpora give them in.

::

    FSD50K.metadata/{dev,eval}_clips_info_FSD50K.json   {"64760": {"title", "license", "uploader", ...}, ...}
    LICENSE (of ESC-50)                                 - [1-100032-A.ogg]: clip derived from TITLE (URL) by USER [CC0]
    ATTRIBUTION.txt                                     the same lines, where a subset of ESC-50 has them

Corpora given as tables have columns licence, uploader and title. All are optional: a recording that they do not name
has an empty credit. ESC-50 writes licences without versions. Freesound offered version 3.0 when it was published
(2015), and its ESC-10 part names that version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bgknown.corpora import CorpusIndex
from bgknown.corpora.licences import name_licence
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import describe_storage_error
from bgknown.shown import escape_line
from bgknown.tables import decode_text, list_records

ESC50_LISTS = ("LICENSE", "ATTRIBUTION.txt")
ESC50_VERSION = "3.0"
MOST_CHARACTERS = 1000
"""Characters of a text that are kept."""
_LINE = re.compile(
    r"- \[(?P<clip>[1-5]-[0-9]+-[A-Z])\.\w+\]:\s*clip derived from (?P<title>.*) \(http\S*/(?P<source>[0-9]+)/?\)"
    r" by (?P<uploader>.*) \[(?P<licence>[^\]]*)\]\s*"
)
_BYTE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Who made a recording, and what it may be used for; a text is empty where that is not known."""

    title: str = ""
    """Its title."""
    uploader: str = ""
    """The user who published it."""
    licence: str = ""
    """Short name of its licence, or the text that its corpus has (``bgknown.corpora.licences``)."""


def list_credits(index: CorpusIndex) -> dict[str, Credit]:
    """The credits of every listed clip of a corpus, by its key.

    Raises:
        InvalidInputError: a file of credits is damaged.
        StorageError: it cannot be read.
    """
    names = [str(name) for name in index.table[index.key]]
    if index.reader == "esc50":
        of_take = read_esc50_credits(index.root)
        return {name: of_take.get(name.rpartition("-")[0], Credit()) for name in names}
    if index.reader == "fsd50k":
        of_name = {
            name: credit for part in index.parts for name, credit in read_fsd50k_credits(index.root, part).items()
        }
        return {name: of_name.get(name, Credit()) for name in names}
    rows = list_records(index.table[[name for name in ("licence", "uploader", "title") if name in index.table]])
    return {name: _read_columns(row) for name, row in zip(names, rows, strict=True)}


def _read_columns(row: Mapping[str, object]) -> Credit:
    title, uploader, licence = (_read_text(row.get(column)) for column in ("title", "uploader", "licence"))
    return Credit(title=title, uploader=uploader, licence=name_licence(licence))


def read_fsd50k_credits(root: Path, part: str) -> dict[str, Credit]:
    """The credits of a part of FSD50K, by recording id; empty without the metadata folder.

    Args:
        root: folder of FSD50K.
        part: dev or eval.

    Raises:
        InvalidInputError: the file is damaged.
        StorageError: it cannot be read.
    """
    path = root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
    if not path.is_file():
        return {}
    found: dict[str, Credit] = {}
    for name, entry in read_object(path).items():
        if not isinstance(entry, Mapping):
            raise InvalidInputError(f"{path}: the entry of {name!r} is not an object; download FSD50K.metadata again")
        title, uploader, licence = (_read_text(entry.get(key)) for key in ("title", "uploader", "license"))
        found[name] = Credit(title=title, uploader=uploader, licence=name_licence(licence))
    return found


def read_esc50_credits(root: Path) -> dict[str, Credit]:
    """The credits of ESC-50, by ``{fold}-{source}-{take}``; empty without its LICENSE.

    Raises:
        InvalidInputError: the file is not text.
        StorageError: it cannot be read.
    """
    found: dict[str, Credit] = {}
    for path in (root / name for name in ESC50_LISTS):
        if path.is_file():
            try:
                text = decode_text(path.read_bytes(), str(path))
            except OSError as error:
                raise describe_storage_error(error, path) from error
            found.update(_parse_lines(text))
    return found


def _parse_lines(text: str) -> Iterator[tuple[str, Credit]]:
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            licence = name_licence(match["licence"], version=ESC50_VERSION)
            title, uploader = (_read_text(_decode_bytes(match[name])) for name in ("title", "uploader"))
            yield match["clip"], Credit(title=title, uploader=uploader, licence=licence)


def _decode_bytes(text: str) -> str:
    r"""The list has letters outside ASCII as bytes of Latin-1, such as ``\xf6``."""
    return _BYTE.sub(lambda found: chr(int(found[1], 16)), text)


def _read_text(value: object) -> str:
    """A text on one line that a CSV table can hold; empty for anything else."""
    return escape_line(" ".join(value.split()))[:MOST_CHARACTERS] if isinstance(value, str) else ""
