"""A set of pairs on disk: its layout, its manifest, its description.

::

    manifest.csv                             one row per pair, written last
    texts.csv                                every text of each pair, where a table gives several
    dataset.json                             name, version, configuration, inputs, counts, what was left out
    audio/{scene}/{split}/{pair}_{s1,s2}.wav 44.1 kHz, mono, 16 or 32 bits
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.pairs import SIDES
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST, PAIRS
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, read_csv, select
from bgknown.userpath import user_path

FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
TEXTS = "texts.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair. The fields are the columns of the manifest, in their order; what does not exist is empty."""

    pair: str
    """The pair's name."""
    split: str
    """dev or eval."""
    scene: str
    """The scene."""
    s1: str = ""
    """Audio of the first soundscape, relative to the set."""
    s2: str = ""
    """Audio of the second soundscape."""
    text: str = ""
    """What changes from s1 to s2."""
    classes_s1: str = ""
    """Event classes of s1, joined by ";"."""
    classes_s2: str = ""
    """Event classes of s2."""
    changes: str = ""
    """Codes of the changes, joined by ";"."""
    jams_s1: str = ""
    """JAMS of s1, relative to the folder of the JAMS."""
    jams_s2: str = ""
    """JAMS of s2."""
    s1_sha256: str = ""
    """Of the audio of s1."""
    s2_sha256: str = ""
    """Of the audio of s2."""
    jams_s1_sha256: str = ""
    """Of the JAMS of s1."""
    jams_s2_sha256: str = ""
    """Of the JAMS of s2."""
    other_changes: str = ""
    """Codes of the changes that the published codes in ``changes`` cannot express, joined by ";"."""


COLUMNS = [field.name for field in fields(PairRow)]
_get_values = attrgetter(*COLUMNS)
OTHER_CHANGES = "other_changes"
"""The column that sets of earlier versions lack; it is read as empty."""


def make_table(rows: Iterable[PairRow]) -> pd.DataFrame:
    """The manifest of some pairs, sorted by pair."""
    return pd.DataFrame([_get_values(row) for row in rows], columns=COLUMNS).sort_values("pair", ignore_index=True)


def compose_audio_path(scene: str, split: str, pair: str, side: str, container: str) -> str:
    """The path of the audio of a side, relative to the set."""
    return f"audio/{scene}/{split}/{pair}_{side}.{container}"


def read_manifest(root: Path) -> pd.DataFrame:
    """The manifest of a finished set, every column as text.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is damaged.
    """
    root = user_path(root)
    if not (root / MANIFEST).is_file():
        unfinished = "its build is not finished: run the same `bgknown apwd build` again"
        state = unfinished if (root / ".work").is_dir() else "no set of pairs"
        raise NotFoundError(f"{root}: {state} (no {MANIFEST})")
    known = [name for name in COLUMNS if name != OTHER_CHANGES]
    advice = "the set is damaged; build it again"
    whole = read_csv(root / MANIFEST, advice=advice)
    table = select(whole, COLUMNS if OTHER_CHANGES in whole else known, root / MANIFEST, advice=advice)
    if OTHER_CHANGES not in table:
        table = table.assign(**{OTHER_CHANGES: ""})
    repeated = table["pair"][table["pair"].duplicated()]
    if not repeated.empty:
        raise InvalidInputError(
            f"{root / MANIFEST}, line {find_line_numbers(table)[repeated.index[0]]}: "
            f"the pair {repeated.iloc[0]} has two rows"
        )
    for column in ("s1", "s2", "jams_s1", "jams_s2"):
        there = [(line, name) for line, name in zip(find_line_numbers(table), table[column], strict=True) if name]
        check_inside([name for _, name in there], [line for line, _ in there], root / MANIFEST, column)
    return table


def derive_pair_set_id(table: pd.DataFrame, *, sources: str = "") -> str:
    """64 hexadecimal digits that sets share if their pairs, splits, texts, classes, changes and audio are the same.

    Pairs without audio files count by their JAMS instead, and by the sources that these are rendered from.

    Args:
        table: a manifest, or some of its rows.
        sources: fingerprint of the source tree that pairs without audio are rendered from.
    """
    names = ["pair", "split", "scene", "text", "classes_s1", "classes_s2", "changes"]
    audio = {side: table[f"{side}_sha256"].where(table[side] != "", table[f"jams_{side}_sha256"]) for side in SIDES}
    rows = table[names].assign(**audio).sort_values("pair")
    rendered = any((table[side] == "").any() for side in SIDES)
    return hash_bytes((sources if rendered else "").encode(), rows.to_csv(index=False, lineterminator="\n").encode())


def read_pair_description(root: Path) -> dict[str, Any]:
    """The content of dataset.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it describes something else, or a format that this version does not know.
    """
    path = root / DESCRIPTION
    description = read_object(path)
    if description.get("name") != PAIRS:
        raise InvalidInputError(f"{path}: describes {description.get('name')!r}, not {PAIRS!r}")
    parts = {"configuration": dict, "inputs": dict, "counts": dict, "skipped": list}
    if description.get("format") != FORMAT or not all(isinstance(description.get(k), v) for k, v in parts.items()):
        raise InvalidInputError(f"{path}: damaged, or not of format {FORMAT}; build the set again in a new folder")
    return description


def format_pair_manifest(table: pd.DataFrame) -> bytes:
    """The CSV of a manifest: sorted by pair, fixed columns, LF line ends."""
    return table[COLUMNS].sort_values("pair", ignore_index=True).to_csv(index=False, lineterminator="\n").encode()
