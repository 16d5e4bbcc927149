"""Digests of many files, remembered in the cache folder while the state of each file stays the same.

Reading 150,000 files each time would take minutes, so a file is read again only if its size, times or inode have
changed.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bgknown.errors import StorageError
from bgknown.jobs.caches import Cache
from bgknown.jobs.files import hash_bytes, list_state, make_folder
from bgknown.jobs.parallel import in_threads
from bgknown.jobs.sealed import read_sealed, write_sealed

log = logging.getLogger(__name__)

_Known = dict[str, tuple[list[int], str]]


def recall_digests(
    paths: Sequence[Path], digest_files: Callable[[Sequence[Path]], Sequence[str]], *, place: Cache, cache: Path
) -> list[str]:
    """The digests of files, from the cache where they have not changed.

    Args:
        paths: the files.
        digest_files: makes the digests of some files, empty for one that cannot be read, which is not remembered.
        place: where in the cache folder they are remembered.
        cache: cache folder; what cannot be written there is only a log warning.

    Returns:
        one for each file.
    """
    if not paths:
        return []
    absolute = [path.absolute() for path in paths]
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    table = cache / place.folder / place.files.replace("*", hash_bytes(os.fsencode(root))[:16])
    names = [os.fsencode(path.relative_to(root)).decode(errors="backslashreplace") for path in absolute]
    known = _load(table)
    states = in_threads(list_state, absolute, title="states of files", unit="file")
    found = [_recall(known.get(name), state) for name, state in zip(names, states, strict=True)]
    changed = [number for number, digest in enumerate(found) if not digest]
    if changed:
        digests = digest_files([absolute[number] for number in changed])
        for number, digest in zip(changed, digests, strict=True):
            found[number] = digest
            known[names[number]] = states[number], digest
        _save(table, known)
    return found


def _recall(known: tuple[list[int], str] | None, state: list[int]) -> str:
    return known[1] if known is not None and state and known[0] == state else ""


def _load(table: Path) -> _Known:
    """The digests in a table; empty where there is none, or it is damaged."""
    data = read_sealed(table)
    if data is None:
        return {}
    rows = csv.reader(io.StringIO(bytes(data).decode(), newline=""))
    return {name: ([int(number) for number in state], digest) for name, *state, digest in rows}


def _save(table: Path, known: _Known) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([name, *state, digest] for name, (state, digest) in sorted(known.items()) if state and digest)
    try:
        make_folder(table.parent)
        write_sealed(table, text.getvalue().encode())
    except StorageError as error:
        log.warning("the cache of hashes could not be written (%s); files will be hashed again next time", error)
