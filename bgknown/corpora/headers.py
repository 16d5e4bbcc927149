"""Lengths, rates and channels of many files, read in parallel and remembered in a cache folder."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bgknown.audio import read_header
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.files import make_folder, sha256, write_whole
from bgknown.parallel import in_threads
from bgknown.surroundings import default_cache, library_folders

__all__ = ["clear_cache", "default_cache", "header_facts"]
log = logging.getLogger(__name__)

FACT_COLUMNS = ["size", "mtime_ns", "frames", "rate_hz", "channels", "container", "problem"]
_CACHE_VERSION = 1
MINIATURE_MARK = ".miniature"
"""A file in each corpus that was made by ``bgknown.corpora.miniature``."""


def clear_cache(cache: Path) -> int:
    """Delete what this software has put into a cache folder; returns the number of bytes freed."""
    corpora = [mark.parent for mark in (cache / "miniature").glob(f"*/{MINIATURE_MARK}")]
    for name in ("ESC-50", "FSD50K"):  # what a kill left unfinished
        corpora += [path for path in (cache / "miniature").glob(f".{name}-*") if path not in corpora]
    libraries = library_folders(cache)
    tables = list((cache / "headers").glob("v*-????????????????.csv"))
    inside = [path for corpus in [*corpora, *libraries] for path in corpus.rglob("*") if path.is_file()]
    freed = sum(path.stat().st_size for path in [*tables, *inside])
    for corpus in [*corpora, *libraries]:
        shutil.rmtree(corpus)
    for path in tables:
        path.unlink()
    for folder in (cache / "headers", cache / "miniature"):
        with contextlib.suppress(OSError):  # not there, or something of the user's is in it
            folder.rmdir()
    return freed


def header_facts(root: Path, files: Sequence[str], *, cache: Path, title: str) -> pd.DataFrame:
    """Header facts of files, from the cache where size and time of change are still the same.

    Args:
        root: folder of the corpus.
        files: paths relative to it.
        cache: cache folder; what cannot be written there is only a log warning.
        title: title of the progress bar.

    Returns:
        One row per file, in the order given: size, mtime_ns, frames, rate_hz, channels, container, problem.
    """
    remembered = _load(root, cache)
    stats = [_stat(root / file) for file in files]
    known = {(row[0], row[1], row[2]): row[3:] for row in remembered.itertuples(index=False, name=None)}
    rows = [known.get((file, *stat)) for file, stat in zip(files, stats, strict=True)]
    unread = [place for place, row in enumerate(rows) if row is None]
    if unread:
        read = in_threads(_facts, [root / files[place] for place in unread], title=title, unit="file")
        for place, row in zip(unread, read, strict=True):
            rows[place] = row
    table = pd.DataFrame([(*stat, *(row or ())) for stat, row in zip(stats, rows, strict=True)], columns=FACT_COLUMNS)
    if unread:
        _save(root, cache, files, table)
    return table


def _facts(path: Path) -> tuple[int, int, int, str, str]:
    try:
        header = read_header(path)
    except (InvalidInputError, NotFoundError) as error:
        return 0, 0, 0, "", str(error)
    except OSError as error:
        return 0, 0, 0, "", str(error.strerror or error)
    return header.frames, header.rate_hz, header.channels, header.container, ""


def _stat(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


def _cache_file(root: Path, cache: Path) -> Path:
    name = sha256(str(root.resolve()).encode())[:16]
    return cache / "headers" / f"v{_CACHE_VERSION}-{name}.csv"


def _load(root: Path, cache: Path) -> pd.DataFrame:
    path = _cache_file(root, cache)
    columns = ["file", *FACT_COLUMNS]
    empty = pd.DataFrame(columns=columns)
    if not path.is_file():
        return empty
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"file": str, "container": str, "problem": str})
    except (ValueError, OSError):
        return empty
    return table if list(table.columns) == columns else empty


def _save(root: Path, cache: Path, files: Sequence[str], table: pd.DataFrame) -> None:
    whole = table[table["problem"] == ""].assign(
        file=[file for file, bad in zip(files, table["problem"], strict=True) if not bad]
    )
    earlier = _load(root, cache)
    merged = pd.concat([frame for frame in (earlier, whole[["file", *FACT_COLUMNS]]) if not frame.empty] or [earlier])
    merged = merged.drop_duplicates("file", keep="last")
    path = _cache_file(root, cache)
    try:
        make_folder(path.parent)
        write_whole(path, merged.to_csv(index=False).encode())
    except (StorageError, OSError) as error:
        log.warning("the header cache could not be written (%s); the headers will be read again next time", error)
