"""Accuracy by class and confusion counts of runs, from their predictions."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmark.predictions import MINUS, list_groupings, read_predictions
from benchmark.results.row import ResultRow
from benchmark.results.runs import find_folder, name_folder
from benchmark.results.stats import Estimate, estimate_share
from bgknown.errors import NotFoundError
from bgknown.shown import escape_cell

log = logging.getLogger(__name__)

FACTS = ("task", "protocol", "dataset_sha256", "encoder", "checkpoint_sha256", "setting", "metric")
PER_CLASS_COLUMNS = (*FACTS, "label", "accuracy", "low", "high", "n_test", "n_groups")
CONFUSION_COLUMNS = (*FACTS, "label", "predicted", "count", "seeds")
ACCURACY = "accuracy"
"""What the names of metrics end in whose predictions are classes."""


def format_per_class(rows: Sequence[ResultRow], outs: Sequence[Path]) -> str:
    """Accuracy of every class in percent, with its 95 % interval by groups of clips, as CSV.

    Args:
        rows: the figures; those that are not an accuracy are left out.
        outs: the folders of results with their predictions.

    Raises:
        NotFoundError: there are no predictions of any of them.
    """
    lines = []
    for row, table in _read_tables(rows, outs):
        for label, found, n_test in measure_classes(table):
            ends = ["" if end is None else 100 * end for end in (found.low, found.high)]
            lines.append([*_list_facts(row), label, 100 * found.mean, *ends, n_test, found.n_groups])
    return _format_csv(PER_CLASS_COLUMNS, lines)


def measure_classes(table: pd.DataFrame) -> Iterator[tuple[str, Estimate, int]]:
    """Each class, its accuracy 0..1 with the 95 % interval by groups of clips, and the number of its clips.

    Args:
        table: predictions of one setting by an accuracy.
    """
    for label, part in table.groupby("label", sort=True):
        scores = part.groupby("clip_id")["score"].mean()
        yield str(label), estimate_share(scores.to_numpy(), list_groupings(part, scores.index)), len(scores)


def format_confusion(rows: Sequence[ResultRow], outs: Sequence[Path]) -> str:
    """How often every class was predicted for the clips of every class, over all seeds, as CSV; zeros are left out.

    Arguments and errors as for ``format_per_class``.
    """
    lines = []
    for row, table in _read_tables(rows, outs):
        seeds = table["seed"].nunique()
        counts = table.groupby(["label", "predicted"], sort=True).size()
        pairs = zip(counts.index.to_list(), counts.to_list(), strict=True)
        lines += [[*_list_facts(row), label, predicted, count, seeds] for (label, predicted), count in pairs]
    return _format_csv(CONFUSION_COLUMNS, lines)


def _read_tables(rows: Sequence[ResultRow], outs: Sequence[Path]) -> Iterator[tuple[ResultRow, pd.DataFrame]]:
    """The predictions of each figure that is an accuracy; a log warning names the first that has none."""
    known: dict[Path, pd.DataFrame] = {}
    figures = [
        row for row in rows if row.source == "measured" and row.metric.endswith(ACCURACY) and MINUS not in row.setting
    ]
    missing: list[str] = []
    found = 0
    for row in figures:
        folder = find_folder(row, outs)
        if folder is not None and folder not in known:
            known = {folder: read_predictions(folder)}  # rows of a run follow each other: one table at a time
        table = pd.DataFrame() if folder is None else known[folder]
        part = table if table.empty else table[(table["setting"] == row.setting) & (table["metric"] == row.metric)]
        if part.empty:
            missing.append(f"{row.encoder} on {row.task}, {row.setting} (runs/{name_folder(row)})")
        else:
            found += 1
            yield row, part
    if missing and found:
        log.warning("no predictions of %d figures, the first %s; run them again", len(missing), missing[0])
    if not found:
        first = f" of {missing[0]}; run it again" if missing else "; only accuracies have classes"
        raise NotFoundError(f"there are no predictions{first}")


def _list_facts(row: ResultRow) -> list[str]:
    return [str(getattr(row, name)) for name in FACTS]


def _format_csv(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([escape_cell(value) if isinstance(value, str) else value for value in line] for line in lines)
    return text.getvalue()
