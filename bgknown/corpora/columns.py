"""Names of the columns that belong to one of the two corpora.

In memory the fields of a row are called ``foreground_...`` and ``background_...``. In tables of ESC-50 with FSD50K the
columns are called ``esc50_...`` and ``fsd50k_...``, in those of other corpora as in memory. Either pair is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

CORPUS_FIELDS = frozenset(
    f"{side}_{what}" for side in ("foreground", "background") for what in ("file", "licence", "uploader", "title")
) | {"background_labels"}
"""Fields whose columns are named after a corpus. Others, such as ``background_gain_db``, keep their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPrefixes:
    """What the columns of the two corpora begin with; also their keys in dataset.json."""

    foreground: str
    """Of the corpus that the clips come from."""
    background: str
    """Of the corpus that the backgrounds come from."""

    @property
    def foreground_file(self) -> str:
        """The column of the clip's file."""
        return f"{self.foreground}_file"

    @property
    def background_file(self) -> str:
        """The column of the recording's file."""
        return f"{self.background}_file"

    def name_column(self, field: str) -> str:
        """The column of a field."""
        if field not in CORPUS_FIELDS:
            return field
        side, _, what = field.partition("_")
        return f"{getattr(self, side)}_{what}"

    def name_columns(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by field as values by column, in the same order."""
        return {self.name_column(field): value for field, value in values.items()}


ESC50_PREFIXES = CorpusPrefixes(foreground="esc50", background="fsd50k")
"""Of ESC-50 with FSD50K."""
TABLE_PREFIXES = CorpusPrefixes(foreground="foreground", background="background")
"""Of all other corpora."""


def find_corpus_prefixes(columns: Collection[str]) -> CorpusPrefixes:
    """The prefixes of a table, by its columns; those of ESC-50 with FSD50K where it has neither pair."""
    if ESC50_PREFIXES.foreground_file not in columns and TABLE_PREFIXES.foreground_file in columns:
        return TABLE_PREFIXES
    return ESC50_PREFIXES
