"""What a page shows of a tab besides its tables: accuracy by class, accuracy by SNR, and encoders in pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.pages.packing import PAGE_DECIMALS
from benchmark.predictions import list_groupings, score_clips
from benchmark.results.bands import read_bands
from benchmark.results.board import Table
from benchmark.results.classes import ACCURACY, measure_classes
from benchmark.results.clip_scores import ClipScores
from benchmark.results.key_figures import is_control, is_gain
from benchmark.results.paired import compare_paired
from benchmark.results.row import RANKS, UNSCALED, ResultRow
from benchmark.results.run_folder import SNR_TABLE
from benchmark.results.runs import find_folder
from bgknown.tables import list_records

MOST_PAIRS = 66
"""Encoders of a column are compared in pairs up to this number of pairs: those of twelve encoders."""


def describe_classes(table: Table, clips: ClipScores) -> dict[str, Any] | None:
    """Accuracy by class of every encoder and setting of a table; None without accuracies or their predictions.

    Returns:
        the labels with the number of clips of each, and for each column and line [label] mean, low and high in percent.
    """
    if table.metric != ACCURACY or not table.task:
        return None
    counts: dict[str, int] = {}
    figures: list[list[dict[str, list[float | None]] | None]] = []
    for place in range(len(table.columns)):
        figures.append([])
        for line in table.lines:
            part = _read_part(None if (cell := line.cells[place]) is None else cell.row, clips)
            by_label = {} if part is None else {label: (found, n) for label, found, n in measure_classes(part)}
            counts |= {label: n for label, (_, n) in by_label.items()}
            values = {
                label: [_percent(found.mean), _percent(found.low), _percent(found.high)]
                for label, (found, _) in by_label.items()
            }
            figures[-1].append(values or None)
    labels = sorted(counts)
    if not labels:
        return None
    return {
        "labels": labels,
        "counts": [counts[label] for label in labels],
        "figures": [
            [None if values is None else [values.get(label) for label in labels] for values in column]
            for column in figures
        ],
    }


def describe_bands(table: Table, outs: Sequence[Path]) -> dict[str, Any] | None:
    """Accuracy and gains by band of SNR, of each line that has them; None where none has.

    Raises:
        InvalidInputError: a table of bands is damaged; names the line.
    """
    if table.metric != ACCURACY or not table.task:
        return None
    lines: list[dict[str, list[list[float | None]]]] = []
    names: dict[str, int] = {}
    for line in table.lines:
        row = next(cell.row for cell in line.cells if cell is not None)
        folder = find_folder(row, outs) if row.source == "measured" else None
        found: dict[str, list[list[float | None]]] = {}
        if folder is not None and (folder / SNR_TABLE).is_file():
            for band in list_records(read_bands(folder / SNR_TABLE)):
                names.setdefault(band["band"], band["n"])
                values = [None if math.isnan(band[name]) else band[name] for name in ("mean", "low", "high")]
                found.setdefault(band["setting"], []).append(values)
        lines.append(found)
    return {"bands": list(names), "counts": list(names.values()), "lines": lines} if names else None


def describe_paired(table: Table, clips: ClipScores, line_runs: Sequence[int]) -> list[list[Any]]:
    """The paired difference of every two encoders in the key columns of a table, as ``benchmark compare`` gives it.

    Args:
        table: the table, with its key columns only.
        clips: scores of clips.
        line_runs: for each line the number of its run.

    Returns:
        for each pair and column: the two runs, the column, the mean difference, its interval, p, and how many clips
        each side does better. Empty where there are too many pairs; controls are left out, as they are not tested.
    """
    lines = [number for number, run in enumerate(line_runs) if run >= 0]
    pairs = list(itertools.combinations(lines, 2))
    if not table.task or len(pairs) > MOST_PAIRS:
        return []
    found = []
    for place, column in enumerate(table.columns):
        rows = {number: cell.row for number in lines if (cell := table.lines[number].cells[place]) is not None}
        if any(is_control(row.setting) for row in rows.values()):
            continue
        scores = {number: score for number, row in rows.items() if (score := _read_scores(row, clips)) is not None}
        for one, two in pairs:
            if one in scores and two in scores and scores[one][0].index.equals(scores[two][0].index):
                result = _compare(rows[one], scores[one], scores[two])
                found.append([line_runs[one], line_runs[two], column, *result])
    return found


_Scores = tuple[pd.Series, tuple[list[str], ...]]


def _compare(row: ResultRow, one: _Scores, two: _Scores) -> list[Any]:
    groupings = max(one[1], two[1], key=len)
    result = compare_paired(one[0].to_numpy(), two[0].to_numpy(), groupings)
    unit = 1 if row.metric in UNSCALED else 100
    ends = [None if end is None else round(unit * end, PAGE_DECIMALS) for end in (result.mean, result.low, result.high)]
    wins = [result.wins, result.losses] if row.metric not in RANKS else [result.losses, result.wins]
    return [*ends, float(f"{result.p:.4g}"), *wins]


def _read_scores(row: ResultRow, clips: ClipScores) -> _Scores | None:
    table = clips.read_table(row)
    scores = None if table is None else score_clips(table, row.setting, row.metric)
    if table is None or scores is None or scores.empty:
        return None
    return scores, list_groupings(table, scores.index)


def _read_part(row: ResultRow | None, clips: ClipScores) -> pd.DataFrame | None:
    """The predictions of a figure; None where there are none."""
    if row is None or row.source != "measured" or is_gain(row.setting):
        return None
    table = clips.read_table(row)
    part = None if table is None else table[(table["setting"] == row.setting) & (table["metric"] == row.metric)]
    return None if part is None or part.empty else part


def _percent(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(100 * value, PAGE_DECIMALS)
