"""The parts of a leaderboard: tables, their lines and cells, and which of them are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.predictions import COSINE
from benchmark.results.key_figures import is_gain
from benchmark.results.ranks import Rank
from benchmark.results.row import ResultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of a table."""

    row: ResultRow
    """The row it comes from."""
    is_best: bool = False
    """Whether it is tied with the best measured value of its column."""

    @property
    def is_cut(self) -> bool:
        """Whether some of its probes were cut at the last epoch or iteration."""
        return self.row.converged is not None and self.row.converged < 1

    def text(self, *, with_std: bool = False) -> str:
        """Mean and interval, such as ``80.0 [73.1, 86.2]``; the mean of a gain has a sign.

        Args:
            with_std: add the standard deviation over seeds, where there is one.
        """
        row = self.row
        paper = row.source == "paper"
        digits = 2 if paper or row.metric == COSINE else 1
        if row.low is None or row.high is None:
            text = f"{row.mean:g}" if paper else f"{row.mean:{'+' * is_gain(row.setting)}.{digits}f}"
        else:
            mean = f"{row.mean:{'+' * is_gain(row.setting)}.{digits}f}"
            text = f"{mean} [{row.low:.{digits}f}, {row.high:.{digits}f}]"
        return f"{text} sd {row.std:.1f}" if with_std and row.std is not None else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One encoder in a table."""

    encoder: str
    """Its name; with its checkpoint where others have the same name, and ``(paper)`` where it is the paper's."""
    cells: list[Cell | None]
    """One for each column; None for what was not measured."""
    rank: Rank | None = None
    """Its rank in the column ``order``; None where it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Comparable figures."""

    title: str
    """Task, metric, protocol and dataset."""
    columns: list[str]
    """Settings, or tasks."""
    lines: list[Line]
    """One for each encoder, the best first."""
    order: str
    """The column by which encoders are ranked."""
    notes: list[str] = field(default_factory=list)
    """What must be known about the figures."""
    task: str = ""
    """The task; empty for a table of several."""
    protocol: str = ""
    """The protocol."""
    dataset_sha256: str = ""
    """Fingerprint of the dataset; empty for a table of several tasks, and for the paper's data."""
    metric: str = ""
    """The metric."""

    @property
    def is_ranked(self) -> bool:
        """Whether any encoder has a rank."""
        return any(line.rank is not None for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Tables, and the rows they are made from."""

    tables: list[Table]
    """The tables."""
    rows: list[ResultRow]
    """All rows of the chosen tasks and metrics, also those in no table, with the paper's at the end."""
    notes: list[str] = field(default_factory=list)
    """What must be known about all tables."""
    with_std: bool = False
    """Whether standard deviations over seeds are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOptions:
    """Which figures are shown, and how."""

    task: str | None = None
    """Only this task; the paper's figures of it are shown even if nothing was measured."""
    metric: str | None = None
    """Only this metric (default: the key metrics)."""
    paper: bool = True
    """Put the paper's figures next to those of the same task."""
    sort: str | None = None
    """The column by which encoders are ranked, in the tables that have it."""
    everything: bool = False
    """Show all settings and metrics, and standard deviations over seeds."""
    columns: tuple[str, ...] = ()
    """Only these columns, in this order."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Display names of encoders and columns."""
