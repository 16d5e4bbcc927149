"""The two corpora of a dataset: one gives the clips, the other the backgrounds."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from bgknown.corpora import CorpusIndex, esc50, fsd50k, table
from bgknown.corpora.columns import ESC50_PREFIXES, TABLE_PREFIXES, CorpusPrefixes
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.userpath import expand_fields, user_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}", re.ASCII)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPaths:
    """Where the two corpora of a dataset are, and what it is called."""

    esc50: Path | None = None
    """Folder of ESC-50, whose clips are the foreground."""
    foreground_table: Path | None = None
    """A table of other clips (``bgknown.corpora.table``), in place of ESC-50."""
    fsd50k: Path | None = None
    """Folder of FSD50K, whose recordings are the backgrounds."""
    background_table: Path | None = None
    """A table of other recordings, in place of FSD50K."""
    name: str | None = None
    """What the dataset is called, after "BgKnown"; by default after its corpora."""
    test_folds: tuple[int, ...] = ()
    """Folds of tables that are for testing; by default the highest 40 %."""

    def __post_init__(self) -> None:
        expand_fields(self, "esc50", "foreground_table", "fsd50k", "background_table")
        for official, own in (("esc50", "foreground_table"), ("fsd50k", "background_table")):
            if (getattr(self, official) is None) == (getattr(self, own) is None):
                without = "without tables, esc50 and fsd50k must both be given"
                raise InvalidInputError(f"{official} and {own}: give exactly one of them ({without})")
        has_table = self.foreground_table is not None or self.background_table is not None
        if not has_table and (self.name is not None or self.test_folds):
            given = "a name" if self.name is not None else "folds for testing"
            raise InvalidInputError(f"{given} can be given only with a table; ESC-50 with FSD50K is BgKnown ESC-50")
        if self.name is not None and (not _NAME.fullmatch(self.name) or self.name.lower() == "esc-50"):
            raise InvalidInputError(
                f"the name is {shorten_value(self.name)}; it must be 1 to 60 ASCII letters, digits, spaces, dots, "
                "hyphens and underscores, begin with a letter or digit, and not be ESC-50"
            )


def open_corpus_paths(paths: CorpusPaths, *, cache: Path) -> Corpora:
    """Index both corpora, whichever they are.

    Raises:
        NotFoundError, InvalidInputError: a folder or a table is wrong.
    """
    cache, folds = user_path(cache), paths.test_folds
    if paths.foreground_table is not None:
        foreground = table.index_foreground(paths.foreground_table, cache=cache, test_folds=folds)
    else:
        foreground = esc50.index(_require(paths.esc50), cache=cache)
    if paths.background_table is not None:
        background = table.index_background(paths.background_table, cache=cache, test_folds=folds)
    else:
        background = fsd50k.index(_require(paths.fsd50k), cache=cache)
    if folds and not (foreground.test_folds or background.test_folds):
        raise InvalidInputError("folds for testing are given, but no table has a column fold; leave them out")
    foreground, background = _name_apart(foreground, background)
    for index in (foreground, background):
        index.warn_of_size()
    name = paths.name or f"{foreground.facts.name} with {background.facts.name}"
    official = paths.foreground_table is None and paths.background_table is None
    return Corpora(foreground=foreground, background=background, name="ESC-50" if official else name)


def _name_apart(foreground: CorpusIndex, background: CorpusIndex) -> tuple[CorpusIndex, CorpusIndex]:
    """The corpora, of which tables of one name, such as two metadata.csv, are called after what they give."""
    if foreground.facts.name.casefold() != background.facts.name.casefold():
        return foreground, background
    first, second = (
        replace(index, facts=replace(index.facts, name=f"{index.facts.name} {what}"))
        if index.reader == "table"
        else index
        for index, what in ((foreground, "clips"), (background, "backgrounds"))
    )
    return first, second


def _require(root: Path | None) -> Path:
    if root is None:
        raise InvalidInputError("a corpus is missing; give its folder or a table")
    return root


def open_corpora(esc50_root: Path, fsd50k_root: Path, *, cache: Path) -> Corpora:
    """Index ESC-50 and FSD50K, and log a warning if one is not of its published size.

    Raises:
        NotFoundError, InvalidInputError: a folder or a table is wrong.
    """
    return open_corpus_paths(CorpusPaths(esc50=esc50_root, fsd50k=fsd50k_root), cache=cache)
