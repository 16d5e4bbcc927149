"""Lists of sounds: what a model was trained on, as Freesound ids and file hashes, small enough to be kept with it.

A list holds sorted Freesound ids (``bgknown.freesound``) and the first 64 bits of the SHA-256 of each file:
at most 12 bytes per clip, 16 as text (3.2 MB for 200,000 clips). When 200,000 files are compared with 2,000 others, the
probability that two different ones agree in these 64 bits is 2e-11. A copy in another format has another hash.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.freesound import find_freesound_id
from bgknown.jobs.files import describe_storage_error, hash_bytes
from bgknown.shown import name_few
from bgknown.tables import decode_text, parse_csv

HASH_DIGITS = 16
"""Hexadecimal digits of a file's hash that are kept."""
LIST_COLUMNS = (
    *("sha256", "freesound_id", "fname", "filename", "file", "slice_file_name"),
    *("esc50_file", "fsd50k_file", "foreground_file", "background_file"),
)
"""Columns of a CSV file that are read as a list of sounds; others are ignored."""
_HASH = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{48})?")
_PARTS = {"freesound_ids": "<u4", "file_sha256": "<u8"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoundList:
    """A set of sounds."""

    freesound_ids: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, dtype="<u4"))
    """Their Freesound ids, sorted, each once."""
    file_sha256: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype="<u8"))
    """The first 64 bits of the SHA-256 of their files, sorted, each once."""
    unidentified: int = 0
    """Number of entries that named neither."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds no entries at all, which says that there was no training."""
        return not (len(self.freesound_ids) or len(self.file_sha256) or self.unidentified)

    @property
    def sha256(self) -> str:
        """SHA-256 of its content."""
        return hash_bytes(*self._to_bytes().values(), b"%d %d" % (len(self.freesound_ids), self.unidentified))

    def __or__(self, other: SoundList) -> SoundList:
        """The sounds of both."""
        return SoundList(
            freesound_ids=np.union1d(self.freesound_ids, other.freesound_ids),
            file_sha256=np.union1d(self.file_sha256, other.file_sha256),
            unidentified=self.unidentified + other.unidentified,
        )

    def has_ids(self, ids: Sequence[int | None]) -> NDArray[np.bool_]:
        """[n] whether each Freesound id is in the list; None never is."""
        return np.isin(np.array([number or 0 for number in ids], dtype=np.int64), self.freesound_ids.astype(np.int64))

    def has_hashes(self, hashes: Sequence[str]) -> NDArray[np.bool_]:
        """[n] whether each file is in the list, by its SHA-256 in hexadecimal digits; an empty text never is."""
        known = np.array([bool(_HASH.fullmatch(text)) for text in hashes], dtype=np.bool_)
        numbers = [int(text[:HASH_DIGITS], 16) if ok else 0 for text, ok in zip(hashes, known, strict=True)]
        return known & np.isin(np.array(numbers, dtype=np.uint64), self.file_sha256)

    def describe(self) -> str:
        """Its size in words: ``trained on 2 Freesound ids and 1 file``, or ``not trained``."""
        counts = {"Freesound id": len(self.freesound_ids), "file": len(self.file_sha256)}
        named = " and ".join(f"{count:,} {what}{'s' * (count > 1)}" for what, count in counts.items() if count)
        return "not trained" if self.is_empty else f"trained on {named or 'sounds without ids and hashes'}"

    def encode(self) -> dict[str, Any]:
        """The list as values for JSON that ``decode_sounds`` reads: the numbers in little-endian order, in base 64."""
        texts = {name: base64.b64encode(data).decode() for name, data in self._to_bytes().items()}
        return {**texts, "unidentified": self.unidentified}

    def to_lines(self) -> list[str]:
        """The list as lines that ``read_sound_list`` reads: Freesound ids, then hashes of 16 digits."""
        return [*map(str, self.freesound_ids.tolist()), *(f"{number:016x}" for number in self.file_sha256.tolist())]

    def _to_bytes(self) -> dict[str, bytes]:
        return {name: np.ascontiguousarray(getattr(self, name), dtype=kind).tobytes() for name, kind in _PARTS.items()}


def make_sound_list(entries: Iterable[str]) -> SoundList:
    """The list of sounds that texts name.

    Args:
        entries: Freesound ids, file names that hold one, and SHA-256 of files (all 64 digits or the first 16).
    """
    return _collect([entry] for entry in entries)


def list_file_sounds(names: Sequence[str], hashes: Sequence[str]) -> SoundList:
    """The list of files with these names and SHA-256; files with neither an id nor a hash are counted."""
    return _collect(zip(names, hashes, strict=True))


def _collect(rows: Iterable[Iterable[str]]) -> SoundList:
    """The list of sounds of which each row has one or several names."""
    ids: set[int] = set()
    hashes: set[int] = set()
    unidentified = 0
    for row in rows:
        found = False
        for text in map(str.strip, row):
            if _HASH.fullmatch(text.lower()):
                hashes.add(int(text[:HASH_DIGITS], 16))
            elif (number := find_freesound_id(text)) is not None:
                ids.add(number)
            else:
                continue
            found = True
        unidentified += not found
    return SoundList(
        freesound_ids=np.array(sorted(ids), dtype="<u4"),
        file_sha256=np.array(sorted(hashes), dtype="<u8"),
        unidentified=unidentified,
    )


def decode_sounds(facts: object, where: str) -> SoundList:
    """The list that ``SoundList.encode`` described.

    Args:
        facts: the texts.
        where: the name of the file, which begins every message.

    Raises:
        InvalidInputError: they are damaged.
    """
    parts: dict[str, Any] = {}
    values = facts if isinstance(facts, dict) else {}
    for name, kind in _PARTS.items():
        try:
            numbers = np.frombuffer(base64.b64decode(values[name], validate=True), dtype=kind)
        except (LookupError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{where}: {name} is not a list of numbers in base 64; copy the file again"
            ) from error
        parts[name] = np.unique(numbers)
    unidentified = values.get("unidentified", 0)
    if type(unidentified) is not int or unidentified < 0:
        raise InvalidInputError(
            f"{where}: unidentified is {shorten_value(unidentified)}; it must be a number from 0; copy it again"
        )
    return SoundList(**parts, unidentified=unidentified)


def read_sound_list(path: Path) -> SoundList:
    """Read a list of sounds that a user wrote.

    Args:
        path: a text with one Freesound id, file name or SHA-256 per line (lines that begin with # are comments), or a
            CSV file with any of ``LIST_COLUMNS``, such as the tables of FSD50K, ESC-50 and UrbanSound8K.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not text, has other columns, or names no Freesound id and no SHA-256.
        StorageError: it cannot be read.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; give a text with one Freesound id, file name or SHA-256 per line")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise describe_storage_error(error, path) from error
    lines = [line.strip() for line in decode_text(data, str(path)).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    header = [name.strip().strip('"') for name in lines[0].split(",")] if lines else []
    chosen = [name for name in LIST_COLUMNS if name in header]
    if chosen:
        table = parse_csv("\n".join(lines).encode(), str(path), advice="give one sound per line")
        found = _collect(table[chosen].itertuples(index=False))
    elif len(header) > 1:
        raise InvalidInputError(f"{path}: has the columns {name_few(header)}; one must be {', '.join(LIST_COLUMNS)}")
    else:
        found = make_sound_list(lines)
    if not len(found.freesound_ids) and not len(found.file_sha256):
        raise InvalidInputError(
            f"{path}: names no Freesound id and no SHA-256; give one of them, or a file name with an id, per line"
        )
    return found
