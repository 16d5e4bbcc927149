"""The manifest of a dataset: one row per mixture, with its files, their hashes and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.corpora.columns import ESC50_PREFIXES, CorpusPrefixes, find_corpus_prefixes
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.snr import SHORTEST_EVENT_FRAMES
from bgknown.paths import check_inside
from bgknown.shown import escape_cell, unescape_cell
from bgknown.tables import find_line_numbers, parse_numbers, parse_whole_numbers

SIGNALS = ("mix", "a", "b", "c")
"""The audio of a clip: the mixture and its three reference backgrounds."""
FILES = (*SIGNALS, "jams")


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
    """Gain of the clip in the mixture, before the scale."""
    background_gain_db: float
    """Gain of crop (a) in the mixture, before the scale."""
    achieved_snr_db: float
    """The SNR that the mixture's file has."""
    scaper_version: str
    """The version of Scaper that rendered it, or that the renderer equals."""
    group: str = ""
    """Clips of one group belong together: in ESC-50 the Freesound id; empty where none is known."""
    background_labels: str = ""
    """All labels of the recording, with commas between them."""
    same_class: int | None = None
    """Whether the background contains the clip's class, 1 or 0; None where that is not known."""
    foreground_licence: str = ""
    """Licence of the clip (``bgknown.corpora.licences``); this and the following are empty where they are not known."""
    foreground_uploader: str = ""
    """Who published the sound that the clip was cut from."""
    foreground_title: str = ""
    """Title of that sound."""
    background_licence: str = ""
    """Licence of the recording."""
    background_uploader: str = ""
    """Who published the recording."""
    background_title: str = ""
    """Title of the recording."""

    def __post_init__(self) -> None:
        value: Any = self.same_class
        if value is not None and pd.isna(value):  # as a table has it
            object.__setattr__(self, "same_class", None)

    @property
    def files(self) -> dict[str, str]:
        """The path of each of ``FILES``."""
        return {name: getattr(self, f"{name}_file") for name in FILES}


SAME_CLASS = "same_class"
FREE_TEXTS = tuple(
    f"{side}_{what}" for side in ("foreground", "background") for what in ("licence", "uploader", "title")
)
"""Fields that other people have written."""
SOURCE_FIELDS = ("group", "background_labels", SAME_CLASS, *FREE_TEXTS)
"""Fields that describe the sources; manifests of earlier versions lack their columns."""
MANIFEST_COLUMNS = recipes.list_columns([ESC50_PREFIXES.name_column(name) for name in SOURCE_FIELDS], ManifestRow)
"""Columns of a manifest of one draw, for ESC-50 with FSD50K."""


def make_manifest(rows: Sequence[ManifestRow], prefixes: CorpusPrefixes) -> pd.DataFrame:
    """The table of some rows, sorted by clip_id."""
    records = [row.to_columns(prefixes) for row in rows]
    columns = recipes.list_columns([*records[0]] if records else MANIFEST_COLUMNS, ManifestRow)
    table = pd.DataFrame(records, columns=columns).sort_values("clip_id", ignore_index=True)
    return table.astype({SAME_CLASS: "Int64"})


def list_paths(clip_id: str, container: str) -> dict[str, str]:
    """The paths of a row's files, relative to the dataset, for each of ``FILES``."""
    audio = {name: f"audio/{name}/{clip_id}.{container}" for name in SIGNALS}
    return {**audio, "jams": f"jams/{clip_id}.jams"}


def parse_manifest_columns(text: pd.DataFrame, path: Path, clip_frames: int) -> pd.DataFrame:
    """A manifest with its numbers parsed and in range.

    Args:
        text: the manifest as text.
        path: its file, for messages.
        clip_frames: samples in a mixture.

    Raises:
        InvalidInputError: a value breaks a rule; names the line.
    """
    for name in FILES:
        check_inside(text[f"{name}_file"], find_line_numbers(text), path, f"{name}_file")
    table = recipes.parse_columns(text, path).copy()
    table["event_frames"] = parse_whole_numbers(text, "event_frames", path)
    for column in ("scale", "event_gain_db", "background_gain_db", "achieved_snr_db"):
        table[column] = parse_numbers(text, column, path)
    for column, low, high in (("scale", 1e-9, 1.0), ("event_frames", SHORTEST_EVENT_FRAMES, clip_frames)):
        for line, value in zip(find_line_numbers(text), table[column], strict=True):
            if not low <= value <= high:
                raise InvalidInputError(f"{path}, line {line}: {column} is {value}; it must be in {low:g}..{high:g}")
    if SAME_CLASS in text:
        table[SAME_CLASS] = pd.array(_parse_same_class(text, path), dtype="Int64")
    for column in _list_free_texts(text):
        table[column] = text[column].map(unescape_cell)
    return table


def _parse_same_class(text: pd.DataFrame, path: Path) -> list[int | None]:
    values = {"1": 1, "0": 0, "": None}
    for line, value in zip(find_line_numbers(text), text[SAME_CLASS], strict=True):
        if value not in values:
            raise InvalidInputError(f"{path}, line {line}: {SAME_CLASS} is {value[:40]!r}; it must be 1, 0 or empty")
    return [values[value] for value in text[SAME_CLASS]]


def _list_free_texts(table: pd.DataFrame) -> list[str]:
    """The columns that other people have written, which get an apostrophe where they look like formulas."""
    prefixes = find_corpus_prefixes(table.columns)
    return [column for column in map(prefixes.name_column, FREE_TEXTS) if column in table]


def format_manifest(table: pd.DataFrame) -> bytes:
    """The CSV of a manifest: sorted by clip_id, fixed columns, LF line ends, shortest exact decimals."""
    ordered = table[recipes.list_columns(table.columns, ManifestRow)].sort_values("clip_id", ignore_index=True)
    ordered = ordered.assign(**{column: ordered[column].map(escape_cell) for column in _list_free_texts(ordered)})
    return ordered.to_csv(index=False, lineterminator="\n").encode()


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
