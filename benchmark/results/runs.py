"""Which folder of predictions belongs to a row of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.predictions import PREDICTIONS
from benchmark.protocol import name_when_measured
from benchmark.results.row import ResultRow
from benchmark.results.rows import read_rows
from benchmark.results.run_folder import run_name


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One encoder on one task: a folder of predictions and its rows."""

    folder: Path
    """The folder."""
    rows: list[ResultRow]
    """Its rows, at least one."""

    @property
    def row(self) -> ResultRow:
        """The first of its rows, for what all of them share."""
        return self.rows[0]


def name_folder(row: ResultRow) -> str:
    """The name of the folder of a row's run."""
    return run_name(
        encoder=row.encoder,
        checkpoint_sha256=row.checkpoint_sha256,
        task=row.task,
        protocol=name_when_measured(row.protocol),
        dataset_sha256=row.dataset_sha256,
    )


def find_folder(row: ResultRow, outs: Sequence[Path]) -> Path | None:
    """The folder with the predictions of a row's run, in the first folder of results that has it; None if none has."""
    folders = (out.resolve() / "runs" / name_folder(row) for out in outs)
    return next((folder for folder in folders if (folder / PREDICTIONS).is_file()), None)


def list_runs(out: Path) -> list[MeasuredRun]:
    """The runs that have rows in the leaderboard and predictions next to them.

    Args:
        out: folder of results.

    Raises:
        NotFoundError: there is no leaderboard.
    """
    runs: dict[str, list[ResultRow]] = {}
    for row in read_rows(out):
        runs.setdefault(name_folder(row), []).append(row)
    found = ((find_folder(rows[0], [out]), rows) for rows in runs.values())
    return [MeasuredRun(folder=folder, rows=rows) for folder, rows in found if folder is not None]
