"""What is exported: a built BgKnown dataset or set of APwD pairs, seen as one table with audio files.

The table has every column of the manifest. Numbers are numbers, everything else is text. The columns of the audio files
are called ``{signal}_file`` in both kinds; the manifest of pairs calls them ``s1`` and ``s2``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.dataset import open_pairs
from bgknown.apwd.manifest import derive_pair_set_id, read_pair_description
from bgknown.apwd.pairs import SIDES
from bgknown.audio.files import RATE_HZ
from bgknown.documents import read_object, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes, hash_file
from bgknown.mixtures.attribution import ATTRIBUTION
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST, PAIRS, open_dataset
from bgknown.mixtures.manifest import SIGNALS
from bgknown.tables import list_records, read_csv
from bgknown.userpath import user_path

_ROWS_AT_A_TIME = 64
_PLAIN = re.compile(r"\w[\w .-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """A finished dataset."""

    root: Path
    """Its folder."""
    is_pairs: bool
    """Whether it is a set of APwD pairs."""
    key: str
    """The column that names a row."""
    signals: tuple[str, ...]
    """The audio of a row."""
    table: pd.DataFrame
    """One row per clip or pair, in the order of the manifest."""
    description: dict[str, Any]
    """The content of dataset.json."""
    dataset_id: str
    """What identifies it."""
    rate_hz: int = RATE_HZ
    """Sampling rate of every file."""

    @property
    def name(self) -> str:
        """What the dataset calls itself."""
        return str(self.description["name"])

    @property
    def splits(self) -> list[str]:
        """The splits that have rows, in the order of the manifest."""
        return list(dict.fromkeys(self.table["split"]))

    @property
    def container(self) -> str:
        """File type of the audio: wav or flac."""
        return Path(str(self.table[f"{self.signals[0]}_file"].iloc[0])).suffix[1:]

    @property
    def has_jams(self) -> bool:
        """Whether the JAMS are in the folder."""
        return "jams_file" in self.table.columns

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of files of a row: its audio, and jams where there are some."""
        return (*self.signals, "jams") if self.has_jams else self.signals

    def list_rows(self, places: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Some rows of the table by their places, one after another; missing numbers are None."""
        for begin in range(0, len(places), _ROWS_AT_A_TIME):
            for row in list_records(self.table.iloc[list(places[begin : begin + _ROWS_AT_A_TIME])]):
                yield {name: None if pd.isna(value) else value for name, value in row.items()}

    def read_attribution(self) -> dict[str, bytes]:
        """The table of sources and their licences, which goes wherever the audio goes; empty if there is none.

        Raises:
            StorageError: it cannot be read.
        """
        return {ATTRIBUTION: self.read_table(ATTRIBUTION)} if (self.root / ATTRIBUTION).is_file() else {}

    def read_table(self, name: str) -> bytes:
        """A file next to the audio.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise describe_storage_error(error, self.root / name) from error

    def list_files(self) -> list[tuple[str, int]]:
        """Name and bytes of the files next to the audio that describe the dataset, the manifest last.

        Raises:
            StorageError: one of them is missing.
        """
        known = (ATTRIBUTION, "recipe.csv", "texts.csv", DESCRIPTION, MANIFEST)
        return [(name, self.measure_file(name)) for name in known if (self.root / name).is_file()]

    def measure_file(self, file: str) -> int:
        """Bytes of a file.

        Raises:
            StorageError: it is missing.
        """
        try:
            return (self.root / file).stat().st_size
        except OSError as error:
            raise describe_storage_error(error, self.root / file) from error

    def read_file(self, row: dict[str, Any], kind: str) -> bytes | None:
        """The bytes of a row's file; None if the row has no such file.

        Args:
            row: a row of the table.
            kind: a signal, or jams.

        Raises:
            StorageError: it is missing or cannot be read.
            InvalidInputError: it is not the file that the manifest lists.
        """
        file = row[f"{kind}_file"]
        if not file:
            return None
        path = self.root / file
        try:
            data: bytes = path.read_bytes()
        except OSError as error:
            raise describe_storage_error(error, path) from error
        if hash_bytes(data) != row[f"{kind}_sha256"]:
            check = "bgknown apwd verify" if self.is_pairs else "bgknown verify"
            raise InvalidInputError(
                f"{path}: is not the file that the manifest lists; `{check}` finds what has changed"
            )
        return data

    def hash_inputs(self) -> dict[str, str]:
        """What an export depends on: the dataset's id, and the SHA-256 of each table next to the audio.

        Raises:
            StorageError: one of them cannot be read.
        """
        hashes = {}
        for name, _ in self.list_files():
            try:
                hashes[name] = hash_file(self.root / name)
            except OSError as error:
                raise describe_storage_error(error, self.root / name) from error
        return {"dataset": self.name, "dataset_id": self.dataset_id, **hashes}


def open_source(root: str | Path) -> ExportSource:
    """Open a finished dataset of either kind.

    Raises:
        NotFoundError: there is none, or its build has not ended.
        InvalidInputError: it is damaged, or it has no audio files.
    """
    folder = user_path(root)
    if not (folder / DESCRIPTION).is_file() and not (folder / ".work").is_dir():
        raise NotFoundError(
            f"{folder}: holds neither a dataset of `bgknown build` nor a set of `bgknown apwd build` (no {DESCRIPTION})"
        )
    is_pairs = (folder / DESCRIPTION).is_file() and read_object(folder / DESCRIPTION).get("name") == PAIRS
    source = _open_pair_source(folder) if is_pairs else _open_clip_source(folder)
    for column in {"split", "scene"} & set(source.table.columns):
        _check_plain(source.table[column], folder / MANIFEST)
    return source


def _open_clip_source(folder: Path) -> ExportSource:
    data = open_dataset(folder)
    table = _add_unknown_columns(data.table, folder)
    return ExportSource(
        root=folder,
        is_pairs=False,
        key="clip_id",
        signals=SIGNALS,
        table=table.reset_index(drop=True),
        description=data.description,
        dataset_id=data.id,
    )


def _open_pair_source(folder: Path) -> ExportSource:
    description = read_pair_description(folder)
    whole = open_pairs(folder).table
    if (whole["s1"] == "").any():
        raise InvalidInputError(
            f"{folder}: has no audio files (it was built with --manifest-only); "
            "build it with --source in a new folder and export that"
        )
    table = _add_unknown_columns(whole, folder).rename(columns={side: f"{side}_file" for side in SIDES})
    return ExportSource(
        root=folder,
        is_pairs=True,
        key="pair",
        signals=SIDES,
        table=table.reset_index(drop=True),
        description=description,
        dataset_id=derive_pair_set_id(whole),
    )


def _check_plain(values: pd.Series, path: Path) -> None:
    """Refuse splits and scenes that could not be in the names of files."""
    wrong = [value for value in values.unique() if not _PLAIN.fullmatch(value)]
    if wrong:
        raise InvalidInputError(
            f"{path}: the {values.name} {shorten_value(wrong[0])} cannot be in the name of a file; "
            "it must begin with a letter or digit and have only letters, digits, spaces, and . _ -"
        )


def _add_unknown_columns(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table with those columns of the manifest that this version does not know, as text, in their places."""
    whole = read_csv(folder / MANIFEST, advice="the dataset is damaged")
    return pd.DataFrame({name: (table if name in table.columns else whole)[name].array for name in whole.columns})
