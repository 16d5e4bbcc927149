"""Recordings that are the same audio under two names.

FSD50K has 26 groups of equal files, one of them in dev and eval (ids 124855 and 199878). Audio is compared as it is
decoded, and only where the headers agree, so that little is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bgknown.audio.digest import hash_decoded
from bgknown.errors import BgknownError
from bgknown.jobs.caches import DECODED
from bgknown.jobs.digests import recall_digests
from bgknown.jobs.parallel import in_threads


def find_identical(
    recordings: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], *, root: Path, cache: Path
) -> dict[str, str]:
    """The recordings that are the same audio as one of the others.

    Args:
        recordings: rows of an index: file, frames, rate_hz, channels.
        others: rows of the same index, to compare with.
        root: folder of the corpus.
        cache: cache folder, where hashes are remembered.

    Returns:
        For the file of each such recording, the first of the others. Files that cannot be decoded are left out.
    """
    shapes = {_describe_shape(row) for row in others} & {_describe_shape(row) for row in recordings}
    there = [str(row["file"]) for row in others if _describe_shape(row) in shapes]
    here = [str(row["file"]) for row in recordings if _describe_shape(row) in shapes]
    files = list(dict.fromkeys([*there, *here]))
    hashes = recall_digests([root / file for file in files], _hash_files, place=DECODED, cache=cache)
    hash_of = dict(zip(files, hashes, strict=True))
    first = {hash_of[file]: file for file in sorted(there, reverse=True)}
    return {file: first[hash_of[file]] for file in here if hash_of[file] in first and hash_of[file]}


def _describe_shape(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return row["frames"], row["rate_hz"], row["channels"]


def _hash_files(paths: Sequence[Path]) -> list[str]:
    return in_threads(_hash_or_skip, paths, title="hashes of audio", unit="file")


def _hash_or_skip(path: Path) -> str:
    try:
        return hash_decoded(path)
    except (BgknownError, OSError):
        return ""  # reported where it is used
