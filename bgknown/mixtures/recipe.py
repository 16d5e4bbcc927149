"""The recipe: one row per clip and draw, saying which recording, which crops and how loud.

A recipe, the two corpora and the options in ``dataset.json`` determine every output byte. It is a CSV file sorted by
``clip_id``; starts are whole samples at 44.1 kHz, levels are in dB (LUFS for ``ref_db``). Only where clips have several
draws is there a column ``draw``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from bgknown.audio.files import RATE_HZ
from bgknown.corpora.columns import CORPUS_FIELDS, ESC50_PREFIXES, CorpusPrefixes, find_corpus_prefixes
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import advise_option, hash_bytes, make_folder, write_whole
from bgknown.mixtures.naming import find_clip
from bgknown.tables import find_line_numbers, list_records, parse_numbers, parse_whole_numbers, read_csv, select
from bgknown.userpath import user_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRow:
    """What determines one mixture. The fields are the columns of the CSV, in their order, by ``CorpusPrefixes``."""

    clip_id: str
    """Name of the row and of its mixture; see ``bgknown.mixtures.naming``."""
    split: str
    """train or test."""
    fold: int
    """The clip's fold, 1 to 5 in ESC-50; 0 in a corpus without folds."""
    target: int
    """The number of the clip's class."""
    category: str
    """The clip's class."""
    foreground_file: str
    """The clip, relative to its corpus."""
    background_file: str
    """The recording of the background, relative to its corpus."""
    a_start: int
    """First sample of crop (a) in the recording, at 44.1 kHz."""
    b_start: int
    """First sample of crop (b)."""
    c_start: int
    """First sample of crop (c)."""
    snr_db: float
    """Signal-to-noise ratio of the clip against crop (a)."""
    ref_db: float
    """Loudness of crop (a) in the mixture, LUFS."""
    draw: int | None = None
    """Number of the draw from 0, where clips have several; otherwise None, and not a column."""

    @property
    def clip(self) -> str:
        """The clip."""
        return find_clip(self.clip_id, self.foreground_file, self.draw, self.snr_db)

    @property
    def starts(self) -> dict[str, int]:
        """The first sample of each crop."""
        return {"a": self.a_start, "b": self.b_start, "c": self.c_start}

    @classmethod
    def from_columns(cls, values: Mapping[str, Any]) -> Self:
        """The row that a row of a table holds, whatever the prefixes; further columns are left out."""
        columns = _name_columns(tuple(cls.__dataclass_fields__), find_corpus_prefixes(values))
        return cls(**{name: values[column] for name, column in columns.items() if column in values})

    def to_columns(self, prefixes: CorpusPrefixes) -> dict[str, Any]:
        """The values by column."""
        names = _name_columns(tuple(self.__dataclass_fields__), prefixes)
        columns = {column: getattr(self, name) for name, column in names.items()}
        if self.draw is None:
            del columns[DRAW_COLUMN]
        return columns


@cache
def _name_columns(names: tuple[str, ...], prefixes: CorpusPrefixes) -> Mapping[str, str]:
    """The columns of some fields of a row."""
    return {name: prefixes.name_column(name) for name in names}


def list_optional(kind: type[RecipeRow]) -> frozenset[str]:
    """The fields of a row whose columns a table may lack."""
    return frozenset(field.name for field in fields(kind) if field.default is not MISSING)


DRAW_COLUMN = "draw"
"""The column that only recipes of several draws have."""
COLUMNS = [ESC50_PREFIXES.name_column(field.name) for field in fields(RecipeRow) if field.name != DRAW_COLUMN]
"""Columns of a recipe of one draw, for ESC-50 with FSD50K."""
INTEGERS = ["fold", "target", "a_start", "b_start", "c_start"]
FLOATS = ["snr_db", "ref_db"]

MIXTURE_S = 5.0
"""Default length of a mixture and of each reference."""
DURATION_LIMITS_S = (0.5, 60.0)
"""Loudness is measured in blocks of 0.4 s, and Scaper repeats what is shorter than 0.5 s; a background needs twice the
duration, and longer recordings are rare."""
CLIP_FRAMES = round(MIXTURE_S * RATE_HZ)
"""Samples in a mixture and in each reference, of the default length."""

DATASET_SPLITS = ("train", "test")

SNR_LIMITS_DB = (-40.0, 40.0)
REF_LIMITS_DB = (-50.0, 0.0)
"""What 16 bits can represent well enough."""


def count_clip_frames(duration_s: float) -> int:
    """Samples in a mixture, and in each reference, of a duration.

    Raises:
        InvalidInputError: the duration is out of range.
    """
    low, high = DURATION_LIMITS_S
    if not low <= duration_s <= high:
        raise InvalidInputError(f"the duration is {duration_s:g} s; it must be in {low:g}..{high:g}")
    return round(duration_s * RATE_HZ)


def find_overlap_shift(clip_frames: int) -> int:
    """How far reference b starts from reference a: 50 % overlap, rounded up to a whole sample."""
    return clip_frames // 2


def list_columns(there: Collection[str], kind: type[RecipeRow] = RecipeRow) -> list[str]:
    """The columns of a recipe, in their order: with the prefixes of those that are there, optional ones if there.

    Args:
        there: names of columns.
        kind: the class of its rows; a manifest's has more columns.
    """
    prefixes, optional = find_corpus_prefixes(there), list_optional(kind)
    columns = _name_columns(tuple(kind.__dataclass_fields__), prefixes)
    return [column for name, column in columns.items() if name not in optional or column in there]


def set_prefixes(recipe: pd.DataFrame, prefixes: CorpusPrefixes) -> pd.DataFrame:
    """A recipe with other prefixes of its columns."""
    given = find_corpus_prefixes(recipe.columns)
    return recipe.rename(columns={given.name_column(name): prefixes.name_column(name) for name in CORPUS_FIELDS})


def format_recipe(recipe: pd.DataFrame) -> bytes:
    """The canonical CSV of a recipe: sorted by clip_id, these columns, LF line ends, shortest exact decimals."""
    table = recipe[list_columns(recipe.columns)].sort_values("clip_id", ignore_index=True)
    return table.to_csv(index=False, lineterminator="\n").encode()


def list_rows(recipe: pd.DataFrame) -> list[RecipeRow]:
    """The rows of a recipe, or of a manifest."""
    return [RecipeRow.from_columns(row) for row in list_records(recipe)]


def hash_recipe(recipe: pd.DataFrame) -> str:
    """Fingerprint of the canonical CSV."""
    return hash_bytes(format_recipe(recipe))


def read_recipe(path: Path) -> pd.DataFrame:
    """Read a recipe, or the recipe columns of a manifest.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: columns are missing, a value is not a number, or a clip has two rows, or two of one draw.
    """
    path = user_path(path)
    advice = "`bgknown plan` writes a recipe"
    whole = read_csv(path, advice=advice)
    table = select(whole, list_columns(whole.columns), path, advice=advice)
    repeated = np.flatnonzero(table["clip_id"].duplicated())
    if repeated.size:
        clip_id = table["clip_id"].iloc[repeated[0]]
        line = find_line_numbers(table)[repeated[0]]
        raise InvalidInputError(f"{path}, line {line}: clip {clip_id} has two rows")
    table = parse_columns(table, path)
    if DRAW_COLUMN in table:
        repeated = np.flatnonzero(
            table[[find_corpus_prefixes(table.columns).foreground_file, DRAW_COLUMN, "snr_db"]].duplicated()
        )
        if repeated.size:
            row = list_rows(table.iloc[repeated[:1]])[0]
            line = find_line_numbers(table)[repeated[0]]
            raise InvalidInputError(f"{path}, line {line}: clip {row.clip} has two rows of draw {row.draw}")
    return table.sort_values("clip_id", ignore_index=True)


def parse_columns(text: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A recipe, or a manifest, with the numbers of the recipe parsed.

    Raises:
        InvalidInputError: a value is not a number; names the line.
    """
    table = text
    for column in [*INTEGERS, *[DRAW_COLUMN] * (DRAW_COLUMN in text)]:
        table = table.assign(**{column: parse_whole_numbers(text, column, path)})
    for column in FLOATS:
        table = table.assign(**{column: parse_numbers(text, column, path)})
    return table


def check_target(path: Path) -> None:
    """Refuse to write a recipe over a file that is not a recipe.

    Raises:
        InvalidInputError: the path is not a file name, or the file is something else.
    """
    if not path.name:
        raise InvalidInputError("the recipe needs a file name, such as recipe.csv")
    if (path.parent / "dataset.json").exists():
        raise InvalidInputError(f"{path}: is in a dataset, which a new recipe would damage; give another --out")
    if path.exists() or path.is_symlink():
        try:
            read_recipe(path)
            header = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",")
            exact = header == list_columns(header)
        except (InvalidInputError, NotFoundError, OSError):
            exact = False
        if not exact:
            raise InvalidInputError(f"{path}: already exists and is not a recipe; give another --out")


@advise_option("--out")
def write_recipe(recipe: pd.DataFrame, path: Path) -> None:
    """Write a recipe, over an older one if there is one.

    Raises:
        InvalidInputError: another file has that name.
        StorageError: it cannot be written.
    """
    path = user_path(path)
    check_target(path)
    make_folder(path.parent)
    write_whole(path, format_recipe(recipe))
