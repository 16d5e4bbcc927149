"""The manifest of a dataset: one row per mixture, with its files, their hashes and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.snr import SHORTEST_EVENT_FRAMES
from bgknown.paths import check_inside
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
    return table


def format_manifest(table: pd.DataFrame) -> bytes:
    """The CSV of a manifest: sorted by clip_id, fixed columns, LF line ends, shortest exact decimals."""
    ordered = table[recipes.list_columns(table.columns, ManifestRow)].sort_values("clip_id", ignore_index=True)
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
