"""Names of clips, by their files.

They are what ``pathlib`` gives, in a tenth of the time: a build asks for the names of its files several times.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_ODD = re.compile("(?:^|/)[.]?(?:/|$)")  # an empty part, or a dot: pathlib leaves them out


def drop_type(file: str) -> str:
    """Folder and name without type: what identifies a file of a corpus.

    >>> drop_type("fold1/bark.v2.wav")
    'fold1/bark.v2'
    """
    return str(PurePosixPath(file).with_suffix("")) if _ODD.search(file) else file[: _find_type(file)]


def name_clip(file: str) -> str:
    """The clip of a file whose name no other file of the corpus has: the name without its type."""
    if _ODD.search(file):
        return PurePosixPath(file).stem
    return file[file.rfind("/") + 1 : _find_type(file)]


def name_clip_by_path(file: str) -> str:
    """The clip of a file whose name others have too: the path without its type, as one name."""
    if _ODD.search(file):
        return "_".join(PurePosixPath(file).with_suffix("").parts)
    return file[: _find_type(file)].replace("/", "_")


def _find_type(file: str) -> int:
    """Where the type of a file begins: at the last dot of its name that is neither the first nor the last letter."""
    place = file.rfind(".")
    return place if file.rfind("/") + 1 < place < len(file) - 1 else len(file)
