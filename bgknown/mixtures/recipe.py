"""The recipe: one row per ESC-50 clip and draw, saying which recording, which crops and how loud.

A recipe, the two corpora and the options in ``dataset.json`` determine every output byte. It is a CSV file sorted by
``clip_id``; starts are whole samples at 44.1 kHz, levels are in dB (LUFS for ``ref_db``). Only where clips have several
draws is there a column ``draw``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pandas as pd

from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora import CorpusIndex
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import advise_option, hash_bytes, make_folder, write_whole
from bgknown.mixtures.naming import name_clip, name_row
from bgknown.paths import find_fault
from bgknown.tables import find_line_numbers, list_records, parse_numbers, parse_whole_numbers, read_csv, select
from bgknown.userpath import user_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRow:
    """What determines one mixture. The fields are the columns of the CSV, in their order."""

    clip_id: str
    """Name of the row and of its mixture; see ``bgknown.mixtures.naming``."""
    split: str
    """train or test."""
    fold: int
    """The clip's fold in ESC-50, 1 to 5."""
    target: int
    """The number of the clip's class."""
    category: str
    """The clip's class."""
    esc50_file: str
    """The clip, relative to ESC-50."""
    fsd50k_file: str
    """The recording of the background, relative to FSD50K."""
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
        """The ESC-50 clip."""
        return name_clip(self.esc50_file)

    @property
    def starts(self) -> dict[str, int]:
        """The first sample of each crop."""
        return {"a": self.a_start, "b": self.b_start, "c": self.c_start}

    @classmethod
    def from_columns(cls, values: Mapping[str, Any]) -> Self:
        """The row that a row of a table holds; further columns are left out."""
        return cls(
            **{
                field.name: values[field.name]
                for field in fields(cls)
                if field.name != DRAW_COLUMN or DRAW_COLUMN in values
            }
        )

    def to_columns(self) -> dict[str, Any]:
        """The values by column."""
        columns = asdict(self)
        if self.draw is None:
            del columns[DRAW_COLUMN]
        return columns


DRAW_COLUMN = "draw"
"""The column that only recipes of several draws have."""
COLUMNS = [field.name for field in fields(RecipeRow) if field.name != DRAW_COLUMN]
"""Columns of a recipe of one draw."""
INTEGERS = ["fold", "target", "a_start", "b_start", "c_start"]
FLOATS = ["snr_db", "ref_db"]

CLIP_FRAMES = 5 * RATE_HZ
"""Samples in a mixture and in each reference: 5 s."""
OVERLAP_FRAMES = CLIP_FRAMES // 2
"""How far reference b starts from reference a: 50 % overlap."""

SPLIT_OF_FOLD = {1: "train", 2: "train", 3: "train", 4: "test", 5: "test"}
"""Folds 1-3 are for training, 4 and 5 for testing (Takeuchi et al., section 5.2)."""
PART_OF_SPLIT = {"train": "dev", "test": "eval"}
"""Which part of FSD50K gives each split its backgrounds."""

SNR_LIMITS_DB = (-40.0, 40.0)
REF_LIMITS_DB = (-50.0, 0.0)
"""What 16 bits can represent well enough."""


def list_columns(there: Collection[str], kind: type[RecipeRow] = RecipeRow) -> list[str]:
    """The columns of a recipe, in their order; with ``draw`` if it is among those that are there.

    Args:
        there: names of columns.
        kind: the class of its rows; a manifest's has more columns.
    """
    return [field.name for field in fields(kind) if field.name != DRAW_COLUMN or DRAW_COLUMN in there]


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
        repeated = np.flatnonzero(table[["esc50_file", DRAW_COLUMN, "snr_db"]].duplicated())
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


def check_recipe(recipe: pd.DataFrame, esc50: CorpusIndex, fsd50k: CorpusIndex) -> None:
    """Check every row against the rules of BgKnown ESC-50 and the corpora at hand.

    Raises:
        InvalidInputError: lists every row that breaks a rule.
    """
    clips, recordings = _index_by_name(esc50, fsd50k)
    faults = [
        f"  {row.clip_id}: {fault}" for row in list_rows(recipe) for fault in _find_faults(row, clips, recordings)
    ]
    if faults:
        shown = "\n".join(faults[:50]) + (f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else "")
        raise InvalidInputError(
            f"the recipe breaks {len(faults)} rule{'s' * (len(faults) > 1)}; nothing was built:\n{shown}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSources:
    """Where the corpora at hand have the sources of a row; a file is found by its stem, whatever its type."""

    row: RecipeRow
    """The row."""
    clip_file: str
    """The clip, relative to ESC-50."""
    recording_file: str
    """The recording, relative to FSD50K."""
    background_label: str
    """The recording's first label."""


def resolve_sources(recipe: pd.DataFrame, esc50: CorpusIndex, fsd50k: CorpusIndex) -> Iterator[RowSources]:
    """The sources of each row of a recipe that ``check_recipe`` accepts."""
    clips, recordings = _index_by_name(esc50, fsd50k)
    for row in list_rows(recipe):
        recording = recordings[_stem(row.fsd50k_file)]
        yield RowSources(
            row=row,
            clip_file=clips[row.clip]["file"],
            recording_file=recording["file"],
            background_label=recording["label"],
        )


def _index_by_name(
    esc50: CorpusIndex, fsd50k: CorpusIndex
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    clips = {row["clip_id"]: row for row in list_records(esc50.table)}
    recordings = {_stem(row["file"]): row for row in list_records(fsd50k.table)}
    return clips, recordings


def _find_faults(
    row: RecipeRow, clips: Mapping[str, Mapping[str, Any]], recordings: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for column, file in (("esc50_file", row.esc50_file), ("fsd50k_file", row.fsd50k_file)):
        if find_fault(file) or ":" in file or len(PurePosixPath(file.replace("\\", "/")).parts) != 2:
            yield f"{column} {file!r} leaves the corpus; it must be FOLDER/FILE relative to the corpus"
            return
    clip, recording = clips.get(row.clip), recordings.get(_stem(row.fsd50k_file))
    fault = _find_name_fault(row, clip)
    if clip is None or fault:
        yield fault
        return
    if recording is None:
        yield f"{row.fsd50k_file!r} is not listed in this FSD50K"
        return
    for column, value in (("fold", row.fold), ("target", row.target), ("category", row.category)):
        if value != clip[column]:
            yield f"{column} is {value!r}, in ESC-50 it is {clip[column]!r}"
    split = SPLIT_OF_FOLD[clip["fold"]]
    if row.split != split:
        yield f"split is {row.split!r}, fold {clip['fold']} belongs to {split!r}"
    if recording["part"] != PART_OF_SPLIT[split]:
        part = PART_OF_SPLIT[split]
        yield f"a {split} clip takes its background from FSD50K's {part} set, not from {row.fsd50k_file!r}"
    if recording["recording_id"] == clip["freesound_id"]:
        yield f"the background shares the Freesound id {clip['freesound_id']} with the clip"
    for column, level, (low, high) in (("snr_db", row.snr_db, SNR_LIMITS_DB), ("ref_db", row.ref_db, REF_LIMITS_DB)):
        if not low <= level <= high:
            yield f"{column} is {level}; it must be in {low:g}..{high:g}"
    if recording["frames"]:
        yield from _find_crop_faults(row, count_frames_44k(recording["frames"], recording["rate_hz"]))


def _find_name_fault(row: RecipeRow, clip: Mapping[str, Any] | None) -> str:
    """What is wrong with the names of a row and its clip; empty for nothing."""
    same = clip is not None and _stem(clip["file"]) == _stem(row.esc50_file)
    if not same or (row.draw is None and not is_named(row)):
        return f"{row.esc50_file!r} is not the clip of that name in this ESC-50"
    if row.draw is not None and row.draw < 0:
        return f"draw is {row.draw}; it must not be negative"
    if not is_named(row):
        return f"draw {row.draw} of clip {row.clip} must be named {name_row(row.clip, row.draw)}"
    return ""


def _find_crop_faults(row: RecipeRow, frames: int) -> Iterator[str]:
    for name, start in row.starts.items():
        if start < 0 or start + CLIP_FRAMES > frames:
            yield (
                f"{name}_start {start:,} to {start + CLIP_FRAMES:,} goes beyond {row.fsd50k_file!r}, "
                f"which has {frames:,} samples at 44.1 kHz"
            )
    if abs(row.b_start - row.a_start) != OVERLAP_FRAMES:
        yield f"b_start must be {OVERLAP_FRAMES:,} samples before or after a_start (50 % overlap)"
    if abs(row.c_start - row.a_start) < CLIP_FRAMES:
        yield f"c_start must be at least {CLIP_FRAMES:,} samples before or after a_start (no overlap)"


def _stem(file: str) -> str:
    """Folder and name without type: what identifies a file of a corpus."""
    return str(PurePosixPath(file).with_suffix(""))


def is_named(row: RecipeRow) -> bool:
    """Whether a row is named for its clip and its draw, with or without its SNR."""
    return row.clip_id in {name_row(row.clip, row.draw), name_row(row.clip, row.draw, row.snr_db)}
