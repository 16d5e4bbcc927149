"""The leaderboard as one HTML file: tables, and behind each figure the predictions that it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.pages.audio_beside import parse_audio_folders
from benchmark.pages.board_data import describe_board
from benchmark.pages.closer_data import describe_bands, describe_classes, describe_paired
from benchmark.pages.run_data import ClipTable, pack_run
from benchmark.results.board import BoardOptions, Leaderboard, Line, Table
from benchmark.results.clip_scores import ClipScores
from benchmark.results.leaderboard import arrange
from benchmark.results.merge import read_results
from benchmark.results.row import ResultRow
from benchmark.results.run_folder import read_configuration
from benchmark.results.runs import find_folder, name_folder
from bgknown.jobs.files import make_folder, write_whole
from bgknown.pages.options import check_page
from bgknown.pages.shell import render_page
from bgknown.userpath import user_path

ASSETS_FOLDER = Path(__file__).parent / "assets"
"""Templates, scripts and styles of the pages of results."""
SCRIPTS = ("packed", "board_table", "copying", "sides", "clip_list", "pairs", "classes", "bands", "board")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage:
    """A page that was written."""

    path: Path
    """The file."""
    size: int
    """Its bytes."""
    predictions: int
    """Predictions that it holds."""


def write_leaderboard_page(
    outs: Sequence[Path], page: Path, options: BoardOptions | None = None, *, datasets: Sequence[str] = ()
) -> ResultPage:
    """Write the leaderboard of folders of results as a page.

    Args:
        outs: folders of results.
        page: the file.
        options: which figures are shown first, and how.
        datasets: folders whose audio the page plays, DIR or TASK=DIR.

    Raises:
        NotFoundError: there are no results, or a folder of audio does not belong to them.
        InvalidInputError: results are damaged, options break a rule, or the file exists and is not a page.
        StorageError: the page cannot be written.
    """
    options, page = options or BoardOptions(), user_path(page)
    check_page(page, "--html")
    rows, clips = read_results(outs), ClipScores(outs)
    key_board = arrange(rows, options, outs=outs, clips=clips)
    board = arrange(rows, dataclasses.replace(options, everything=True, columns=()), outs=outs, clips=clips)
    folders = parse_audio_folders(datasets, [row.dataset_sha256 for row in rows])
    runs, clip_tables = collect_runs(board, clips)
    numbers = {name: number for number, name in enumerate(runs)}
    blocks = {
        "board": describe_board(board, key_board, lambda row: numbers.get(name_folder(row), -1)),
        **{f"clips-{place}": table.pack(folders, page) for place, table in enumerate(clip_tables)},
        **_describe_closer(board, key_board, clips, outs, numbers),
    }
    of_runs, predictions = _describe_runs(list(runs.values()), clip_tables, outs)
    html = render_page(
        ASSETS_FOLDER / "leaderboard.html",
        title="Leaderboard",
        data=blocks | of_runs,
        styles=[ASSETS_FOLDER / "leaderboard.css"],
        scripts=[ASSETS_FOLDER / f"{script}.js" for script in SCRIPTS],
    ).encode()
    make_folder(page.absolute().parent)
    write_whole(page, html)
    return ResultPage(path=page, size=len(html), predictions=predictions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownRun:
    """A run whose predictions a page holds."""

    row: ResultRow
    """The first of its rows."""
    predictions: pd.DataFrame
    """Its predictions."""
    clips: int
    """Number of the table of its clips."""


def collect_runs(board: Leaderboard, clips: ClipScores) -> tuple[dict[str, ShownRun], list[ClipTable]]:
    """The runs with predictions by the names of their folders, and the tables of their clips, which know all names."""
    runs: dict[str, ShownRun] = {}
    tables: dict[tuple[str, str], ClipTable] = {}
    for row in board.rows:
        name = name_folder(row)
        found = None if row.source != "measured" or name in runs else clips.read_table(row)
        if found is not None:
            key = (row.task, row.dataset_sha256)
            tables.setdefault(key, ClipTable(task=row.task, dataset_sha256=row.dataset_sha256)).add(found)
            runs[name] = ShownRun(row=row, predictions=found, clips=list(tables).index(key))
    return runs, list(tables.values())


def _describe_runs(
    runs: Sequence[ShownRun], clip_tables: Sequence[ClipTable], outs: Sequence[Path]
) -> tuple[dict[str, Any], int]:
    """The blocks of runs, and what is known of each without its block; and the number of predictions."""
    blocks: dict[str, Any] = {}
    facts, settings, total = [], dict[str, dict[str, str]](), 0
    for number, run in enumerate(runs):
        row = run.row
        packed, count = pack_run(run.predictions, clip_tables[run.clips])
        series = list(packed["series"])
        facts.append({"task": row.task, "dataset": row.dataset_sha256, "clips": run.clips, "series": series})
        settings.setdefault(row.task, {}).update(_read_settings(row, outs))
        blocks[f"run-{number}"] = packed
        total += count
    return {**blocks, "runs": facts, "settings": settings}, total


def _read_settings(row: ResultRow, outs: Sequence[Path]) -> dict[str, str]:
    """What the settings of a run mean, as far as its configuration says."""
    folder = find_folder(row, outs)
    found = (read_configuration(folder) or {}).get("settings") if folder is not None else None
    return {str(name): str(about) for name, about in found.items()} if isinstance(found, dict) else {}


def _describe_closer(
    board: Leaderboard, key_board: Leaderboard, clips: ClipScores, outs: Sequence[Path], runs: dict[str, int]
) -> dict[str, Any]:
    """Blocks by the number of a table: classes, bands, and pairs of encoders."""
    blocks: dict[str, Any] = {}
    keys = {_key(table): table for table in key_board.tables}
    for number, table in enumerate(board.tables):
        key_table = keys.get(_key(table))
        by_line = [] if key_table is None else [_find_line_run(line, runs) for line in key_table.lines]
        found = {
            "classes": describe_classes(table, clips),
            "bands": describe_bands(table, outs),
            "pairs": None if key_table is None else describe_paired(key_table, clips, by_line),
        }
        blocks |= {f"{what}-{number}": value for what, value in found.items() if value}
    return blocks


def _find_line_run(line: Line, runs: dict[str, int]) -> int:
    """The number of the run of a line in a table of one task."""
    row = next(cell.row for cell in line.cells if cell is not None)
    return runs.get(name_folder(row), -1) if row.source == "measured" else -1


def _key(table: Table) -> tuple[str, ...]:
    return table.task, table.protocol, table.dataset_sha256, table.metric
