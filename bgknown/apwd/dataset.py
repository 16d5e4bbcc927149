"""Pairs as a Python dataset: from a set on disk, or rendered on demand without writing anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.apwd.build import PairBuildOptions, describe_pairs
from bgknown.apwd.manifest import read_manifest
from bgknown.apwd.pairs import SIDES
from bgknown.apwd.rendering import render_pcm16
from bgknown.audio.files import RATE_HZ, read_file, resample
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError, StorageError
from bgknown.jams.reading import parse_jams
from bgknown.tables import check_place, list_records, select_rows
from bgknown.userpath import user_path

PAIR_SPLITS = ("dev", "eval")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSet:
    """Pairs with their texts, classes and audio. It can be sent to worker processes."""

    table: pd.DataFrame
    """The manifest, every column as text, indexed by pair (which is a column too)."""
    root: Path | None
    """Folder of the set; None if there is none on disk."""
    jams: Path | None = None
    """Folder of the JAMS, for pairs without audio files."""
    source: Path | None = None
    """The source tree, for pairs without audio files."""

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """A pair by its place in the table: what ``examples`` yields, at 44.1 kHz.

        Raises:
            OutOfRangeError: there is no such place.
            InvalidInputError: the place is not a whole number; or as for ``audio``.
            StorageError: a file of the set is missing.
        """
        return self._load(list_records(self.table.iloc[[check_place(place, len(self.table))]])[0], RATE_HZ)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All pairs; see ``examples``."""
        return self.examples()

    def select(self, *, split: str | None = None, scene: str | None = None) -> PairSet:
        """The pairs of a split, of a scene, or of both, as a set of its own.

        Args:
            split: "dev" or "eval"; None for both.
            scene: a scene of the table; None for all.

        Raises:
            NotFoundError: there is no such split or scene.
        """
        table = self.table
        if split is not None:
            table = select_rows(table, "split", split, known=PAIR_SPLITS)
        if scene is not None:
            table = select_rows(table, "scene", scene, known=sorted(self.table["scene"].unique()))
        return replace(self, table=table)

    def audio(self, pair: str, side: str, *, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
        """One side of a pair: read from its file, or rendered to the same 16-bit samples.

        Args:
            pair: a row of the table.
            side: "s1" or "s2".
            rate_hz: sampling rate of the result; soxr ("HQ") converts to rates other than 44.1 kHz.

        Returns:
            [N] float32, full scale -1..1; N is 10 s of the rate for the published pairs.

        Raises:
            NotFoundError: there is no such pair or side.
            InvalidInputError: a JAMS or a source is broken, or folders are missing that rendering needs.
            StorageError: a file of the set is missing.
        """
        if side not in SIDES:
            raise NotFoundError(f"no side {side!r}; a pair has {' and '.join(SIDES)}")
        if pair not in self.table.index:
            raise NotFoundError(f"no pair {pair!r} in this set")
        row = self.table.loc[pair]
        if self.root is not None and row[side]:
            return self._read(self.root / str(row[side]), rate_hz)
        if not row[f"jams_{side}"]:
            raise NotFoundError(f"the pair {pair} has no {side}: only its first soundscape is published")
        return self._render(str(row[f"jams_{side}"]), f"{pair}_{side}", rate_hz)

    def examples(
        self, *, split: str | None = None, scene: str | None = None, rate_hz: int = RATE_HZ
    ) -> Iterator[dict[str, Any]]:
        """Pairs one by one: the columns pair, split, scene, text, changes, classes, and the audio of s1 and s2.

        Args:
            split: "dev" or "eval"; None for both.
            scene: a scene of the table; None for all.
            rate_hz: as for ``audio``.

        Raises:
            NotFoundError: there is no such split or scene.
        """
        table = self.select(split=split, scene=scene).table
        return (self._load(row, rate_hz) for row in list_records(table))

    def _load(self, row: dict[str, Any], rate_hz: int) -> dict[str, Any]:
        names = ("pair", "split", "scene", "text", "changes", "classes_s1", "classes_s2")
        sides = [side for side in SIDES if row[f"jams_{side}"]]
        audio = {side: self.audio(row["pair"], side, rate_hz=rate_hz) for side in sides}
        return {**{name: row[name] for name in names}, **audio}

    def _read(self, path: Path, rate_hz: int) -> NDArray[np.float32]:
        try:
            return read_file(path, rate_hz, np.float32)[1]
        except NotFoundError as error:
            raise StorageError(f"{path}: {error}") from error
        except BgknownError as error:
            raise InvalidInputError(f"{path}: {error}") from error

    def _render(self, file: str, name: str, rate_hz: int) -> NDArray[np.float32]:
        if self.jams is None or self.source is None:
            raise InvalidInputError(f"{name} has no audio file; give jams and source to render it")
        try:
            data = (self.jams / file).read_bytes()
        except OSError as error:
            raise StorageError(f"{self.jams / file}: {error.strerror or error}") from error
        pcm = render_pcm16(parse_jams(data, name), self.source, name)
        return resample(pcm.astype(np.float32) * np.float32(2.0**-15), RATE_HZ, rate_hz)


def open_pairs(
    root: str | Path | None = None, *, jams: str | Path | None = None, source: str | Path | None = None, jobs: int = 1
) -> PairSet:
    """Open pairs.

    With ``root``, the finished set there; if it was built with ``--manifest-only``, it is rendered from ``jams`` and
    ``source``. Without ``root``, the pairs of ``jams``, described in memory and rendered from ``source``.

    Args:
        root: folder of a set made by ``bgknown apwd build``.
        jams: folder of JAMS pairs.
        source: the source tree that the JAMS refer to.
        jobs: number of processes that read the JAMS if there is no set.

    Raises:
        NotFoundError: a folder is missing, or there is no finished set.
        InvalidInputError: manifest or JAMS break a rule, or neither ``root`` nor ``jams`` is given.
        BrokenInputError: some JAMS are broken; lists them.
    """
    if root is None and jams is None:
        raise InvalidInputError("give the folder of a set, or the folder of JAMS pairs and their source tree")
    folder, jams_folder, tree = (None if given is None else user_path(given) for given in (root, jams, source))
    if folder is not None:
        table = read_manifest(folder)
    else:
        table = describe_pairs(PairBuildOptions(jams=jams_folder or Path(), out=Path(), jobs=jobs))
    table.index = pd.Index(table["pair"].tolist())
    return PairSet(
        table=table,
        root=folder,
        jams=jams_folder,
        source=tree,
    )
