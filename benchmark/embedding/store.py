"""Embeddings on disk: found by their audio, appended as they are computed, memory-mapped when they are read.

::

    {cache}/embeddings/{key}/           one folder for everything that an embedding depends on besides the audio
        about.json                      what the key stands for, for people
        part-{process}.f32              rows of D float32
        part-{process}.csv              one line for each: ``benchmark.embedding.store_index``

Every process writes its own parts, so any number may work on one folder. A row counts once its line exists: data is
flushed first. A row or a line with a wrong checksum is computed again.

A file counts as the one that was embedded while its state (``bgknown.jobs.files.FileState``) is the same; otherwise the
hash of its content decides.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.embedding.clips import Clip
from benchmark.embedding.store_index import IndexLine, read_line, write_line
from bgknown.jobs.caches import EMBEDDINGS, HEAD_EMBEDDINGS, measure_folder
from bgknown.jobs.files import FileState, advise_option, describe_storage_error, make_folder, write_whole
from bgknown.jobs.sealed import read_json_object

log = logging.getLogger(__name__)


GENERATION = "again-"
BLOCK_ROWS = 4096
"""Rows that are copied at a time."""
IN_MEMORY_BYTES = 1 << 30
"""Copies of embeddings up to this size are held in memory."""
NEWEST = "newest"
"""File that names the current folder of a store that was emptied."""
_AGAIN = re.compile(rf"{GENERATION}[0-9a-f]{{32}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where an embedding is."""

    part: Path
    """The data file."""
    row: int
    """Row in it."""
    crc32: int
    """Checksum of its bytes."""
    sha256: str
    """SHA-256 of the audio file."""


class Store:
    """The embeddings of one key."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.by_audio: dict[tuple[str, str], Entry] = {}
        self.by_file: dict[tuple[str, str, FileState], Entry] = {}
        self._known: set[tuple[str, str] | tuple[str, int, str]] = set()
        self._maps: dict[Path, NDArray[np.float32]] = {}
        self._own = folder / f"part-{uuid.uuid4().hex}.f32"
        self._data: io.BufferedWriter | None = None
        for index in sorted(folder.glob("part-*.csv")):
            self._load(index)

    def find(self, clip: Clip, state: FileState) -> Entry | None:
        """The embedding of a file whose state has not changed since, if its checksum is right."""
        entry = self.by_file.get((_path(clip), clip.crop, state)) if self.by_file else None
        return entry if entry is not None and self._holds(entry) else None

    def may_hold(self, clip: Clip, state: FileState) -> bool:
        """Whether hashing a file may find its embedding: one of its path, or of its name and size, exists."""
        return bool(self._known) and not self._known.isdisjoint(
            {(_path(clip), clip.crop), (clip.path.name, state.size, clip.crop)}
        )

    def find_audio(self, sha256: str, crop: str) -> Entry | None:
        """The embedding of the same bytes under whatever name."""
        entry = self.by_audio.get((sha256, crop))
        return entry if entry is not None and self._holds(entry) else None

    @advise_option("--cache")
    def append(self, rows: NDArray[np.float32], items: Sequence[tuple[Clip, FileState, str]]) -> None:
        """Add embeddings [n, D] of clips, with each one's file state and SHA-256.

        Raises:
            StorageError: the disk is full or refuses; earlier embeddings are unharmed.
        """
        rows = np.ascontiguousarray(rows, dtype="<f4")
        try:
            if self._data is None:
                self._data = self._own.open("xb")
            first = self._data.tell() // (4 * self.size)
            self._data.write(rows.data)
            self._data.flush()
            os.fsync(self._data.fileno())
        except OSError as error:
            raise describe_storage_error(error, self.folder) from error
        entries = [
            Entry(part=self._own, row=first + place, crc32=zlib.crc32(row), sha256=sha256)
            for place, (row, (_, _, sha256)) in enumerate(zip(rows, items, strict=True))
        ]
        self._note(entries, items)

    @advise_option("--cache")
    def alias(self, entries: Sequence[Entry], items: Sequence[tuple[Clip, FileState]]) -> None:
        """Record that files hold audio that is already embedded, so that they need not be read again."""
        self._note(entries, [(clip, state, entry.sha256) for entry, (clip, state) in zip(entries, items, strict=True)])

    def gather(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        """Embeddings as [n, D] float32: a view of the file if they are consecutive there.

        Otherwise they are copied: into memory, or large ones into an unnamed file, which is mapped and disappears with
        the array.

        Raises:
            StorageError: there is not enough room for that file.
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
            raise describe_storage_error(error, self.folder) from error

    def _blocks(self, entries: Sequence[Entry]) -> Iterator[NDArray[np.float32]]:
        """Copies of embeddings, block by block."""
        for start in range(0, len(entries), BLOCK_ROWS):
            block = entries[start : start + BLOCK_ROWS]
            out = np.empty((len(block), self.size), dtype=np.float32)
            for place, entry in enumerate(block):
                out[place] = self._map(entry)[entry.row]
            yield out

    def start_empty(self) -> Store:
        """Replace the content by a new, empty folder in this one, so that other processes can finish with the old one.

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
        """Close the file that is being written."""
        if self._data is not None:
            # closing tries to write again what a full disk refused, which was reported; all that counts is flushed
            with contextlib.suppress(OSError):
                self._data.close()
            self._data = None

    def _note(self, entries: Sequence[Entry], items: Sequence[tuple[Clip, FileState, str]]) -> None:
        index, lines = self._own.with_suffix(".csv"), []
        for entry, (clip, state, _) in zip(entries, items, strict=True):
            line = IndexLine(
                part=entry.part.name,
                row=entry.row,
                crc32=entry.crc32,
                sha256=entry.sha256,
                crop=clip.crop,
                state=state,
                path=_path(clip),
            )
            lines.append(line)
        try:
            with index.open("ab") as file:
                file.write(b"".join(map(write_line, lines)))
        except OSError as error:
            raise describe_storage_error(error, index) from error
        for entry, line in zip(entries, lines, strict=True):
            self._remember(entry, line.crop, line.path, line.state)

    def _remember(self, entry: Entry, crop: str, path: str, state: FileState, *, sure: bool = True) -> None:
        self.by_audio[entry.sha256, crop] = entry
        if sure:
            self.by_file[path, crop, state] = entry
        self._known.add((path, crop))
        self._known.add((os.path.basename(path), state.size, crop))  # noqa: PTH119  (quick)

    def _load(self, index: Path) -> None:
        """Read an index; lines that are damaged, or truncated by a kill, are skipped."""
        try:
            lines = index.read_bytes().split(b"\n")
        except OSError as error:
            log.warning("%s cannot be read (%s); its embeddings are computed again", index, error.strerror or error)
            return
        for line in filter(None, map(read_line, lines)):
            entry = Entry(part=self.folder / line.part, row=line.row, crc32=line.crc32, sha256=line.sha256)
            self._remember(entry, line.crop, line.path, line.state, sure=line.sure)

    def _map(self, entry: Entry) -> NDArray[np.float32]:
        """The data file of an entry, mapped again if it has grown."""
        known = self._maps.get(entry.part)
        if known is None or len(known) <= entry.row:
            rows = entry.part.stat().st_size // (4 * self.size)
            known = np.asarray(np.memmap(entry.part, dtype="<f4", mode="c", shape=(rows, self.size)))  # quick to index
            self._maps[entry.part] = known
        return known

    def _holds(self, entry: Entry) -> bool:
        try:
            data = self._map(entry)
        except (OSError, ValueError):
            return False
        return entry.row < len(data) and zlib.crc32(data[entry.row]) == entry.crc32


def _path(clip: Clip) -> str:
    return str(clip.path.absolute())


@advise_option("--cache")
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
    folder = cache / EMBEDDINGS.folder / key[:32]
    make_folder(folder)
    if not _about(folder):
        write_whole(folder / EMBEDDINGS.mark, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode())
    return Store(_newest(folder), size)


def _newest(folder: Path) -> Path:
    """The current folder of a store: its own, or the folder in it that ``newest`` names, never another."""
    try:
        name = (folder / NEWEST).read_bytes().decode(errors="replace")
    except OSError:
        return folder
    current = folder / name if _AGAIN.fullmatch(name) else folder
    return current if current.is_dir() and not current.is_symlink() else folder


def _about(folder: Path) -> dict[str, Any]:
    """The content of a store's about.json; empty where it is missing or damaged."""
    try:
        facts = read_json_object((folder / EMBEDDINGS.mark).read_bytes()) or {}
    except OSError:
        return {}
    named = {"name", "precision", "weights_sha256"}
    return facts if all(isinstance(facts.get(key, ""), str) for key in named) else {}


def list_stores(cache: Path) -> list[tuple[dict[str, Any], int]]:
    """List the stores of embeddings in a cache folder: each one's about.json, and its size in bytes."""
    found = []
    for kind in (EMBEDDINGS, HEAD_EMBEDDINGS):
        for about in sorted((cache / kind.folder).glob(f"*/{kind.mark}")):
            facts = _about(about.parent) or {"name": "?"}
            found.append((facts, measure_folder(about.parent)))
    return found
