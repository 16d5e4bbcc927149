"""Freesound: the source of ESC-50, UrbanSound8K and FSD50K, whose file names hold the id of the sound.

One sound may be in several corpora, so what a model was trained on and what it is tested on are compared by this id.
"""

from __future__ import annotations

import re

_ID = "([1-9][0-9]{0,8})"
_DRAW = r"(?:_r[0-9]+)?"  # BgKnown names the mixtures of one clip with several backgrounds like this
_NAMES = (
    _ID,  # FSD50K: 123456.wav
    rf"[1-5]-{_ID}-[A-Z]-[0-9]{{1,2}}{_DRAW}",  # ESC-50: fold-ID-take-target
    rf"{_ID}-[0-9]-[0-9]+-[0-9]+",  # UrbanSound8K: ID-class-occurrence-slice
    rf"{_ID}__.+",  # a download from Freesound: ID__user__title.wav
)
_PLACE, _TYPE = r"(?:.*[/\\])?", r"(?:\.[A-Za-z][A-Za-z0-9]{0,4})?"
_NAME = re.compile(f"{_PLACE}(?:{'|'.join(_NAMES)}){_TYPE}")
_DISTINCTIVE = re.compile(f"{_PLACE}(?:{'|'.join(_NAMES[1:])}){_TYPE}")


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
    match = _NAME.fullmatch(name.strip())
    return int(next(filter(None, match.groups()))) if match else None


def find_distinctive_id(name: str) -> int | None:
    """``find_freesound_id`` for corpora of unknown origin, in which a name that is only a number may mean anything.

    >>> [find_distinctive_id(name) for name in ("63.wav", "1-100032-A-0.wav", "fold5/100032-3-0-0.wav", "7__me__x.wav")]
    [None, 100032, 100032, 7]
    """
    match = _DISTINCTIVE.fullmatch(name.strip())
    return int(next(filter(None, match.groups()))) if match else None
