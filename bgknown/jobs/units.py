"""The units of a resumable job on the disk: their files, the journal that lists them, and when they are kept.

A worker writes the files of a unit and then one line in the journal. The next run keeps the unit if its digest is the
same and its bytes are intact: one rule for every job (``JobFolder.find_kept``, ``StoredBytes.is_intact``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bgknown.jobs.files import describe_storage_error, hash_bytes, list_state, make_folder, write_aside
from bgknown.jobs.workspace import append_entries, read_journal

JOURNAL = 1
"""Number of the journal's layout; part of every digest, so that another layout counts as no work."""


def make_digest(*facts: object) -> str:
    """The fingerprint of everything that a unit's bytes depend on; facts are JSON values."""
    return hash_bytes(json.dumps([JOURNAL, *facts]).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBytes:
    """Bytes that a finished unit has on the disk: a whole file, or a part of one."""

    file: str
    """The file, relative to the job's folder."""
    sha256: str
    """Of the bytes."""
    state: list[int]
    """The file's state once the bytes were in it."""
    start: int = 0
    """The first byte."""
    size: int | None = None
    """How many bytes; None for a whole file."""

    def is_intact(self, out: Path) -> bool:
        """Whether the bytes are those that were written: if the file's state has changed, their hash decides.

        Raises:
            StorageError: the file cannot be read.
        """
        path = out / self.file
        state = list_state(path)
        if not state or state == self.state:
            return bool(state)
        try:
            with path.open("rb") as file:
                file.seek(self.start)
                return hash_bytes(file.read(-1 if self.size is None else self.size)) == self.sha256
        except OSError as error:
            raise describe_storage_error(error, path) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedUnit:
    """What the journal says of a unit."""

    name: str
    """The unit's name in its job."""
    digest: str
    """Fingerprint of what its bytes depend on."""
    record: dict[str, Any]
    """What the job wants to know of it later, as JSON; each job converts it to its own record."""
    files: tuple[StoredBytes, ...]
    """Its bytes."""


def read_units(journal: Path) -> Iterator[FinishedUnit]:
    """The units of a journal in the order of its lines; damaged lines and those of other layouts are left out.

    Raises:
        StorageError: the journal cannot be read.
    """
    for entry in read_journal(journal):
        with contextlib.suppress(TypeError, KeyError):
            files = tuple(StoredBytes(**stored) for stored in entry["files"])
            unit = FinishedUnit(name=entry["name"], digest=entry["digest"], record=entry["record"], files=files)
            if isinstance(unit.name, str) and isinstance(unit.digest, str) and isinstance(unit.record, dict):
                yield unit


def write_units(journal: Path, units: Iterable[FinishedUnit]) -> None:
    """Add units, whose bytes must be on the disk, to the journal.

    Raises:
        StorageError: the journal is gone, or the disk is full.
    """
    append_entries(journal, *(_format_unit(unit) for unit in units))


def _format_unit(unit: FinishedUnit) -> dict[str, Any]:
    """The unit as JSON; ``dataclasses.asdict`` would copy its whole record, value by value."""
    files = [{name: getattr(stored, name) for name in _STORED_FIELDS} for stored in unit.files]
    return {"name": unit.name, "digest": unit.digest, "record": unit.record, "files": files}


_STORED_FIELDS = tuple(field.name for field in fields(StoredBytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile:
    """A file that is written, but not yet under its final name."""

    file: str
    """Its final name, relative to the job's folder."""
    sha256: str
    """Of its bytes."""
    finish: Callable[[], None]
    """Flush it and give it its final name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFolder:
    """A job's folder as its workers see it."""

    out: Path
    """The folder."""
    scratch: Path
    """Folder of unfinished files; it is removed when the run ends, so that a worker that outlives it writes nothing."""
    journal: Path
    """The journal."""

    def open_scratch(self) -> Path:
        """The scratch folder of this process.

        Raises:
            StorageError: the run has ended, or the disk refuses.
        """
        folder = self.scratch / str(os.getpid())
        try:
            if not os.path.isdir(folder):  # noqa: PTH112  (quick; it is there for all files but the first)
                folder.mkdir(exist_ok=True)  # without parents: fails if another run has taken the folder over
        except OSError as error:
            raise describe_storage_error(error, folder) from error
        return folder

    def find_kept(self, known: FinishedUnit | None, digest: str) -> dict[str, Any] | None:
        """The record of a unit that an earlier run has made with the same digest, if all its bytes are intact.

        Raises:
            StorageError: a file cannot be read.
        """
        kept = known is not None and known.digest == digest and all(file.is_intact(self.out) for file in known.files)
        return known.record if kept and known is not None else None

    def set_aside(self, file: str, *parts: bytes | memoryview, flush: bool = True) -> PartFile:
        """Write a file without giving it its final name.

        Args:
            file: its final name, relative to the job's folder.
            parts: its content, one part after another.
            flush: whether finishing it waits until the disk has it.

        Raises:
            StorageError: the disk is full or refuses.
        """
        finish = write_aside(self.out / file, *parts, aside=self.open_scratch(), flush=flush)
        return PartFile(file=file, sha256=hash_bytes(*parts), finish=finish)

    def settle(self, name: str, digest: str, record: dict[str, Any], parts: Sequence[PartFile]) -> None:
        """Give the files of a unit their final names, and enter the unit in the journal.

        Raises:
            StorageError: the disk is full or refuses.
        """
        stored = []
        for part in parts:
            make_folder((self.out / part.file).parent)
            part.finish()
            stored.append(StoredBytes(file=part.file, sha256=part.sha256, state=list_state(self.out / part.file)))
        write_units(self.journal, [FinishedUnit(name=name, digest=digest, record=record, files=tuple(stored))])
