"""The source tree of APwD on disk: its layout, its table, its description.

::

    sources.csv                                        one row per file, written last
    source.json                                        style, options, corpora, counts, what was left out
    {dev,eval}/background/{label}/{FSD50K id}.wav      44.1 kHz, 16-bit, mono
    {dev,eval}/foreground/{label}/{FSD50K id}.wav      the same files: background-class layers as events
    {dev,eval}/foreground/{label}/{ESC-50 clip}.wav
    .work/                                             while it is unfinished: options, journal, lock
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.problems import is_problem
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_text_table

TABLE = "sources.csv"
DESCRIPTION = "source.json"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
WAV_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One file of the tree. The fields are the columns of sources.csv, in their order."""

    file: str
    """The file, relative to the tree."""
    split: str
    """dev or eval."""
    role: str
    """background or foreground."""
    label: str
    """Its label in JAMS."""
    origin: str
    """The corpus, and the file in it that this one was made from."""
    frames: int
    """Its samples."""
    sha256: str
    """Of the file."""


COLUMNS = [field.name for field in fields(SourceRow)]


def read_table(root: Path) -> pd.DataFrame:
    """The rows of sources.csv, frames as whole numbers.

    Raises:
        NotFoundError: the folder holds no finished source tree.
        InvalidInputError: the table is damaged.
    """
    path = root / TABLE
    if not path.is_file():
        unfinished = "its preparation is not finished: run the same command again"
        state = unfinished if (root / ".work").is_dir() else "not a source tree of bgknown"
        raise NotFoundError(f"{root}: {state} (no {TABLE})")
    table = read_text_table(path, COLUMNS, advice="the source tree is damaged; prepare it again in a new folder")
    check_inside(table["file"], find_line_numbers(table), path, "file")
    return table.assign(frames=parse_whole_numbers(table, "frames", path))


def read_source_description(root: Path) -> dict[str, Any]:
    """The content of source.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is not a JSON object, or is in a format that this version does not know.
    """
    path = root / DESCRIPTION
    description = read_object(path)
    shape = {"name": str, "format": int, "configuration": dict, "skipped": list}
    if not all(isinstance(description.get(key), kind) for key, kind in shape.items()):
        raise InvalidInputError(
            f"{path}: damaged (not the description of a source tree); delete {root} and prepare again"
        )
    if description["format"] != FORMAT:
        raise InvalidInputError(
            f"{path}: damaged, or not of format {FORMAT} (it says {description.get('format')!r}); "
            "prepare the source tree again in a new folder"
        )
    skipped = description["skipped"]
    counts = description.get("counts")
    if not all(map(is_problem, skipped)) or not isinstance(counts, dict) or type(counts.get("not_clean")) is not int:
        raise InvalidInputError(f"{path}: damaged (skipped or counts); delete {root} and prepare again")
    return description


def format_table(table: pd.DataFrame) -> bytes:
    """The CSV of a table: fixed columns, LF line ends."""
    return table[COLUMNS].to_csv(index=False, lineterminator="\n").encode()
