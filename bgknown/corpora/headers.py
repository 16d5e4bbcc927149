"""Lengths, rates and channels of many files, read in parallel and stored in a cache folder."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.audio.files import read_header
from bgknown.errors import BgknownError, StorageError
from bgknown.jobs.files import hash_bytes, make_folder, write_whole
from bgknown.jobs.parallel import in_threads
from bgknown.jobs.surroundings import default_cache, list_library_folders

__all__ = ["clear_cache", "default_cache", "read_header_facts"]
log = logging.getLogger(__name__)

STATE_COLUMNS = ["size", "mtime_ns", "ctime_ns", "inode"]
"""These show whether a file has changed; a file that replaces another may have the same size and time."""
FACT_COLUMNS = [*STATE_COLUMNS, "frames", "rate_hz", "channels", "container", "problem"]
_CACHE_VERSION = 2
_CACHE_COLUMNS = ["file", *FACT_COLUMNS, "check"]
MINIATURE_MARK = ".miniature"
"""A file in each corpus that was made by ``bgknown.corpora.miniature``."""


def clear_cache(cache: Path) -> int:
    """Delete this software's files in a cache folder; returns the number of bytes freed."""
    corpora = [mark.parent for mark in (cache / "miniature").glob(f"*/{MINIATURE_MARK}")]
    for name in ("ESC-50", "FSD50K"):  # unfinished, from a process that was killed
        corpora += [path for path in (cache / "miniature").glob(f".{name}-*") if path not in corpora]
    libraries = list_library_folders(cache)
    tables = list((cache / "headers").glob("v*-????????????????.csv"))
    inside = [path for corpus in [*corpora, *libraries] for path in corpus.rglob("*") if path.is_file()]
    freed = sum(path.stat().st_size for path in [*tables, *inside])
    for corpus in [*corpora, *libraries]:
        shutil.rmtree(corpus)
    for path in tables:
        path.unlink()
    for folder in (cache / "headers", cache / "miniature"):
        with contextlib.suppress(OSError):  # it does not exist, or contains files of the user
            folder.rmdir()
    return freed


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
    states = [_read_state(root / file) for file in files]
    rows = [known.get((file, *state)) if state[-1] else None for file, state in zip(files, states, strict=True)]
    unread = [place for place, row in enumerate(rows) if row is None]
    if unread:
        read = in_threads(_read_facts, [root / files[place] for place in unread], title=title, unit="file")
        for place, row in zip(unread, read, strict=True):
            rows[place] = row
    facts = [(*state, *(row or ())) for state, row in zip(states, rows, strict=True)]
    if unread:
        _write_cache(
            root, cache, known | {(file, *fact[:4]): fact[4:] for file, fact in zip(files, facts, strict=True)}
        )
    return pd.DataFrame(facts, columns=FACT_COLUMNS)


_State = tuple[int, int, int, int]
_Facts = tuple[int, int, int, str, str]


def _read_facts(path: Path) -> _Facts:
    try:
        header = read_header(path)
    except BgknownError as error:
        return 0, 0, 0, "", str(error)
    return header.frames, header.rate_hz, header.channels, header.container, ""


def _read_state(path: Path) -> _State:
    """The state of a file; its inode is 0 on file systems that have none, and then nothing is stored."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _compose_cache_path(root: Path, cache: Path) -> Path:
    name = hash_bytes(str(root.resolve()).encode())[:16]
    return cache / "headers" / f"v{_CACHE_VERSION}-{name}.csv"


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
    last = {key[0]: (key, fact) for key, fact in facts.items() if not fact[-1] and key[-1]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CACHE_COLUMNS)
    for key, fact in last.values():
        row = [str(value) for value in (*key, *fact)]
        writer.writerow([*row, _make_check(row)])
    path = _compose_cache_path(root, cache)
    try:
        make_folder(path.parent)
        write_whole(path, text.getvalue().encode())
    except (StorageError, OSError, UnicodeEncodeError) as error:
        log.warning("the header cache could not be written (%s); the headers will be read again next time", error)
