"""Scores of result rows clip by clip, from the predictions of their runs, for ranks and best marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.predictions import list_groupings, read_predictions, score_clips
from benchmark.results.ranks import Rank, group_ties, rank_encoders
from benchmark.results.row import RANKS, ResultRow
from benchmark.results.runs import find_folder, name_folder

Identity = tuple[str, ...]
Collection = tuple[list[ResultRow], NDArray[np.float64], tuple[list[str], ...]]
"""Rows of a column, their scores [M, n], and the groups of the clips."""


class ClipScores:
    """Scores of clips of the rows of some folders of results; files are read and columns are ranked only once."""

    def __init__(self, outs: Sequence[Path]) -> None:
        """Keep the folders.

        Args:
            outs: folders of results; without any, nothing has a rank.
        """
        self._outs = outs
        self._tables: dict[Path, pd.DataFrame] = {}
        self._collected: dict[tuple[Identity, ...], Collection | None] = {}
        self._ranks: dict[tuple[Identity, ...], dict[Identity, Rank]] = {}
        self._best: dict[tuple[Identity, ...], set[Identity]] = {}
        self.note = ""
        """Why some rows have no ranks; empty if all have."""

    def rank(self, rows: Sequence[ResultRow]) -> dict[Identity, Rank]:
        """The rank of each measured row of a column by its identity; empty where ranks are unknown.

        Args:
            rows: rows of one setting and metric of several encoders.
        """
        key = tuple(row.identity for row in rows)
        if key not in self._ranks:
            found = self.collect(rows)
            ranks = [] if found is None else rank_encoders(found[1], found[2])
            measured = [] if found is None else found[0]
            self._ranks[key] = {row.identity: rank for row, rank in zip(measured, ranks, strict=True)}
            self._best[key] = {identity for identity, rank in self._ranks[key].items() if rank.tie == 1}
        return self._ranks[key]

    def find_best(self, rows: Sequence[ResultRow]) -> set[Identity]:
        """The measured rows that are tied with the best; empty where there are fewer than two, or ties are unknown."""
        key = tuple(row.identity for row in rows)
        if key not in self._best:
            found = self.collect(rows)
            ties = [] if found is None else group_ties(found[1], found[2])
            measured = [] if found is None else found[0]
            self._best[key] = {row.identity for row, tie in zip(measured, ties, strict=True) if tie == 1}
        return self._best[key]

    def read_table(self, row: ResultRow) -> pd.DataFrame | None:
        """The predictions of a row's run; None where there are none. A table is read only once."""
        folder = find_folder(row, self._outs)
        if folder is None:
            return None
        if folder not in self._tables:
            self._tables[folder] = read_predictions(folder)
        return self._tables[folder]

    def collect(self, rows: Sequence[ResultRow]) -> Collection | None:
        """The scores of the measured rows of a column, clip by clip.

        Args:
            rows: rows of one setting and metric of several encoders.

        Returns:
            the measured rows, their scores [M, n] (the larger the better, so ranks are negative), and the groups of the
            clips; None where there are fewer than two, predictions are missing, or clips differ.
        """
        key = tuple(row.identity for row in rows)
        if key not in self._collected:
            self._collected[key] = self._collect(rows)
        return self._collected[key]

    def _collect(self, rows: Sequence[ResultRow]) -> Collection | None:
        measured = [row for row in rows if row.source == "measured"]
        if len(measured) < 2:
            return None
        clips: list[pd.Series] = []
        groupings: list[tuple[list[str], ...]] = []
        for row in measured:
            table = self.read_table(row)
            series = None if table is None else score_clips(table, row.setting, row.metric)
            if table is None or series is None or series.empty:
                folder = f"runs/{name_folder(row)}"
                if table is not None and (row.metric in RANKS or row.low is None):
                    return None  # not a mean over clips
                self._warn(f"predictions of {row.encoder} on {row.task} are missing ({folder}); run it again")
                return None
            if clips and not series.index.equals(clips[0].index):
                names = f"{measured[0].encoder} and {row.encoder}"
                self._warn(f"{names} were tested on different clips of {row.task}")
                return None
            clips.append(series)
            groupings.append(list_groupings(table, series.index))
        scores = np.stack([series.to_numpy(np.float64) for series in clips])
        return measured, -scores if measured[0].metric in RANKS else scores, max(groupings, key=len)

    def _warn(self, reason: str) -> None:
        self.note = self.note or f"some tables have no ranks and no best marks: {reason}"
