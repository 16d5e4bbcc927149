"""The dataset on disk: its layout, its manifest, and how to open it.

::

    manifest.csv                     one row per clip and draw, written last
    recipe.csv                       what was drawn
    dataset.json                     name, version, id, configuration, corpora, counts, licences
    audio/{mix,a,b,c}/{clip_id}.wav  5 s, 44.1 kHz, 16-bit, mono
    jams/{clip_id}.jams              Scaper's annotation of the mixture
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ, read_pcm16
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.problems import Problem
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.snr import SHORTEST_EVENT_FRAMES
from bgknown.paths import check_inside
from bgknown.settings import read_record
from bgknown.tables import (
    check_place,
    find_line_numbers,
    list_records,
    parse_numbers,
    parse_whole_numbers,
    read_csv,
    select,
    select_rows,
)
from bgknown.userpath import user_path

MANIFEST = "manifest.csv"
RECIPE = "recipe.csv"
DESCRIPTION = "dataset.json"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""

PAIRS = "APwD pairs"
"""Name of the other kind of dataset, which is made by ``bgknown apwd``."""

SIGNALS = ("mix", "a", "b", "c")
"""The audio of a clip: the mixture and its three reference backgrounds."""
FILES = (*SIGNALS, "jams")
DATASET_SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow(RecipeRow):
    """A row of a recipe and the mixture made of it. The fields are the columns of the manifest, in their order."""

    mix_file: str
    """The mixture, relative to the dataset; likewise the next four."""
    a_file: str
    b_file: str
    c_file: str
    jams_file: str
    mix_sha256: str
    """Of the mixture's file; likewise the next four."""
    a_sha256: str
    b_sha256: str
    c_sha256: str
    jams_sha256: str
    scale: float
    """The factor, at most 1, that the mixture and all references carry so that none clips."""
    event_frames: int
    """The event's span: samples from the start of the mixture."""
    event_gain_db: float
    """Gain of the ESC-50 clip in the mixture, before the scale."""
    background_gain_db: float
    """Gain of crop (a) in the mixture, before the scale."""
    achieved_snr_db: float
    """The SNR that the mixture's file has."""
    scaper_version: str
    """The version of Scaper that rendered it, or that the renderer equals."""

    @property
    def files(self) -> dict[str, str]:
        """The path of each of ``FILES``."""
        return {name: getattr(self, f"{name}_file") for name in FILES}


MANIFEST_COLUMNS = recipes.list_columns((), ManifestRow)
"""Columns of a manifest of one draw."""


def list_paths(clip_id: str, container: str) -> dict[str, str]:
    """The paths of a row's files, relative to the dataset, for each of ``FILES``."""
    audio = {name: f"audio/{name}/{clip_id}.{container}" for name in SIGNALS}
    return {**audio, "jams": f"jams/{clip_id}.jams"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A finished BgKnown ESC-50."""

    root: Path
    """Its folder."""
    table: pd.DataFrame
    """The manifest, one row per mixture, indexed by clip_id (which is a column too)."""
    description: dict[str, Any]
    """The content of dataset.json."""

    rate_hz: int = RATE_HZ
    """Sampling rate of every file."""

    @property
    def id(self) -> str:
        """What identifies it; see ``derive_dataset_id``."""
        return derive_dataset_id(self.table)

    def rows(self) -> list[ManifestRow]:
        """The rows of the manifest."""
        return [ManifestRow.from_columns(row) for row in list_records(self.table)]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """A clip by its place in the table: what ``examples`` yields.

        Raises:
            OutOfRangeError: there is no such place.
            InvalidInputError: the place is not a whole number.
            StorageError: a file is missing or cannot be read.
        """
        return self._load(list_records(self.table.iloc[[check_place(place, len(self.table))]])[0])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All clips; see ``examples``."""
        return self.examples()

    def select(self, split: str) -> Dataset:
        """The clips of one split, as a dataset of its own.

        Args:
            split: "train" or "test".

        Raises:
            NotFoundError: there is no such split.
        """
        return replace(self, table=select_rows(self.table, "split", split, known=DATASET_SPLITS))

    def audio(self, clip_id: str, signal: str = "mix") -> NDArray[np.float32]:
        """One signal of one clip.

        Args:
            clip_id: a row of the table.
            signal: mix, a, b or c.

        Returns:
            [220500] float32, full scale -1..1.

        Raises:
            NotFoundError: there is no such clip or signal.
            StorageError: the file is missing or cannot be read.
        """
        if signal not in SIGNALS:
            raise NotFoundError(f"no signal {signal!r}; a clip has {', '.join(SIGNALS)}")
        if clip_id not in self.table.index:
            raise NotFoundError(f"no clip {clip_id!r} in {self.root}")
        return self.read(str(self.table.loc[clip_id, f"{signal}_file"]))

    def read(self, file: str) -> NDArray[np.float32]:
        """The audio of a path of the manifest, [220500] float32, full scale -1..1."""
        return read_pcm16(self.root / file).astype(np.float32) / np.float32(32_768.0)

    def examples(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Mixtures one by one: clip_id, split, fold, target, category and the audio of mix, a, b and c.

        Where clips have several draws, also draw.

        Args:
            split: "train" or "test"; None for both.

        Raises:
            NotFoundError: there is no such split.
            StorageError: a file is missing or cannot be read.
        """
        table = self.table if split is None else self.select(split).table
        return map(self._load, list_records(table))

    def _load(self, row: dict[str, Any]) -> dict[str, Any]:
        names = ("clip_id", "split", "fold", "target", "category", "draw")
        facts: dict[str, Any] = {name: row[name] for name in names if name in row}
        return {**facts, **{name: self.read(row[f"{name}_file"]) for name in SIGNALS}}


def open_dataset(root: str | Path, *, split: str | None = None) -> Dataset:
    """Open a finished dataset.

    Args:
        root: its folder.
        split: only the clips of this split, "train" or "test".

    Raises:
        NotFoundError: there is none at ``root``, its build has not ended, or there is no such split.
        InvalidInputError: its description or manifest cannot be read, or ``root`` is not a path.
    """
    root = user_path(root)
    if not (root / MANIFEST).is_file():
        state = (
            "its build is not finished: run the same `bgknown build` again"
            if (root / ".work").is_dir()
            else "no dataset"
        )
        raise NotFoundError(f"{root}: {state} (no {MANIFEST})")
    description = read_description(root)
    advice = "the dataset is damaged"
    whole = read_csv(root / MANIFEST, advice=advice)
    columns = recipes.list_columns(whole.columns, ManifestRow)
    table = _parse_columns(select(whole, columns, root / MANIFEST, advice=advice), root / MANIFEST)
    table.index = pd.Index(table["clip_id"].tolist())  # without a name, so that sorting by the column stays possible
    data = Dataset(root=root, table=table, description=description)
    return data if split is None else data.select(split)


IDENTITY = ["clip_id", "split", "category", *(f"{name}_sha256" for name in SIGNALS)]


def derive_dataset_id(table: pd.DataFrame) -> str:
    """64 hexadecimal digits that two datasets share if their clips, splits, labels and audio files are the same.

    Measured numbers and JAMS are not part of it, so engines and machines that give the same audio give the same id.
    WAV and FLAC files differ, so a dataset has another id in each of them.

    Args:
        table: a manifest.
    """
    rows = table[IDENTITY].sort_values("clip_id")
    return hash_bytes(rows.to_csv(index=False, lineterminator="\n").encode())


def read_description(root: Path) -> dict[str, Any]:
    """The content of dataset.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is not a JSON object, or is in a format that this version does not know.
    """
    path = root / DESCRIPTION
    description = read_object(path)
    if description.get("name") == PAIRS:
        raise InvalidInputError(f"{path}: describes {PAIRS}, not BgKnown ESC-50; `bgknown apwd verify` checks those")
    if description.get("format") != FORMAT:
        raise InvalidInputError(f"{path}: has format {description.get('format')!r}, this version reads format {FORMAT}")
    read_record(_Description, description, f"{path}: the dataset is damaged", others=True)
    return description


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configuration:
    renderer: str
    reference_gain: Literal["mixture", "source"]
    container: Literal["wav", "flac"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corpora:
    esc50: dict[str, Any]
    fsd50k: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    rows: int
    train: int
    test: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """What this version reads of dataset.json."""

    name: str
    version: str
    configuration: _Configuration
    corpora: _Corpora
    recipe_sha256: str
    counts: _Counts
    skipped: tuple[Problem, ...]


def _parse_columns(text: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A manifest with its numbers parsed and in range."""
    for name in FILES:
        check_inside(text[f"{name}_file"], find_line_numbers(text), path, f"{name}_file")
    table = recipes.parse_columns(text, path).copy()
    table["event_frames"] = parse_whole_numbers(text, "event_frames", path)
    for column in ("scale", "event_gain_db", "background_gain_db", "achieved_snr_db"):
        table[column] = parse_numbers(text, column, path)
    for column, low, high in (("scale", 1e-9, 1.0), ("event_frames", SHORTEST_EVENT_FRAMES, recipes.CLIP_FRAMES)):
        for line, value in zip(find_line_numbers(text), table[column], strict=True):
            if not low <= value <= high:
                raise InvalidInputError(f"{path}, line {line}: {column} is {value}; it must be in {low:g}..{high:g}")
    return table


def format_manifest(table: pd.DataFrame) -> bytes:
    """The CSV of a manifest: sorted by clip_id, fixed columns, LF line ends, shortest exact decimals."""
    ordered = table[recipes.list_columns(table.columns, ManifestRow)].sort_values("clip_id", ignore_index=True)
    return ordered.to_csv(index=False, lineterminator="\n").encode()


def format_description(description: dict[str, Any]) -> bytes:
    """The JSON of a description."""
    return (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
