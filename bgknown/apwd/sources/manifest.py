"""What a preparation writes: the source tree of APwD, its table and its description.

::

    sources.csv                                        one row per file, written last
    source.json                                        style, options, corpora, counts, what was left out
    {dev,eval}/background/{label}/{FSD50K id}.wav      44.1 kHz, 16-bit, mono
    {dev,eval}/foreground/{label}/{FSD50K id}.wav      the same files: background-class layers as events
    {dev,eval}/foreground/{label}/{ESC-50 clip}.wav
    .work/                                             while it is unfinished: options, journal, lock

A preparation can be killed at any moment; the next run of the same options goes on from what it left and ends with the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import sync_folder, write_whole
from bgknown.jobs.problems import is_problem
from bgknown.jobs.workspace import Workspace
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_text_table

TABLE = "sources.csv"
COLUMNS = ["file", "split", "role", "label", "origin", "frames", "sha256"]
DESCRIPTION = "source.json"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
WAV_HEADER_BYTES = 44


def read_table(root: Path) -> pd.DataFrame:
    """The rows of sources.csv, frames as whole numbers.

    Raises:
        NotFoundError: the folder holds no finished source tree.
        InvalidInputError: the table is damaged.
    """
    path = root / TABLE
    if not path.is_file():
        unfinished = "its preparation has not ended: run the same command again"
        state = unfinished if (root / ".work").is_dir() else "no source tree of bgknown"
        raise NotFoundError(f"{root}: {state} (no {TABLE})")
    table = read_text_table(path, COLUMNS, advice="the source tree is damaged; prepare it again in a new folder")
    check_inside(table["file"], find_line_numbers(table), path, "file")
    return table.assign(frames=parse_whole_numbers(table, "frames", path))


def read_source_description(root: Path) -> dict[str, Any]:
    """The content of source.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is no JSON object, or of a format that this version does not know.
    """
    path = root / DESCRIPTION
    description = read_object(path)
    shape = {"name": str, "format": int, "configuration": dict, "skipped": list}
    if not all(isinstance(description.get(key), kind) for key, kind in shape.items()):
        raise InvalidInputError(f"{path}: damaged (no description of a source tree); delete {root} and prepare again")
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


def finish(workspace: Workspace, table: pd.DataFrame, description: Mapping[str, Any]) -> None:
    """Write source.json and, last, sources.csv.

    Raises:
        StorageError: the disk is full or refuses.
    """
    out = workspace.out
    for folder in sorted({(out / file).parent for file in table["file"]}):
        sync_folder(folder)
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    write_whole(out / DESCRIPTION, text.encode(), aside=workspace.scratch)
    sync_folder(out)
    rows = table[COLUMNS].to_csv(index=False, lineterminator="\n")
    write_whole(out / TABLE, rows.encode(), aside=workspace.scratch)
    sync_folder(out)
