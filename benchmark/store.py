"""Embeddings on disk: found by the audio they are of, appended while they are made, memory-mapped when they are read.

::

    {cache}/embeddings/{key}/           one folder for everything that decides an embedding beside the audio
        about.json                      what the key stands for, for people
        part-{process}.f32              rows of D float32
        part-{process}.csv              one line for each: part, row, crc32, sha256, crop, size, mtime_ns, path

Every process writes parts of its own, so any number may work on one folder. A row counts once its line is there: data
is flushed first. A row whose checksum is wrong is made again.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.clips import Clip, FileState
from benchmark.probe import resuming
from bgknown.files import advising, make_folder, storage_error, write_whole

ABOUT = "about.json"
GENERATION = "again-"
BLOCK_ROWS = 4096
"""Rows that are copied at a time."""
IN_MEMORY_BYTES = 1 << 30
"""Copies of embeddings up to this size are held in memory."""
NEWEST = "newest"
"""Names the folder that is used now, where a store was emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where an embedding lies."""

    part: Path
    """The data file."""
    row: int
    """Row in it."""
    crc32: int
    """Checksum of its bytes."""
    sha256: str
    """Of the audio file."""


class Store:
    """The embeddings of one key."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.by_audio: dict[tuple[str, str], Entry] = {}
        self.by_file: dict[tuple[str, str, FileState], Entry] = {}
        self._maps: dict[Path, NDArray[np.float32]] = {}
        self._own = folder / f"part-{uuid.uuid4().hex}.f32"
        self._data: io.BufferedWriter | None = None
        for index in sorted(folder.glob("part-*.csv")):
            self._load(index)

    def find(self, clip: Clip, state: FileState) -> Entry | None:
        """The embedding of a file that has not changed since it was made, if its checksum holds."""
        entry = self.by_file.get((_path(clip), clip.crop, state))
        return entry if entry is not None and self._holds(entry) else None

    def find_audio(self, sha256: str, crop: str) -> Entry | None:
        """The embedding of the same bytes under whatever name."""
        entry = self.by_audio.get((sha256, crop))
        return entry if entry is not None and self._holds(entry) else None

    @advising("--cache")
    def append(self, rows: NDArray[np.float32], items: Sequence[tuple[Clip, FileState, str]]) -> None:
        """Add embeddings [n, D] of clips, with each one's file state and SHA-256.

        Raises:
            StorageError: the disk is full or refuses; what was there before is still good.
        """
        rows = np.ascontiguousarray(rows, dtype="<f4")
        try:
            if self._data is None:
                self._data = self._own.open("xb")
            first = self._data.tell() // (4 * self.size)
            self._data.write(rows.tobytes())
            self._data.flush()
            os.fsync(self._data.fileno())
        except OSError as error:
            raise storage_error(error, self.folder) from error
        entries = [
            Entry(part=self._own, row=first + place, crc32=zlib.crc32(row.tobytes()), sha256=sha256)
            for place, (row, (_, _, sha256)) in enumerate(zip(rows, items, strict=True))
        ]
        self._note(entries, items)

    @advising("--cache")
    def alias(self, entry: Entry, clip: Clip, state: FileState) -> None:
        """Note that a file holds audio that was embedded before, so that it need not be read again."""
        self._note([entry], [(clip, state, entry.sha256)])

    def gather(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        """Embeddings as [n, D] float32: a view of the file where they lie there one after another.

        Otherwise they are copied: into memory, or where they are large into a file without a name, which is mapped and
        vanishes with the array.

        Raises:
            StorageError: there is no room for that file.
        """
        first = entries[0]
        if all(entry.part == first.part and entry.row == first.row + i for i, entry in enumerate(entries)):
            return self._map(entries[-1])[first.row : first.row + len(entries)]
        shape = (len(entries), self.size)
        if len(entries) * self.size * 4 <= IN_MEMORY_BYTES:
            return np.concatenate(list(self._blocks(entries)))
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                for block in self._blocks(entries):
                    file.write(block.tobytes())
                file.flush()
                return np.memmap(file, dtype="<f4", mode="c", shape=shape)
        except OSError as error:
            raise storage_error(error, self.folder) from error

    def _blocks(self, entries: Sequence[Entry]) -> Iterator[NDArray[np.float32]]:
        """Copies of embeddings, some at a time."""
        for start in range(0, len(entries), BLOCK_ROWS):
            block = entries[start : start + BLOCK_ROWS]
            out = np.empty((len(block), self.size), dtype=np.float32)
            for place, entry in enumerate(block):
                out[place] = self._map(entry)[entry.row]
            yield out

    def emptied(self) -> Store:
        """The same store without anything in it: a new folder in it, so that another process may go on with the old.

        Raises:
            StorageError: the folder cannot be made.
        """
        self.close()
        root = self.folder.parent if self.folder.name.startswith(GENERATION) else self.folder
        folder = root / f"{GENERATION}{uuid.uuid4().hex}"
        make_folder(folder)
        write_whole(root / NEWEST, folder.name.encode())
        return Store(folder, self.size)

    def close(self) -> None:
        """Close what is being written."""
        if self._data is not None:
            self._data.close()
            self._data = None

    def _note(self, entries: Sequence[Entry], items: Sequence[tuple[Clip, FileState, str]]) -> None:
        index = self._own.with_suffix(".csv")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for entry, (clip, state, sha256) in zip(entries, items, strict=True):
            facts = [entry.part.name, entry.row, entry.crc32, sha256, clip.crop, state.size, state.mtime_ns]
            writer.writerow([*facts, _path(clip), "."])
        try:
            with index.open("a", encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise storage_error(error, index) from error
        for entry, (clip, state, sha256) in zip(entries, items, strict=True):
            self._remember(entry, clip.crop, sha256, _path(clip), state)

    def _remember(self, entry: Entry, crop: str, sha256: str, path: str, state: FileState) -> None:
        self.by_audio[sha256, crop] = entry
        self.by_file[path, crop, state] = entry

    def _load(self, index: Path) -> None:
        """Read an index; a line that a kill cut short, or that points past the data, is passed over."""
        with index.open(encoding="utf-8", newline="", errors="replace") as file:
            for line in csv.reader(file):
                if len(line) != 9 or line[8] != ".":
                    continue
                part, row, crc32, sha256, crop, size, mtime_ns, path, _ = line
                with contextlib.suppress(ValueError):
                    entry = Entry(part=self.folder / part, row=int(row), crc32=int(crc32), sha256=sha256)
                    self._remember(entry, crop, sha256, path, FileState(size=int(size), mtime_ns=int(mtime_ns)))

    def _map(self, entry: Entry) -> NDArray[np.float32]:
        """The data file of an entry, mapped anew where it has grown up to it."""
        known = self._maps.get(entry.part)
        if known is None or len(known) <= entry.row:
            rows = entry.part.stat().st_size // (4 * self.size)
            known = np.memmap(entry.part, dtype="<f4", mode="c", shape=(rows, self.size))
            self._maps[entry.part] = known
        return known

    def _holds(self, entry: Entry) -> bool:
        try:
            data = self._map(entry)
        except (OSError, ValueError):
            return False
        return entry.row < len(data) and zlib.crc32(data[entry.row].tobytes()) == entry.crc32


def _path(clip: Clip) -> str:
    return str(clip.path.absolute())


@advising("--cache")
def open_store(cache: Path, key: str, size: int, about: dict[str, Any]) -> Store:
    """Open the store of a key, made new where there is none.

    Args:
        cache: the cache folder.
        key: hexadecimal digits.
        size: D.
        about: what the key stands for.

    Raises:
        StorageError: the folder cannot be made.
    """
    folder = cache / "embeddings" / key[:32]
    make_folder(folder)
    if not (folder / ABOUT).is_file():
        write_whole(folder / ABOUT, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode())
    newest = folder / NEWEST
    current = folder / newest.read_text(encoding="utf-8") if newest.is_file() else folder
    return Store(current if current.is_dir() else folder, size)


def stores(cache: Path) -> list[tuple[dict[str, Any], int]]:
    """What is in a cache folder: each store's about.json, and its size in bytes."""
    found = []
    for about in sorted((cache / "embeddings").glob(f"*/{ABOUT}")):
        try:
            facts = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            facts = {"name": "?"}
        found.append((facts, sum(path.stat().st_size for path in about.parent.rglob("*") if path.is_file())))
    return found


def clear_stores(cache: Path) -> int:
    """Delete all embeddings of a cache folder, and what stopped probes go on from; returns the bytes freed."""
    freed = sum(size for _, size in stores(cache))
    for stopped in (cache / resuming.FOLDER).glob(f"*{resuming.SUFFIX}"):
        freed += stopped.stat().st_size
        stopped.unlink()
    for about in list((cache / "embeddings").glob(f"*/{ABOUT}")):
        shutil.rmtree(about.parent)
    return freed
