"""Freesound: the source of ESC-50, UrbanSound8K and FSD50K, whose file names hold the id of the sound.

One sound may be in several corpora, so what a model was trained on and what it is tested on are compared by this id.
"""

from __future__ import annotations

import re
from pathlib import PurePath

_ID = "([1-9][0-9]{0,8})"
_DRAW = r"(?:_r\d+)?"  # BgKnown names the mixtures of one clip with several backgrounds like this
_NAMES = (
    re.compile(_ID),  # FSD50K: 123456.wav
    re.compile(rf"[1-5]-{_ID}-[A-Z]-\d{{1,2}}{_DRAW}"),  # ESC-50: fold-ID-take-target
    re.compile(rf"{_ID}-\d-\d+-\d+"),  # UrbanSound8K: ID-class-occurrence-slice
    re.compile(rf"{_ID}__.+"),  # a download from Freesound: ID__user__title.wav
)
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}")


def find_freesound_id(name: str) -> int | None:
    """The Freesound id in the name of a file, by the rules of FSD50K, ESC-50, UrbanSound8K and Freesound itself.

    A name that is only a number counts as an id, unless it begins with 0. Corpora that number their own files in this
    way cannot be told apart from FSD50K.

    Args:
        name: the name, with or without folders and suffix.

    Returns:
        the id; None for any other name.

    >>> [find_freesound_id(name) for name in ("FSD50K/63.wav", "1-100032-A-0.wav", "7061-6-0-0.wav", "00012.wav")]
    [63, 100032, 7061, None]
    """
    path = PurePath(name.strip())
    stem = path.stem if _SUFFIX.fullmatch(path.suffix) else path.name
    found = next((match for rule in _NAMES if (match := rule.fullmatch(stem))), None)
    return int(found[1]) if found else None
