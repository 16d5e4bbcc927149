"""The two corpora of BgKnown ESC-50."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bgknown.corpora import CorpusIndex, esc50, fsd50k
from bgknown.userpath import user_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """The two corpora of BgKnown ESC-50."""

    esc50: CorpusIndex
    """Index of ESC-50."""
    fsd50k: CorpusIndex
    """Index of FSD50K."""


def open_corpora(esc50_root: Path, fsd50k_root: Path, *, cache: Path) -> Corpora:
    """Index both corpora and log a warning if one is not of its published size.

    Raises:
        NotFoundError, InvalidInputError: a folder or a table is wrong.
    """
    esc50_root, fsd50k_root, cache = map(user_path, (esc50_root, fsd50k_root, cache))
    corpora = Corpora(esc50=esc50.index(esc50_root, cache=cache), fsd50k=fsd50k.index(fsd50k_root, cache=cache))
    corpora.esc50.warn_of_size()
    corpora.fsd50k.warn_of_size()
    return corpora
