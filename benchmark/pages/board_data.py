"""The tables of a leaderboard as data of its page: tabs, tables, lines and cells, with texts as commands print them.

A tab has the tables of one task, protocol and dataset. A table has all settings; those of the first table, which
``benchmark leaderboard`` prints, are marked as key columns. Texts that Markdown or LaTeX writes in another way come in
that way too, so that copies are the same as what ``--format`` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmark.pages.packing import PAGE_DECIMALS
from benchmark.results.board import Cell, Leaderboard, Line, Table
from benchmark.results.export import escape_latex, list_legend
from benchmark.results.key_figures import METRICS, is_control, is_gain
from benchmark.results.row import RANKS, UNSCALED, ResultRow
from bgknown.shown import escape_line, markdown

KEY, GAIN, CONTROL = 1, 2, 4
"""What a column may be, added up."""
BEST, CUT = 1, 2
"""What a cell may be, added up."""

TableKey = tuple[str, str, str, str]


def describe_board(board: Leaderboard, key_board: Leaderboard, find_run: Callable[[ResultRow], int]) -> dict[str, Any]:
    """Tabs and tables of a leaderboard.

    Args:
        board: all figures.
        key_board: the same with the columns that are shown first.
        find_run: the number of the block of a row's run; -1 where there are no predictions.
    """
    key_columns = {_name_table(table): table.columns for table in key_board.tables}
    tabs: dict[tuple[str, str, str], list[int]] = {}
    for number, table in enumerate(board.tables):
        tabs.setdefault((table.task, table.protocol, table.dataset_sha256), []).append(number)
    return {
        "tabs": [
            {
                "task": task,
                "protocol": protocol,
                "dataset": dataset,
                "tables": sorted(numbers, key=lambda number: _order_metric(board.tables[number].metric)),
            }
            for (task, protocol, dataset), numbers in tabs.items()
        ],
        "tables": [describe_table(table, key_columns.get(_name_table(table)), find_run) for table in board.tables],
        "escapes": collect_escapes(board),
        "notes": [escape_line(note) for note in key_board.notes if "--all" not in note],
        "legend": list_legend(board, "bold"),
    }


def describe_table(
    table: Table, key_columns: Sequence[str] | None, find_run: Callable[[ResultRow], int]
) -> dict[str, Any]:
    """One table: its columns with their settings, and its lines with numbers and texts of each cell."""
    return {
        "title": table.title,
        "metric": table.metric,
        "percent": table.metric not in UNSCALED,
        "ascending": table.metric in RANKS,
        "ranked": table.is_ranked,
        "order": table.columns.index(table.order),
        "columns": [_describe_column(table, place, key_columns) for place in range(len(table.columns))],
        "lines": [_describe_line(line, find_run) for line in table.lines],
        "notes": table.notes,
    }


def _describe_column(table: Table, place: int, key_columns: Sequence[str] | None) -> dict[str, Any]:
    name = table.columns[place]
    row = next(cell.row for line in table.lines if (cell := line.cells[place]) is not None)
    kind = KEY * (key_columns is None or name in key_columns) + GAIN * is_gain(row.setting)
    return {"name": name, "task": row.task, "setting": row.setting, "kind": kind + CONTROL * is_control(row.setting)}


def _describe_line(line: Line, find_run: Callable[[ResultRow], int]) -> dict[str, Any]:
    rows = [cell.row for cell in line.cells if cell is not None]
    rank = line.rank
    return {
        "name": line.encoder,
        "paper": rows[0].source == "paper",
        "checkpoint": rows[0].checkpoint_sha256[:8],
        "leaks": list(dict.fromkeys(row.leak_check for row in rows if row.leak_check)),
        "rank": None if rank is None else [rank.place, rank.low, rank.high, rank.tie],
        "cells": [None if cell is None else _describe_cell(cell, find_run) for cell in line.cells],
    }


def _describe_cell(cell: Cell, find_run: Callable[[ResultRow], int]) -> list[Any]:
    """Text, mean, low, high, marks, run and alpha."""
    row = cell.row
    numbers = [None if value is None else round(value, PAGE_DECIMALS) for value in (row.mean, row.low, row.high)]
    return [cell.text(), *numbers, BEST * cell.is_best + CUT * cell.is_cut, find_run(row), row.alpha, row.n_test]


def collect_escapes(board: Leaderboard) -> dict[str, dict[str, str]]:
    """Texts of the tables that Markdown or LaTeX writes in another way."""
    texts = dict.fromkeys(
        text
        for table in board.tables
        for text in (table.title, *table.columns, *table.notes, *(line.encoder for line in table.lines))
    )
    writers: dict[str, Callable[[str], str]] = {"markdown": markdown, "latex": escape_latex, "plain": escape_line}
    return {form: {text: write(text) for text in texts if write(text) != text} for form, write in writers.items()}


def _name_table(table: Table) -> TableKey:
    return table.task, table.protocol, table.dataset_sha256, table.metric


def _order_metric(metric: str) -> int:
    return METRICS.index(metric) if metric in METRICS else len(METRICS)
