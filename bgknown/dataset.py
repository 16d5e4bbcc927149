"""The dataset on disk: its layout, its manifest, and how to open it.

::

    manifest.csv                     one row per clip, written last
    recipe.csv                       what was drawn
    dataset.json                     name, version, configuration, corpora, counts, licences
    audio/{mix,a,b,c}/{clip_id}.wav  5 s, 44.1 kHz, 16-bit, mono
    jams/{clip_id}.jams              Scaper's annotation of the mixture
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown import recipe as recipes
from bgknown.audio import RATE_HZ, read_pcm16
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.tables import records

MANIFEST = "manifest.csv"
RECIPE = "recipe.csv"
DESCRIPTION = "dataset.json"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""

SIGNALS = ("mix", "a", "b", "c")
"""The audio of a clip: the mixture and its three reference backgrounds."""
FILES = (*SIGNALS, "jams")
MANIFEST_COLUMNS = [
    *recipes.COLUMNS,
    *(f"{name}_file" for name in FILES),
    *(f"{name}_sha256" for name in FILES),
    "scale",
    "event_frames",
    "event_gain_db",
    "background_gain_db",
    "achieved_snr_db",
    "scaper_version",
]


def relative_paths(clip_id: str, container: str) -> dict[str, str]:
    """Where a row's files lie, relative to the dataset, for each of ``FILES``."""
    audio = {name: f"audio/{name}/{clip_id}.{container}" for name in SIGNALS}
    return {**audio, "jams": f"jams/{clip_id}.jams"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A finished BgKnown ESC-50."""

    root: Path
    """Its folder."""
    table: pd.DataFrame
    """The manifest, one row per clip, indexed by clip_id (which is a column too)."""
    description: dict[str, Any]
    """The content of dataset.json."""

    rate_hz: int = RATE_HZ
    """Sampling rate of every file."""

    def __len__(self) -> int:
        return len(self.table)

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
        """Clips one by one: clip_id, split, fold, target, category and the audio of mix, a, b and c.

        Args:
            split: "train" or "test"; None for both.
        """
        table = self.table if split is None else self.table[self.table["split"] == split]
        for row in records(table):
            facts = {str(name): row[name] for name in ("clip_id", "split", "fold", "target", "category")}
            yield {**facts, **{name: self.read(row[f"{name}_file"]) for name in SIGNALS}}


def open_dataset(root: str | Path) -> Dataset:
    """Open a finished dataset.

    Raises:
        NotFoundError: there is none at ``root``, or its build has not ended.
        InvalidInputError: its description or manifest cannot be read.
    """
    root = Path(root)
    if not (root / MANIFEST).is_file():
        state = (
            "its build has not ended: run the same `bgknown build` again" if (root / ".work").is_dir() else "no dataset"
        )
        raise NotFoundError(f"{root}: {state} (no {MANIFEST})")
    description = read_description(root)
    try:
        table = pd.read_csv(
            root / MANIFEST, keep_default_na=False, dtype={"clip_id": str, "category": str, "split": str}
        )
    except (ValueError, UnicodeError) as error:
        raise InvalidInputError(f"{root / MANIFEST}: not a CSV table ({str(error).splitlines()[0]})") from error
    missing = [name for name in MANIFEST_COLUMNS if name not in table.columns]
    if missing:
        raise InvalidInputError(f"{root / MANIFEST}: column{'s' * (len(missing) > 1)} {', '.join(missing)} missing")
    table.index = pd.Index(table["clip_id"].tolist())  # without a name, so that sorting by the column stays possible
    return Dataset(root=root, table=table, description=description)


def read_description(root: Path) -> dict[str, Any]:
    """The content of dataset.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is no JSON object, or of a format that this version does not know.
    """
    path = root / DESCRIPTION
    if not path.is_file():
        raise NotFoundError(f"{path}: missing")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeError) as error:
        raise InvalidInputError(f"{path}: not JSON ({error})") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise InvalidInputError(f"{path}: has format {found!r}, this version reads format {FORMAT}")
    return description


def manifest_bytes(table: pd.DataFrame) -> bytes:
    """The CSV of a manifest: sorted by clip_id, fixed columns, LF line ends, shortest exact decimals."""
    ordered = table[MANIFEST_COLUMNS].sort_values("clip_id", ignore_index=True)
    return ordered.to_csv(index=False, lineterminator="\n").encode()


def description_bytes(description: dict[str, Any]) -> bytes:
    """The JSON of a description."""
    return (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
