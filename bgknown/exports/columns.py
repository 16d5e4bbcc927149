"""The columns of an export: their types, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

ColumnKind = Literal["text", "integer", "number"]

MEANINGS = {
    "clip_id": "name of the row: the clip, and the number of the draw or the SNR where there are several",
    "pair": "name of the pair",
    "split": "part of the dataset",
    "scene": "the scene, by its background",
    "fold": "fold of the clip in its corpus",
    "target": "number of the class",
    "category": "the class",
    "group": "clips with the same group come from one source",
    "same_class": "1: the background contains the clip's class; 0: it does not; empty: not known",
    "draw": "number of the draw, from 0",
    "snr_db": "SNR that was drawn, dB (loudness of the clip minus loudness of the background)",
    "achieved_snr_db": "SNR measured in the finished audio, dB",
    "ref_db": "loudness of the background in the mixture, LUFS",
    "scale": "factor of the mixture and its references so that none clips",
    "event_frames": "length of the clip, samples from the start of the mixture",
    "event_gain_db": "gain of the clip in the mixture before the scale, dB",
    "background_gain_db": "gain of the background in the mixture before the scale, dB",
    "scaper_version": "version of Scaper that rendered the row, or that the renderer equals",
    "text": "what changes from s1 to s2",
    "changes": "the changes as codes, joined by ;",
    "mix": "the clip mixed with a part of a recording",
    "a": "the same part of the recording, without the clip",
    "b": "a part of the recording that overlaps a by half",
    "c": "a part of the recording that does not overlap a",
    "s1": "the first soundscape",
    "s2": "the second soundscape",
    "jams": "Scaper's annotation of the mixture (JSON)",
    "id": "name of the query (the pair) or of the target",
    "audio": "the soundscape: s1 in queries, s2 in the corpus",
    "query-id": "name of a query",
    "corpus-id": "name of a target that is right for it",
    "score": "1",
}
"""What a column means."""
_PATTERNS = {
    r"(esc50|foreground)_file": "the clip, relative to its corpus",
    r"(fsd50k|background)_file": "the recording of the background, relative to its corpus",
    r"(fsd50k|background)_labels": "labels of that recording, joined by commas",
    r"(esc50|foreground)_(licence|uploader|title)": r"\2 of the clip's source",
    r"(fsd50k|background)_(licence|uploader|title)": r"\2 of the recording of the background",
    r"([abc])_start": r"where \1 begins in the recording, samples",
    r"classes_(s[12])": r"event classes of \1, joined by ;",
    r"jams_(s[12])": r"the JAMS of \1, relative to their folder",
    r"(\w+)_sha256": r"SHA-256 of the file of \1",
    r"(\w+)_file": r"the file of \1 in the original folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of the manifest."""

    name: str
    """Its name."""
    kind: ColumnKind
    """The type of its values."""

    @property
    def meaning(self) -> str:
        """What it means; empty for a column that this version does not know."""
        return describe_column(self.name)


def list_table_columns(table: pd.DataFrame) -> list[TableColumn]:
    """The columns of a table, in their order."""
    return [TableColumn(name=str(name), kind=_find_kind(table[name])) for name in table.columns]


def describe_column(name: str) -> str:
    """What a column means; empty if it is not known."""
    if name in MEANINGS:
        return MEANINGS[name]
    fitting = ((pattern, text) for pattern, text in _PATTERNS.items() if re.fullmatch(pattern, name))
    return next((re.sub(pattern, text, name) for pattern, text in fitting), "")


def format_column_table(columns: Sequence[tuple[str, str]]) -> str:
    """A Markdown table of columns.

    Args:
        columns: name and type of each.
    """
    lines = ["| column | type | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {kind} | {describe_column(name)} |" for name, kind in columns]
    return "\n".join(lines)


def _find_kind(values: pd.Series) -> ColumnKind:
    if pd.api.types.is_integer_dtype(values.dtype):
        return "integer"
    return "number" if pd.api.types.is_float_dtype(values.dtype) else "text"
