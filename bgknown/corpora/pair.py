"""The two corpora of a dataset: one gives the clips, the other the backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bgknown.corpora import CorpusIndex, esc50, fsd50k
from bgknown.corpora.columns import ESC50_PREFIXES, TABLE_PREFIXES, CorpusPrefixes
from bgknown.userpath import user_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """The two corpora of a dataset."""

    foreground: CorpusIndex
    """Index of the corpus that the clips come from, such as ESC-50."""
    background: CorpusIndex
    """Index of the corpus that the backgrounds come from, such as FSD50K."""
    name: str = "ESC-50"
    """What the dataset is called, after "BgKnown"."""

    @property
    def prefixes(self) -> CorpusPrefixes:
        """What the columns that belong to one of them begin with."""
        readers = (self.foreground.reader, self.background.reader)
        return ESC50_PREFIXES if readers == ("esc50", "fsd50k") else TABLE_PREFIXES


def open_corpora(esc50_root: Path, fsd50k_root: Path, *, cache: Path) -> Corpora:
    """Index ESC-50 and FSD50K, and log a warning if one is not of its published size.

    Raises:
        NotFoundError, InvalidInputError: a folder or a table is wrong.
    """
    esc50_root, fsd50k_root, cache = map(user_path, (esc50_root, fsd50k_root, cache))
    corpora = Corpora(
        foreground=esc50.index(esc50_root, cache=cache), background=fsd50k.index(fsd50k_root, cache=cache)
    )
    corpora.foreground.warn_of_size()
    corpora.background.warn_of_size()
    return corpora
