"""The leaderboard: result rows as tables in which only like stands beside like.

A task with several settings has one table for each metric, dataset and protocol, with a column for each setting. Tasks
with one setting share a table for each metric and protocol, with a column for each task. The paper's rows stand in the
tables of its own protocol, with whatever text encoder. They come from the paper's own data, which nobody else has, and
are marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.protocol import PLAIN_SETTING, TEXT_ENCODER, TEXT_MARK
from benchmark.results import rows as results
from benchmark.results.rows import OF_ITS_TASKS, RANKS, ResultRow, read_paper_rows
from benchmark.text_tables import align_columns, format_markdown
from bgknown.errors import NotFoundError
from bgknown.jobs.files import make_folder, write_whole
from bgknown.nearest import suggest
from bgknown.shown import escape_line
from bgknown.shown import markdown as safe

PAGE = "leaderboard.md"
WITH_PAPER = "leaderboard_with_paper.csv"
LEGEND = (
    "mean over seeds ± half of its 95 % confidence interval; {best}: best measured value; "
    "(paper): as published, on the paper's own data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of a table."""

    row: ResultRow
    """The row it comes from."""
    best: bool = False
    """Whether it is the best measured value of its column."""

    def text(self) -> str:
        """Two decimals, or for the paper what it prints; with half the confidence interval where there is one."""
        low, high = self.row.ci95_low, self.row.ci95_high
        mean = f"{self.row.mean:g}" if self.row.source == "paper" else f"{self.row.mean:.2f}"
        return mean if low is None or high is None else f"{self.row.mean:.2f} ± {(high - low) / 2:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One encoder in a table."""

    encoder: str
    """Its name; with its checkpoint where others have the same name, and ``(paper)`` where it is the paper's."""
    cells: list[Cell | None]
    """One for each column; None for what was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures that may be compared."""

    title: str
    """Task, metric, protocol and dataset."""
    columns: list[str]
    """Settings, or tasks."""
    lines: list[Line]
    """One for each encoder, the best first."""
    notes: list[str] = field(default_factory=list)
    """What must be known about the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Tables, and the rows they are made from."""

    tables: list[Table]
    """The tables."""
    rows: list[ResultRow]
    """The rows, with the paper's at the end."""


def arrange(
    rows: Sequence[ResultRow],
    *,
    task: str | None = None,
    metric: str | None = None,
    paper: bool = True,
    sort: str | None = None,
) -> Leaderboard:
    """Arrange result rows.

    Args:
        rows: what was measured.
        task: only this task; the paper's figures of it are shown even if nothing was measured.
        metric: only this metric.
        paper: put the paper's figures beside those of the same task.
        sort: the column by which encoders are ranked, in the tables that have it (default: the first).

    Raises:
        NotFoundError: nothing is left; or there is no such task, metric or column, and says which are close.
    """
    known = {row.task for row in rows} | ({task} if task else set())
    published = [row for row in read_paper_rows() if row.task in known] if paper else []
    found = [*rows, *published]
    # an unknown task is told before an unknown metric of it
    for what, wanted in (("task", task), ("metric", metric)):
        if wanted is not None:
            names = list(dict.fromkeys(str(getattr(row, what)) for row in found))
            if wanted not in names:
                raise NotFoundError(f"no result of {what} {wanted!r}; {suggest(wanted, names)}")
            found = [row for row in found if getattr(row, what) == wanted]
    if not found:
        raise NotFoundError("there are no results yet; `benchmark run` makes some")
    tables = _tables(found, sort)
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    if sort is not None and sort not in columns:
        raise NotFoundError(f"no column {sort!r} to sort by; {suggest(sort, columns)}")
    return Leaderboard(tables=tables, rows=found)


def format_text(board: Leaderboard) -> str:
    """The tables aligned for a terminal."""
    parts = []
    for table in board.tables:
        columns = zip(*(line.cells for line in table.lines), strict=True)
        marked = [any(cell is not None and cell.best for cell in column) for column in columns]
        lines = [
            [line.encoder]
            + [
                ("-" if cell is None else cell.text()) + (" *"[bool(cell and cell.best)] if mark else "")
                for cell, mark in zip(line.cells, marked, strict=True)
            ]
            for line in table.lines
        ]
        header = ["encoder", *(name + " " * mark for name, mark in zip(table.columns, marked, strict=True))]
        parts.append(
            "\n".join([escape_line(table.title), align_columns(header, lines), *map(escape_line, table.notes)])
        )
    return "\n\n".join([*parts, LEGEND.format(best="*")]) + "\n"


def as_markdown(board: Leaderboard) -> str:
    """The tables as a page in Markdown."""
    parts = ["# Leaderboard"]
    for table in board.tables:
        lines = [[line.encoder, *("" if cell is None else cell.text() for cell in line.cells)] for line in table.lines]
        bold = {
            (row, column)
            for row, line in enumerate(table.lines)
            for column, cell in enumerate(line.cells, start=1)
            if cell is not None and cell.best
        }
        page = format_markdown(["encoder", *table.columns], lines, bold=bold)
        parts.extend([f"## {safe(table.title)}", page, *map(safe, table.notes)])
    return "\n\n".join([*parts, LEGEND.format(best="bold")]) + "\n"


def format_csv(board: Leaderboard) -> str:
    """The rows, one for each figure, with exact values."""
    return results.format_rows(board.rows)


def write_page(out: Path, board: Leaderboard) -> Path:
    """Write the tables to ``OUT/leaderboard.md``, and their rows, the paper's among them, to a CSV beside it.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(out)
    write_whole(out / WITH_PAPER, format_csv(board).encode())
    write_whole(out / PAGE, as_markdown(board).encode())
    return out / PAGE


def _tables(rows: Sequence[ResultRow], sort: str | None) -> list[Table]:
    """Sort rows into tables, in the order in which their tasks and metrics first appear."""
    settings: dict[str, set[str]] = {}
    datasets: dict[str, dict[tuple[str, str], None]] = {}
    for row in rows:
        settings.setdefault(row.task, set()).add(row.setting)
        if row.source == "measured":
            datasets.setdefault(row.task, {})[row.dataset_sha256, row.protocol] = None
    groups: dict[tuple[str, ...], list[ResultRow]] = {}
    for row in rows:
        if len(settings[row.task]) == 1:
            groups.setdefault(("", row.protocol, "", row.metric), []).append(row)
            continue
        # the paper's figures join every dataset that was measured by its protocol
        measured = [key for key in datasets.get(row.task, {}) if _but_for_texts(key[1]) == row.protocol]
        joined = measured if row.source == "paper" and measured else [(row.dataset_sha256, row.protocol)]
        for data, protocol in joined:
            groups.setdefault((row.task, protocol, data, row.metric), []).append(row)
    return [_table(key, group, sort) for key, group in groups.items()]


def _but_for_texts(protocol: str) -> str:
    """The name of a protocol without the text encoder that was taken in place of the paper's."""
    return ", ".join(part for part in protocol.split(", ") if not part.startswith(TEXT_MARK))


def _table(key: tuple[str, ...], rows: Sequence[ResultRow], sort: str | None) -> Table:
    task, protocol, data, metric = key
    names = _column_names(rows) if not task else {row.identity: row.setting for row in rows}
    columns = list(dict.fromkeys(names[row.identity] for row in (rows if task else _in_order(rows))))
    cells: dict[tuple[str, str, str], dict[str, ResultRow]] = {}
    for row in rows:
        cells.setdefault((row.source, row.encoder, row.checkpoint_sha256), {})[names[row.identity]] = row
    best = {column: _best([line.get(column) for line in cells.values()]) for column in columns}
    first = sort if sort in columns else columns[0]
    sign = 1.0 if metric in RANKS else -1.0
    order = sorted(cells, key=lambda line: (sign * cells[line][first].mean if first in cells[line] else 0.0, line))
    order.sort(key=lambda line: first not in cells[line])
    lines = [
        Line(
            encoder=_encoder_name(line, list(cells)),
            cells=[_cell(cells[line].get(column), best[column]) for column in columns],
        )
        for line in order
    ]
    where = f", dataset {data[:8]}" if data else ""
    unit = "" if metric in RANKS else " (%)"
    title = f"{task}: {metric}{unit}, protocol {protocol}{where}" if task else f"{metric}{unit}, protocol {protocol}"
    leaks = {row.task: row.leak_check for row in rows if row.leak_check not in {"", "ok", OF_ITS_TASKS}}
    notes = [f"leak check of {name}: {outcome}" for name, outcome in leaks.items()]
    if _but_for_texts(protocol) != protocol and any(row.source == "paper" for row in rows):
        notes.append(f"the paper's text encoder is {TEXT_ENCODER}")
    return Table(title=title, columns=columns, lines=lines, notes=notes)


def _in_order(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of several tasks, those of the paper's tasks first and in the paper's order."""
    order = {name: place for place, name in enumerate(dict.fromkeys(row.task for row in read_paper_rows()))}
    return sorted(rows, key=lambda row: order.get(row.task, len(order)))


def _column_names(rows: Sequence[ResultRow]) -> dict[tuple[str, ...], str]:
    """Names of the columns of a table of several tasks; datasets that differ have columns of their own."""
    datasets: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.source == "measured":
            datasets.setdefault(row.task, {})[row.dataset_sha256] = None
    names = {}
    for row in rows:
        several = len(datasets.get(row.task, {})) > 1 and row.source == "measured"
        name = row.task if row.setting == PLAIN_SETTING else f"{row.task} {row.setting}"
        names[row.identity] = f"{name} [{row.dataset_sha256[:8]}]" if several else name
    return names


def _cell(row: ResultRow | None, best: float | None) -> Cell | None:
    return None if row is None else Cell(row=row, best=row.source == "measured" and row.mean == best)


def _best(rows: Iterable[ResultRow | None]) -> float | None:
    """The best measured value, of ranks the smallest; None where there is nothing to choose from."""
    known = [row for row in rows if row is not None and row.source == "measured"]
    values = [row.mean for row in known]
    if len(set(values)) <= 1:
        return None
    return min(values) if known[0].metric in RANKS else max(values)


def _encoder_name(line: tuple[str, str, str], lines: Iterable[tuple[str, str, str]]) -> str:
    source, encoder, checkpoint = line
    same = [other for other in lines if other[:2] == line[:2]]
    name = f"{encoder} [{checkpoint[:8] or 'no weights'}]" if len(same) > 1 else encoder
    return f"{name} (paper)" if source == "paper" else name
