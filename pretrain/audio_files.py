"""The audio files of folders, with their names as typed."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from bgknown.corpora.listing import check_utf8, compose_name, list_audio, report_hidden
from bgknown.userpath import absolute


def find_audio(folders: Sequence[Path]) -> tuple[Path, list[str]]:
    """Find the audio files in folders and below, sorted by name; hidden ones are skipped and reported.

    Names are relative to the folder, or with several folders to the one that contains them all. A folder that is a link
    keeps its own name. A folder inside another one, or typed twice, counts once.

    Returns:
        the folder that names are relative to, and the names.

    Raises:
        StorageError: a folder cannot be read.
        InvalidInputError: a name is not UTF-8.
    """
    kept = drop_nested(folders)
    root = Path(os.path.commonpath(kept))
    found: set[str] = set()
    for folder in kept:
        listing = list_audio(folder)
        report_hidden(folder, listing.hidden)
        prefix = folder.relative_to(root)
        check_utf8(prefix)
        found.update((prefix / name).as_posix() for name in listing.files)
    return root, sorted(found)


def drop_nested(folders: Sequence[Path]) -> list[Path]:
    """Make folders absolute, and drop those that are equal to, or inside, another one."""
    typed = [absolute(folder) for folder in folders]
    real = [folder.resolve() for folder in typed]
    return [
        folder
        for place, folder in enumerate(typed)
        if not any(
            real[place].is_relative_to(other) and (real[place] != other or earlier < place)
            for earlier, other in enumerate(real)
            if earlier != place
        )
    ]


def matches_any(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name matches one of the patterns in any Unicode form, or there are none."""
    return not patterns or any(fnmatch.fnmatchcase(compose_name(name), compose_name(pattern)) for pattern in patterns)
