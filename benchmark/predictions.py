"""Predictions of a run, clip by clip, and the scores that they give."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bgknown.shown import unescape_cell
from bgknown.tables import parse_numbers, read_text_table

PREDICTION_COLUMNS = ["task", "setting", "metric", "fold", "seed", "clip_id", "label", "predicted", "score"]
"""Columns of a table of predictions."""
PREDICTIONS = "predictions.csv"
"""Its file, in the folder of a run."""


def average_by_seed(table: pd.DataFrame, setting: str, metric: str) -> list[float]:
    """The score of each seed, 0..1: the mean over its folds.

    Args:
        table: predictions, with ``PREDICTION_COLUMNS``.
        setting, metric: which of them.
    """
    part = table[(table["setting"] == setting) & (table["metric"] == metric)]
    return [float(score) for score in part.groupby(["seed", "fold"])["score"].mean().groupby("seed").mean()]


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions of a run: every column as text, ``score`` as float64.

    Args:
        path: the folder of the run, or the file.

    Raises:
        NotFoundError: there are none.
        InvalidInputError: the table is damaged; names the line.
    """
    file = path / PREDICTIONS if path.is_dir() else path
    table = read_text_table(file, PREDICTION_COLUMNS, advice="run this benchmark again to write it again")
    scores = parse_numbers(table, "score", file)
    texts = {name: [unescape_cell(text) for text in table[name]] for name in PREDICTION_COLUMNS if name != "score"}
    return table.assign(**texts, score=scores)
