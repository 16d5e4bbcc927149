"""SHA-256 of many files, remembered in the cache folder while the state of each file stays the same.

Runs compare the content of a task's audio with that of the previous run. Reading 150,000 files each time would take
minutes, so a file is hashed again only if its size, times or inode have changed.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from benchmark.embedding.clips import Clip
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.caches import HASHES
from bgknown.jobs.files import hash_bytes, hash_file, list_state, make_folder
from bgknown.jobs.parallel import in_threads
from bgknown.jobs.sealed import read_sealed, write_sealed

log = logging.getLogger(__name__)

Known = dict[str, tuple[list[int], str]]


def hash_contents(paths: Sequence[Path], *, cache: Path) -> list[str]:
    """SHA-256 of files, from the cache where they have not changed.

    Args:
        paths: the files.
        cache: cache folder; what cannot be written there is only a log warning.

    Returns:
        64 hexadecimal digits for each file; empty for one that is missing or cannot be read.
    """
    if not paths:
        return []
    absolute = [path.absolute() for path in paths]
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    table = cache / HASHES.folder / HASHES.files.replace("*", hash_bytes(os.fsencode(root))[:16])
    names = [os.fsencode(path.relative_to(root)).decode(errors="backslashreplace") for path in absolute]
    known = _load(table)
    states = in_threads(list_state, absolute, title="states of files", unit="file")
    found = [_recall(known.get(name), state) for name, state in zip(names, states, strict=True)]
    changed = [place for place, digest in enumerate(found) if not digest]
    if changed:
        digests = hash_files([absolute[place] for place in changed])
        for place, digest in zip(changed, digests, strict=True):
            found[place] = digest
            known[names[place]] = states[place], digest
        _save(table, known)
    return found


def hash_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of files, read now; empty for one that is missing or cannot be read."""
    return in_threads(_hash, paths, title="hashes of files", unit="file") if paths else []


def _recall(known: tuple[list[int], str] | None, state: list[int]) -> str:
    return known[1] if known is not None and state and known[0] == state else ""


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError:
        return ""


def _load(table: Path) -> Known:
    """The hashes in a table; empty where there is none, or it is damaged."""
    data = read_sealed(table)
    if data is None:
        return {}
    rows = csv.reader(io.StringIO(bytes(data).decode(), newline=""))
    return {name: ([int(number) for number in state], digest) for name, *state, digest in rows}


def _save(table: Path, known: Known) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([name, *state, digest] for name, (state, digest) in sorted(known.items()) if state and digest)
    try:
        make_folder(table.parent)
        write_sealed(table, text.getvalue().encode())
    except StorageError as error:
        log.warning("the cache of hashes could not be written (%s); files will be hashed again next time", error)


def hash_fit(loaded: LoadedEncoder, fit_on: Sequence[Clip], *, cache: Path) -> str:
    """SHA-256 over the audio that an encoder takes statistics from; empty for one that needs none.

    Raises:
        InvalidInputError: it needs some, and there is no audio.
    """
    if not isinstance(loaded.encoder, FittedEncoder):
        return ""
    if not fit_on:
        raise InvalidInputError(
            f"encoder {loaded.name} takes statistics from a task's training audio, but there is none"
        )
    unknown = [clip.path for clip in fit_on if not clip.sha256]
    known = dict(zip(unknown, hash_contents(unknown, cache=cache), strict=True))
    hashes = [clip.sha256 or known[clip.path] for clip in fit_on]
    return hash_bytes(
        "\n".join(sorted(f"{value} {clip.crop}" for value, clip in zip(hashes, fit_on, strict=True))).encode()
    )
