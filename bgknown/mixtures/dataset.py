"""The dataset on disk: its layout, its manifest, and how to open it.

::

    manifest.csv                     one row per clip and draw, written last
    recipe.csv                       what was drawn
    dataset.json                     name, version, id, configuration, corpora, counts, licences
    ATTRIBUTION.csv                  every source file with its title, uploader and licence
    audio/{mix,a,b,c}/{clip_id}.wav  5 s (by default), 44.1 kHz, 16-bit, mono
    jams/{clip_id}.jams              Scaper's annotation of the mixture
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ, read_pcm16
from bgknown.corpora import fsd50k
from bgknown.corpora.columns import ESC50_PREFIXES, TABLE_PREFIXES, CorpusPrefixes, find_corpus_prefixes
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.problems import Problem
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.manifest import SIGNALS, ManifestRow, derive_dataset_id, parse_manifest_columns
from bgknown.mixtures.pool import PoolCounts
from bgknown.mixtures.recipe import DATASET_SPLITS
from bgknown.settings import read_record
from bgknown.tables import check_place, list_records, read_csv, select, select_rows
from bgknown.userpath import user_path

MANIFEST = "manifest.csv"
RECIPE = "recipe.csv"
DESCRIPTION = "dataset.json"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""

PAIRS = "APwD pairs"
"""Name of the other kind of dataset, which is made by ``bgknown apwd``."""

_PREFIXES = (ESC50_PREFIXES, TABLE_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A finished BgKnown."""

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

    @property
    def prefixes(self) -> CorpusPrefixes:
        """What the columns that belong to one of the corpora begin with."""
        return find_corpus_prefixes(self.table.columns)

    @property
    def name(self) -> str:
        """What it is, such as "BgKnown ESC-50"."""
        return str(self.description["name"])

    @property
    def has_fsd50k(self) -> bool:
        """Whether its backgrounds are of FSD50K, whose files are called after their Freesound ids."""
        background = self.description["corpora"][self.prefixes.background]
        return self.prefixes == ESC50_PREFIXES or background.get("name") == fsd50k.FACTS.name

    @property
    def duration_s(self) -> float:
        """Duration of every signal."""
        return self.clip_frames / RATE_HZ

    @property
    def clip_frames(self) -> int:
        """Samples in every signal."""
        return _count_described_frames(self.description)

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
            [N] float32, full scale -1..1; N is ``clip_frames``.

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
        """The audio of a path of the manifest, [N] float32, full scale -1..1."""
        return read_pcm16(self.root / file).astype(np.float32) / np.float32(32_768.0)

    def examples(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Mixtures one by one: clip_id, split, fold, target, category and the audio of mix, a, b and c.

        Where clips have several draws, also draw. Where the manifest has them, also group and the background's labels
        (fsd50k_labels or background_labels, with commas between them).

        Args:
            split: "train" or "test"; None for both.

        Raises:
            NotFoundError: there is no such split.
            StorageError: a file is missing or cannot be read.
        """
        table = self.table if split is None else self.select(split).table
        return map(self._load, list_records(table))

    def _load(self, row: dict[str, Any]) -> dict[str, Any]:
        labels = self.prefixes.name_column("background_labels")
        names = ("clip_id", "split", "fold", "target", "category", "draw", "group", labels)
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
    table = parse_manifest_columns(
        select(whole, columns, root / MANIFEST, advice=advice), root / MANIFEST, _count_described_frames(description)
    )
    table.index = pd.Index(table["clip_id"].tolist())  # without a name, so that sorting by the column stays possible
    data = Dataset(root=root, table=table, description=description)
    if not {data.prefixes.foreground, data.prefixes.background} <= set(description["corpora"]):
        raise InvalidInputError(
            f"{root / MANIFEST}: the dataset is damaged: has the column {data.prefixes.foreground_file}, but "
            f"{DESCRIPTION} describes the corpora {' and '.join(description['corpora'])}"
        )
    return data if split is None else data.select(split)


def read_description(root: Path) -> dict[str, Any]:
    """The content of dataset.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is not a JSON object, or is in a format that this version does not know.
    """
    path = root / DESCRIPTION
    description = read_object(path)
    if description.get("name") == PAIRS:
        raise InvalidInputError(f"{path}: describes {PAIRS}, not BgKnown; `bgknown apwd verify` checks those")
    if description.get("format") != FORMAT:
        raise InvalidInputError(f"{path}: has format {description.get('format')!r}, this version reads format {FORMAT}")
    read_record(_Description, description, f"{path}: the dataset is damaged", others=True)
    if not any({pair.foreground, pair.background} <= set(description["corpora"]) for pair in _PREFIXES):
        keys = "esc50 and fsd50k, or foreground and background"
        raise InvalidInputError(f"{path}: the dataset is damaged: corpora must have the keys {keys}")
    try:
        _count_described_frames(description)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: the dataset is damaged: {error}") from error
    return description


def _count_described_frames(description: dict[str, Any]) -> int:
    return recipes.count_clip_frames(description["configuration"].get("duration_s", recipes.MIXTURE_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configuration:
    renderer: str
    reference_gain: Literal["mixture", "source"]
    container: Literal["wav", "flac"]
    duration_s: float = recipes.MIXTURE_S
    keep_sources: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corpus:
    name: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    test_folds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    rows: int
    train: int
    test: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    exclude_same_class: bool = False
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Twin:
    left_out: str
    same_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """What this version reads of dataset.json."""

    name: str
    version: str
    configuration: _Configuration
    corpora: dict[str, _Corpus]
    recipe_sha256: str
    counts: _Counts
    skipped: tuple[Problem, ...]
    draw: _Draw | None = None
    backgrounds: dict[str, PoolCounts] = field(default_factory=dict)
    identical_audio: tuple[_Twin, ...] = ()
