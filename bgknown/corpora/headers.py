"""Lengths, rates and channels of many files, read in parallel and stored in a cache folder."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.audio.files import read_header
from bgknown.errors import BgknownError, StorageError
from bgknown.jobs.caches import HEADERS
from bgknown.jobs.files import hash_bytes, make_folder, read_state, write_whole
from bgknown.jobs.parallel import in_threads
from bgknown.jobs.surroundings import default_cache

__all__ = ["default_cache", "read_header_facts"]
log = logging.getLogger(__name__)

STATE_COLUMNS = ["size", "mtime_ns", "ctime_ns", "inode"]
"""What shows that a file has changed (``bgknown.jobs.files.FileState``)."""
FACT_COLUMNS = [*STATE_COLUMNS, "frames", "rate_hz", "channels", "container", "problem"]
_CACHE_VERSION = 2
_CACHE_COLUMNS = ["file", *FACT_COLUMNS, "check"]


def read_header_facts(root: Path, files: Sequence[str], *, cache: Path, title: str) -> pd.DataFrame:
    """Header facts of files, from the cache for files that have not changed (``STATE_COLUMNS``).

    A length that a header does not contain is counted by decoding, and stored too.

    Args:
        root: folder of the corpus.
        files: paths relative to it.
        cache: cache folder; failing to write there is only a log warning.
        title: title of the progress bar.

    Returns:
        One row per file, in the order given: size, mtime_ns, ctime_ns, inode, frames, rate_hz, channels, container,
        problem.
    """
    known = _read_cache(root, cache)
    states = [_list_state(os.path.join(root, file)) for file in files]  # noqa: PTH118  (a fifth of the time of Path)
    rows = [known.get((file, *state)) if state[-1] else None for file, state in zip(files, states, strict=True)]
    unread = [number for number, row in enumerate(rows) if row is None]
    if unread:
        read = in_threads(partial(_read_facts, root), [files[number] for number in unread], title=title, unit="file")
        equal: dict[_Facts, _Facts] = {}  # one tuple for all files with the same facts, of which a corpus has many
        for number, row in zip(unread, read, strict=True):
            rows[number] = equal.setdefault(row, row)
        known |= {(file, *state): row for file, state, row in zip(files, states, rows, strict=True) if row is not None}
        _write_cache(root, cache, known)
    facts = [(*state, *(row or ())) for state, row in zip(states, rows, strict=True)]
    return pd.DataFrame(facts, columns=FACT_COLUMNS)


_State = tuple[int, int, int, int]
_Facts = tuple[int, int, int, str, str]


def _read_facts(root: Path, file: str) -> _Facts:
    try:
        header = read_header(root / file)
    except BgknownError as error:
        return 0, 0, 0, "", str(error)
    return header.frames, header.rate_hz, header.channels, header.container, ""


def _list_state(path: str) -> _State:
    """The state of a file in the order of ``STATE_COLUMNS``; zeros for one that is missing.

    The inode is 0 on file systems that have none, where nothing is remembered.
    """
    try:
        state = read_state(path)
    except OSError:
        return 0, 0, 0, 0
    return state.size, state.mtime_ns, state.ctime_ns, state.inode


def _compose_cache_path(root: Path, cache: Path) -> Path:
    name = hash_bytes(str(root.resolve()).encode())[:16]
    return cache / HEADERS.folder / f"v{_CACHE_VERSION}-{name}.csv"


def _read_cache(root: Path, cache: Path) -> dict[tuple[Any, ...], _Facts]:
    """Facts by file and state; damaged rows are left out, and their headers are read again."""
    path = _compose_cache_path(root, cache)
    found: dict[tuple[Any, ...], _Facts] = {}
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.reader(line.replace("\0", "") for line in file):
                if len(row) == len(_CACHE_COLUMNS) and row[-1] == _make_check(row[:-1]):
                    numbers = [int(value) for value in row[1:8]]
                    key = (row[0], *numbers[:4])
                    found[key] = (numbers[4], numbers[5], numbers[6], row[8], row[9])
    except (OSError, csv.Error):
        return found
    return found


def _make_check(row: Sequence[str]) -> str:
    """Checksum of a row of the cache."""
    return hashlib.blake2b("\0".join(row).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _write_cache(root: Path, cache: Path, facts: dict[tuple[Any, ...], _Facts]) -> None:
    """Store the facts of whole files, each in its last state only."""
    last = {key[0]: key for key, fact in facts.items() if not fact[-1] and key[-1]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CACHE_COLUMNS)
    for key in last.values():
        row = [str(value) for value in (*key, *facts[key])]
        writer.writerow([*row, _make_check(row)])
    path = _compose_cache_path(root, cache)
    try:
        make_folder(path.parent)
        write_whole(path, text.getvalue().encode())
    except (StorageError, OSError, UnicodeEncodeError) as error:
        log.warning("the header cache could not be written (%s); the headers will be read again next time", error)
