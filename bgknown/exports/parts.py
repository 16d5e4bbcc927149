"""The large files of an export: which rows each holds, and how they are written so that a stopped export resumes.

A part is written aside as a stream, hashed on its way, flushed, renamed and entered in the journal, so memory does not
grow with the dataset. Parts of an earlier run are kept if they depend on the same things and their bytes are intact.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgknown.errors import StorageError
from bgknown.exports.source import ExportSource
from bgknown.jobs.files import PART, describe_storage_error, hash_bytes
from bgknown.jobs.parallel import open_bar
from bgknown.jobs.resumable import Job
from bgknown.jobs.units import JobFolder, PartFile, make_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPart:
    """A file to write."""

    file: str
    """Its path in the export."""
    kind: str
    """What the format writes into it."""
    split: str
    """The split that it belongs to; empty for all."""
    places: tuple[int, ...]
    """The rows of the source's table that it holds."""
    size_bytes: int
    """About how large it becomes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPart:
    """A file that is written."""

    file: str
    """Its path in the export."""
    kind: str
    """What the format wrote into it."""
    split: str
    """The split that it belongs to; empty for all."""
    rows: int
    """Rows in it."""
    memory_bytes: int
    """Size of the rows in memory."""
    size: int
    """Bytes."""
    sha256: str
    """Of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSize:
    """What a part has become."""

    rows: int
    """Rows in it."""
    memory_bytes: int
    """Size of the rows in memory."""


class HashedStream(io.RawIOBase):
    """A new file that is written from beginning to end, and hashed on the way."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "wb")
        self._digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Whether it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Add bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written so far."""
        return self.size

    def finish(self) -> str:
        """Flush to the disk and close; returns the SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


WritePart = Callable[[ExportPart, HashedStream, Callable[[int], object]], PartSize]
"""Writes a part to a stream, and reports how many rows are done."""


def split_rows(sizes: Sequence[int], limit_bytes: int) -> list[list[int]]:
    """Consecutive places such that each group stays within a number of bytes; a larger one is alone.

    >>> split_rows([3, 3, 3, 9, 1], 6)
    [[0, 1], [2], [3], [4]]
    """
    groups: list[list[int]] = []
    total = 0
    for place, size in enumerate(sizes):
        if not groups or total + size > limit_bytes:
            groups.append([])
            total = 0
        groups[-1].append(place)
        total += size
    return groups


def measure_rows(source: ExportSource, kinds: Sequence[str]) -> list[int]:
    """Bytes of some files of every row.

    Args:
        source: the dataset.
        kinds: signals, or jams.

    Raises:
        StorageError: a file is missing.
    """
    sizes = [0] * len(source.table)
    for kind in kinds:
        for place, file in enumerate(source.table[f"{kind}_file"]):
            sizes[place] += source.measure_file(file) if file else 0
    return sizes


def plan_shards(
    source: ExportSource,
    kinds: Sequence[str],
    limit_bytes: int,
    name_shard: Callable[[str, int, int], str],
    *,
    kind: str = "rows",
) -> list[ExportPart]:
    """The rows of every split as files of limited size.

    Args:
        source: the dataset.
        kinds: the files that go into a row: signals, or jams.
        limit_bytes: largest sum of these files in a shard.
        name_shard: the path of a shard by split, number and count of the split's shards.
        kind: what the format writes into it.
    """
    sizes = measure_rows(source, kinds)
    splits = source.table["split"].tolist()
    parts = []
    for split in source.splits:
        places = [place for place, other in enumerate(splits) if other == split]
        groups = split_rows([sizes[place] for place in places], limit_bytes)
        for number, group in enumerate(groups):
            chosen = tuple(places[place] for place in group)
            parts.append(
                ExportPart(
                    file=name_shard(split, number, len(groups)),
                    kind=kind,
                    split=split,
                    places=chosen,
                    size_bytes=sum(sizes[place] for place in chosen) + 8_192 * len(chosen),
                )
            )
    return parts


def write_parts(
    job: Job, source: ExportSource, parts: Sequence[ExportPart], write: WritePart, *, facts: Sequence[object]
) -> list[WrittenPart]:
    """Write what an earlier run has not written, one part after another.

    Args:
        job: the export's job.
        source: the dataset.
        parts: all parts.
        write: writes one.
        facts: what their bytes depend on apart from the rows, as JSON values.

    Raises:
        StorageError: the disk is full or refuses, or a file of the dataset is missing.
        InvalidInputError: a file of the dataset has changed.
    """
    known, digests, done = job.find_known(), {}, {}
    for part in parts:
        digests[part.file] = _make_part_digest(source, part, facts)
        record = job.folder.find_kept(known.get(part.file), digests[part.file])
        if record is not None:
            done[part.file] = WrittenPart(**record)
    missing = [part for part in parts if part.file not in done]
    job.check_space(sum(part.size_bytes for part in missing))
    with open_bar(sum(len(part.places) for part in missing), "export", "row") as bar:
        for part in missing:
            done[part.file] = _write_one(job.folder, part, write, digests[part.file], bar.update)
    return [done[part.file] for part in parts]


def _make_part_digest(source: ExportSource, part: ExportPart, facts: Sequence[object]) -> str:
    rows = source.table.iloc[list(part.places)].to_csv(index=False, lineterminator="\n")
    return make_digest(part.file, part.kind, part.split, hash_bytes(rows.encode()), list(facts))


def _write_one(
    folder: JobFolder, part: ExportPart, write: WritePart, digest: str, advance: Callable[[int], object]
) -> WrittenPart:
    with _open_aside(folder, part.file) as (path, stream):
        became = write(part, stream, advance)
        sha256 = stream.finish()
    written = WrittenPart(
        file=part.file,
        kind=part.kind,
        split=part.split,
        rows=became.rows,
        memory_bytes=became.memory_bytes,
        size=stream.size,
        sha256=sha256,
    )
    done = PartFile(file=part.file, sha256=sha256, finish=lambda: _rename(path, folder.out / part.file))
    folder.settle(part.file, digest, asdict(written), [done])
    return written


@contextlib.contextmanager
def _open_aside(folder: JobFolder, file: str) -> Iterator[tuple[Path, HashedStream]]:
    """A stream to an unfinished file; the file is removed if the work within fails."""
    path = folder.open_scratch() / f".{Path(file).name[:40]}.{secrets.token_hex(8)}{PART}"
    try:
        with HashedStream(path) as stream:
            yield path, stream
    except OSError as error:
        path.unlink(missing_ok=True)
        if isinstance(error, StorageError):
            raise
        raise describe_storage_error(error, folder.out / file) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _rename(part: Path, path: Path) -> None:
    try:
        part.replace(path)
    except OSError as error:
        raise describe_storage_error(error, path) from error
