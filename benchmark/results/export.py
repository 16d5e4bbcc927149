"""A leaderboard as text for a terminal, a page in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmark.results import rows as results
from benchmark.results.board import Cell, Leaderboard, Line, Table
from benchmark.results.rows import COLUMNS
from benchmark.text_tables import align_columns, format_markdown
from bgknown.jobs.files import make_folder, write_whole
from bgknown.shown import escape_cell, escape_line
from bgknown.shown import markdown as safe

PAGE = "leaderboard.md"
WITH_PAPER = "leaderboard_with_paper.csv"
PLACES = ("rank", "tie")
"""Columns of a table with ranks: the rank with its interval, and the number of the tie group."""
BEST, CUT = "*", "†"
LEGEND = (
    "mean [95 % interval over clips, by groups such as source or speaker]",
    "{best}: not significantly below the best measured value of its column",
)
LEGEND_OF_RANKS = (
    "rank [95 % interval]; tie: encoders with the same number do not differ significantly from the first of them",
    "(both by paired tests of groups of clips; tie and {best} are corrected by Holm)",
)
LEGEND_OF_PAPER = ("(paper): as published, on the paper's own data, with its interval over seeds",)
EXPORT_COLUMNS = ("name", "rank", "rank_low", "rank_high", "tie", "column", "best", *COLUMNS)
"""Columns of the CSV: those of ``leaderboard.csv`` after the display name, ranks and the column of the table."""


def format_text(board: Leaderboard) -> str:
    """The tables aligned for a terminal."""
    parts = []
    for table in board.tables:
        marks = [_measure_marks(table, place) for place in range(len(table.columns))]
        lines = [
            [line.encoder, *_list_places(table, line)]
            + [
                _format_cell(board, cell, "-") + _mark(cell).ljust(width)
                for cell, width in zip(line.cells, marks, strict=True)
            ]
            for line in table.lines
        ]
        names = [name + " " * width for name, width in zip(table.columns, marks, strict=True)]
        header = ["encoder", *(PLACES if table.is_ranked else ()), *names]
        text = align_columns(header, lines)
        parts.append("\n".join([escape_line(table.title), text, *map(escape_line, table.notes)]))
    notes = [*map(escape_line, board.notes), *list_legend(board, BEST)]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def format_page(board: Leaderboard) -> str:
    """The tables as a page in Markdown."""
    parts = ["# Leaderboard"]
    for table in board.tables:
        places = PLACES if table.is_ranked else ()
        lines = [
            [
                line.encoder,
                *_list_places(table, line),
                *(_format_cell(board, cell, "") + _cut(cell) for cell in line.cells),
            ]
            for line in table.lines
        ]
        bold = {
            (row, column)
            for row, line in enumerate(table.lines)
            for column, cell in enumerate(line.cells, start=1 + len(places))
            if cell is not None and cell.is_best
        }
        page = format_markdown(["encoder", *places, *table.columns], lines, bold=bold)
        parts.extend([f"## {safe(table.title)}", page, *map(safe, table.notes)])
    return "\n\n".join([*parts, *map(safe, board.notes), safe("; ".join(list_legend(board, "bold")))]) + "\n"


def format_latex(board: Leaderboard) -> str:
    """The tables in LaTeX, for the package ``booktabs``; the best values are bold."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in board.tables:
        places = PLACES if table.is_ranked else ()
        header = " & ".join(map(escape_latex, ["encoder", *places, *table.columns]))
        lines = [
            " & ".join(
                [escape_latex(text) for text in (line.encoder, *_list_places(table, line))]
                + [_format_latex_cell(board, cell) for cell in line.cells]
            )
            for line in table.lines
        ]
        notes = "".join(f"% {escape_line(note)}\n" for note in table.notes)
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{escape_latex(table.title)}}}\n"
            f"\\begin{{tabular}}{{l{'r' * (len(places) + len(table.columns))}}}\n\\toprule\n{header} \\\\\n\\midrule\n"
            + "".join(f"{line} \\\\\n" for line in lines)
            + f"\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n{notes}"
        )
    remarks = [*board.notes, *list_legend(board, "bold")]
    return "\n".join([*parts, *(f"% {escape_line(remark)}" for remark in remarks)]) + "\n"


def format_csv(board: Leaderboard) -> str:
    """The figures of the tables as CSV, one row each, with exact values and ``EXPORT_COLUMNS``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EXPORT_COLUMNS)
    for table, line, column, cell in _list_cells(board):
        (values,) = csv.reader(results.format_rows([cell.row]).splitlines()[1:])
        first = [line.encoder, *_list_rank(table, line, column), column, int(cell.is_best)]
        writer.writerow([*(escape_cell(value) if isinstance(value, str) else value for value in first), *values])
    return text.getvalue()


def format_json(board: Leaderboard) -> str:
    """The tables as JSON with exact values: title, columns, lines with rank and cells, and notes."""
    tables = [
        {
            "title": table.title,
            "columns": table.columns,
            "order": table.order,
            "lines": [
                {
                    "name": line.encoder,
                    "rank": None if line.rank is None else dataclasses.asdict(line.rank),
                    "cells": {
                        column: None if cell is None else {**dataclasses.asdict(cell.row), "best": cell.is_best}
                        for column, cell in zip(table.columns, line.cells, strict=True)
                    },
                }
                for line in table.lines
            ],
            "notes": table.notes,
        }
        for table in board.tables
    ]
    return json.dumps({"tables": tables, "notes": board.notes}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Leaderboard], str]] = {
    "text": format_text,
    "csv": format_csv,
    "md": format_page,
    "latex": format_latex,
    "json": format_json,
}
"""Formats by their names."""


def write_page(out: Path, board: Leaderboard) -> Path:
    """Write the tables to ``OUT/leaderboard.md``, and all rows with the paper's to a CSV next to it.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(out)
    write_whole(out / WITH_PAPER, results.format_rows(board.rows).encode())
    write_whole(out / PAGE, format_page(board).encode())
    return out / PAGE


def list_legend(board: Leaderboard, best: str) -> list[str]:
    """Lines that explain the figures and marks of the tables."""
    lines = list(LEGEND)
    if any(table.is_ranked for table in board.tables):
        lines += LEGEND_OF_RANKS
    if any(cell.row.source == "paper" for _, _, _, cell in _list_cells(board)):
        lines += LEGEND_OF_PAPER
    return [line.format(best=best) for line in lines]


def _list_cells(board: Leaderboard) -> Iterator[tuple[Table, Line, str, Cell]]:
    for table in board.tables:
        for line in table.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                if cell is not None:
                    yield table, line, column, cell


def _list_places(table: Table, line: Line) -> list[str]:
    """Rank and tie group as texts; nothing in a table without ranks."""
    if not table.is_ranked:
        return []
    rank = line.rank
    return ["", ""] if rank is None else [f"{rank.place} [{rank.low}, {rank.high}]", str(rank.tie)]


def _list_rank(table: Table, line: Line, column: str) -> list[int | str]:
    rank = line.rank if column == table.order else None
    return [""] * 4 if rank is None else [rank.place, rank.low, rank.high, rank.tie]


def _format_cell(board: Leaderboard, cell: Cell | None, missing: str) -> str:
    return missing if cell is None else cell.text(with_std=board.with_std)


def _format_latex_cell(board: Leaderboard, cell: Cell | None) -> str:
    text = escape_latex(_format_cell(board, cell, "")) + "$^\\dagger$" * bool(_cut(cell))
    return f"\\textbf{{{text}}}" if cell is not None and cell.is_best else text


def _cut(cell: Cell | None) -> str:
    return CUT * (cell is not None and cell.is_cut)


def _mark(cell: Cell | None) -> str:
    return BEST * (cell is not None and cell.is_best) + _cut(cell)


def _measure_marks(table: Table, place: int) -> int:
    return max((len(_mark(line.cells[place])) for line in table.lines), default=0)


_LATEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "†": "$^\\dagger$",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_LATEX.get(mark, mark) for mark in escape_line(text))
