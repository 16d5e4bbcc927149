"""The recipe: one row per ESC-50 clip, saying which recording, which crops and how loud.

A recipe, the two corpora and the options in ``dataset.json`` determine every output byte. It is a CSV file sorted by
``clip_id``; starts are whole samples at 44.1 kHz, levels are in dB (LUFS for ``ref_db``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from bgknown import seeding
from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora import CorpusIndex
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import advise_option, hash_bytes, make_folder, write_whole
from bgknown.paths import find_fault
from bgknown.tables import find_line_numbers, list_records, parse_numbers, parse_whole_numbers, read_text_table
from bgknown.userpath import user_path

COLUMNS = [
    "clip_id",
    "split",
    "fold",
    "target",
    "category",
    "esc50_file",
    "fsd50k_file",
    "a_start",
    "b_start",
    "c_start",
    "snr_db",
    "ref_db",
]
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
"""What 16 bits hold well enough."""


def format_recipe(recipe: pd.DataFrame) -> bytes:
    """The canonical CSV of a recipe: sorted by clip_id, these columns, LF line ends, shortest exact decimals."""
    table = recipe[COLUMNS].sort_values("clip_id", ignore_index=True)
    return table.to_csv(index=False, lineterminator="\n").encode()


def hash_recipe(recipe: pd.DataFrame) -> str:
    """Fingerprint of the canonical CSV."""
    return hash_bytes(format_recipe(recipe))


def read_recipe(path: Path) -> pd.DataFrame:
    """Read a recipe, or the recipe columns of a manifest.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: columns are missing, a value is no number, or a clip stands there twice.
    """
    path = user_path(path)
    table = read_text_table(path, COLUMNS, advice="`bgknown plan` writes a recipe")
    repeated = np.flatnonzero(table["clip_id"].duplicated())
    if repeated.size:
        clip_id = table["clip_id"].iloc[repeated[0]]
        line = find_line_numbers(table)[repeated[0]]
        raise InvalidInputError(f"{path}, line {line}: clip {clip_id} has two rows")
    for column in INTEGERS:
        table = table.assign(**{column: parse_whole_numbers(table, column, path)})
    for column in FLOATS:
        table = table.assign(**{column: parse_numbers(table, column, path)})
    return table.sort_values("clip_id", ignore_index=True)


def check_target(path: Path) -> None:
    """Refuse to write a recipe over anything but a recipe.

    Raises:
        InvalidInputError: the path is no file name, or something else is there.
    """
    if not path.name:
        raise InvalidInputError("the recipe needs a file name, such as recipe.csv")
    if (path.parent / "dataset.json").exists():
        raise InvalidInputError(f"{path}: lies in a dataset, which a new recipe would damage; give another --out")
    if path.exists() or path.is_symlink():
        try:
            read_recipe(path)
            exact = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",") == COLUMNS
        except (InvalidInputError, NotFoundError, OSError):
            exact = False
        if not exact:
            raise InvalidInputError(f"{path}: is there already and is no recipe; give another --out")


@advise_option("--out")
def write_recipe(recipe: pd.DataFrame, path: Path) -> None:
    """Write a recipe, over an older one if need be.

    Raises:
        InvalidInputError: something else is there.
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
    clips, recordings = _by_name(esc50, fsd50k)
    faults = [
        f"  {row['clip_id']}: {fault}" for row in list_records(recipe) for fault in _faults(row, clips, recordings)
    ]
    if faults:
        shown = "\n".join(faults[:50]) + (f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else "")
        raise InvalidInputError(
            f"the recipe breaks {len(faults)} rule{'s' * (len(faults) > 1)}; nothing was built:\n{shown}"
        )


def resolve_sources(
    recipe: pd.DataFrame, esc50: CorpusIndex, fsd50k: CorpusIndex
) -> Iterator[tuple[dict[str, Any], ...]]:
    """Each recipe row with its rows in the two indexes; a file is found by its stem, whatever its type here."""
    clips, recordings = _by_name(esc50, fsd50k)
    for row in list_records(recipe):
        yield row, clips[row["clip_id"]], recordings[_stem(row["fsd50k_file"])]


def _by_name(esc50: CorpusIndex, fsd50k: CorpusIndex) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    clips = {row["clip_id"]: row for row in list_records(esc50.table)}
    recordings = {_stem(row["file"]): row for row in list_records(fsd50k.table)}
    return clips, recordings


def _faults(
    row: dict[str, Any], clips: dict[str, dict[str, Any]], recordings: dict[str, dict[str, Any]]
) -> Iterator[str]:
    for column in ("esc50_file", "fsd50k_file"):
        parts = PurePosixPath(row[column].replace("\\", "/")).parts
        if find_fault(row[column]) or ":" in row[column] or len(parts) != 2:
            yield f"{column} {row[column]!r} leaves the corpus; it must be FOLDER/FILE relative to the corpus"
            return
    clip, recording = clips.get(row["clip_id"]), recordings.get(_stem(row["fsd50k_file"]))
    if clip is None or _stem(clip["file"]) != _stem(row["esc50_file"]):
        yield f"{row['esc50_file']!r} is not the clip of that name in this ESC-50"
        return
    if recording is None:
        yield f"{row['fsd50k_file']!r} is not listed in this FSD50K"
        return
    for column in ("fold", "target", "category"):
        if row[column] != clip[column]:
            yield f"{column} is {row[column]!r}, in ESC-50 it is {clip[column]!r}"
    split = SPLIT_OF_FOLD[clip["fold"]]
    if row["split"] != split:
        yield f"split is {row['split']!r}, fold {clip['fold']} belongs to {split!r}"
    if recording["part"] != PART_OF_SPLIT[split]:
        part = PART_OF_SPLIT[split]
        yield f"a {split} clip takes its background from FSD50K's {part} set, not from {row['fsd50k_file']!r}"
    if recording["recording_id"] == clip["freesound_id"]:
        yield f"the background shares the Freesound id {clip['freesound_id']} with the clip"
    for column, (low, high) in {"snr_db": SNR_LIMITS_DB, "ref_db": REF_LIMITS_DB}.items():
        if not low <= row[column] <= high:
            yield f"{column} is {row[column]}, must lie in {low:g}..{high:g}"
    if recording["frames"]:
        yield from _crop_faults(row, count_frames_44k(recording["frames"], recording["rate_hz"]))


def _crop_faults(row: dict[str, Any], frames: int) -> Iterator[str]:
    for name in "abc":
        start = row[f"{name}_start"]
        if start < 0 or start + CLIP_FRAMES > frames:
            yield (
                f"{name}_start {start:,} to {start + CLIP_FRAMES:,} goes beyond {row['fsd50k_file']!r}, "
                f"which has {frames:,} samples at 44.1 kHz"
            )
    if abs(row["b_start"] - row["a_start"]) != OVERLAP_FRAMES:
        yield f"b_start must be {OVERLAP_FRAMES:,} samples before or after a_start (50 % overlap)"
    if abs(row["c_start"] - row["a_start"]) < CLIP_FRAMES:
        yield f"c_start must be at least {CLIP_FRAMES:,} samples before or after a_start (no overlap)"


def _stem(file: str) -> str:
    """Folder and name without type: what identifies a file of a corpus."""
    return str(PurePosixPath(file).with_suffix(""))


def take_rows(recipe: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """``limit`` rows of a recipe with as many classes, and both splits, as there is room for.

    A smaller limit takes a part of the rows of a larger one.
    """
    if limit is None or limit >= len(recipe):
        return recipe
    classes = sorted(set(recipe["category"]), key=lambda name: seeding.derive_key(0, "limit", name))
    ranked = pd.DataFrame(
        {
            "clip": seeding.draw_ranks(0, "limit", recipe["clip_id"].tolist()),
            "class": recipe["category"].map(classes.index),
            "split": recipe["split"] == "test",
        },
        index=recipe.index,
    )
    ranked["round"] = ranked.groupby(["class", "split"])["clip"].rank(method="first")
    ranked["second"] = ranked["split"] != (ranked["class"] % 2 == 1)  # every other class begins with a test clip
    first = ranked.sort_values(["round", "second", "class"]).head(limit)
    return recipe.loc[first.index].sort_values("clip_id", ignore_index=True)
