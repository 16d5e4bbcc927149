"""SHA-256 of many files, remembered in the cache folder while the state of each file stays the same.

Runs compare the content of a task's audio with that of the previous run. Reading 150,000 files each time would take
minutes, so a file is hashed again only if its size, times or inode have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.embedding.clips import Clip
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder
from bgknown.errors import InvalidInputError
from bgknown.jobs.caches import HASHES
from bgknown.jobs.digests import recall_digests
from bgknown.jobs.files import hash_bytes, hash_file
from bgknown.jobs.parallel import in_threads


def hash_contents(paths: Sequence[Path], *, cache: Path) -> list[str]:
    """SHA-256 of files, from the cache where they have not changed.

    Args:
        paths: the files.
        cache: cache folder; what cannot be written there is only a log warning.

    Returns:
        64 hexadecimal digits for each file; empty for one that is missing or cannot be read.
    """
    return recall_digests(paths, hash_files, place=HASHES, cache=cache)


def hash_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of files, read now; empty for one that is missing or cannot be read."""
    return in_threads(_hash, paths, title="hashes of files", unit="file") if paths else []


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError:
        return ""


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
