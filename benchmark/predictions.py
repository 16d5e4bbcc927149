"""Predictions of a run, clip by clip, and the scores that they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.shown import unescape_cell
from bgknown.tables import parse_numbers, read_csv, select

PREDICTION_COLUMNS = [
    "encoder",
    "task",
    "setting",
    "metric",
    "fold",
    "seed",
    "clip_id",
    "group",
    "background",
    "label",
    "predicted",
    "score",
]
"""Columns of a table of predictions. ``group`` is the clip's source, speaker, recording or tone, ``background`` the
recording of its background in BgKnown; both are empty where the clip stands for itself."""
OPTIONAL_COLUMNS = ("encoder", "group", "background")
"""Columns that tables of earlier versions lack."""
GROUP_COLUMNS = ("group", "background")
"""Columns that say which clips resemble each other."""
PREDICTIONS = "predictions.csv"
"""Its file, in the folder of a run."""
COSINE = "cosine to clean"
"""Metric that is neither a share nor a rank: from -1 to 1."""
MINUS = " - "
"""What is between the two settings of a paired gain, such as ``a* - mix``."""


def average_by_seed(table: pd.DataFrame, setting: str, metric: str) -> list[float]:
    """The score of each seed, 0..1: the mean over its folds. That of a gain is the difference of its two settings.

    Args:
        table: predictions, with ``PREDICTION_COLUMNS``.
        setting, metric: which of them.
    """
    rows = _find_rows(table, setting, metric)
    if not len(rows) and MINUS in setting:
        sides = [average_by_seed(table, side, metric) for side in setting.split(MINUS, 1)]
        return [first - second for first, second in zip(*sides, strict=True)]
    (seeds, _), (folds, _) = (_number(table[column], rows, sort=True) for column in ("seed", "fold"))
    cells, n_folds = _number_cells(seeds, folds)
    by_fold = table["score"].iloc[rows].groupby(cells).mean()
    return by_fold.groupby(by_fold.index // n_folds).mean().tolist()


def score_clips(table: pd.DataFrame, setting: str, metric: str) -> pd.Series:
    """The score of each clip, 0..1, weighted so that their mean is the mean over seeds and folds of a fold's mean.

    Args:
        table: predictions, with ``PREDICTION_COLUMNS``.
        setting: a setting, or a gain such as ``a* - mix``: the difference of the two, from -1 to 1.
        metric: a metric.

    Returns:
        scores by ``clip_id``, sorted; empty where the table lacks the setting or the metric.
    """
    rows = _find_rows(table, setting, metric)
    if not len(rows) and MINUS in setting:
        first, second = (score_clips(table, side, metric) for side in setting.split(MINUS, 1))
        return first - second if first.index.equals(second.index) else first.iloc[:0]
    (seeds, _), (folds, _) = (_number(table[column], rows) for column in ("seed", "fold"))
    sizes = np.bincount(cells := _number_cells(seeds, folds)[0])
    clips, names = _number(table["clip_id"], rows, sort=True)
    weighted = pd.Series(table["score"].to_numpy(np.float64)[rows] / sizes[cells], name="score")
    sums = weighted.groupby(clips).sum().set_axis(pd.Index(names, name="clip_id"))
    return sums * (len(names) / max(1, int((sizes > 0).sum())))


def _find_rows(table: pd.DataFrame, setting: str, metric: str) -> NDArray[np.int64]:
    return np.flatnonzero((table["setting"] == setting).to_numpy() & (table["metric"] == metric).to_numpy())


def _number(column: pd.Series, rows: NDArray[np.int64], *, sort: bool = False) -> tuple[NDArray[np.int64], pd.Index]:
    """The entries in some rows as numbers, and what each number is. To group by numbers takes a part of the time."""
    return pd.factorize(column.iloc[rows], sort=sort)


def _number_cells(seeds: NDArray[np.int64], folds: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """One number for each pair of a seed and a fold, in their order; and the number of folds."""
    n_folds = int(folds.max(initial=0)) + 1
    return seeds * n_folds + folds, n_folds


def list_groupings(table: pd.DataFrame, clips: pd.Index) -> tuple[list[str], ...]:
    """What clips belong to: one list for each of ``GROUP_COLUMNS`` that has an entry for any of them.

    Args:
        table: predictions, with ``PREDICTION_COLUMNS``.
        clips: [n] their ``clip_id``.

    Returns:
        lists [n] of names; empty for a clip that stands for itself.
    """
    if table.empty:
        return ()
    first = np.flatnonzero(~table["clip_id"].duplicated().to_numpy())
    rows = pd.Index(table["clip_id"].iloc[first]).get_indexer(clips)
    there, rows = rows >= 0, first[rows]
    columns = (table[column].iloc[rows].where(there, "").fillna("").astype(str).tolist() for column in GROUP_COLUMNS)
    return tuple(names for names in columns if any(names))


def add_optional_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A table of predictions with all of ``PREDICTION_COLUMNS``, in their order; columns that it lacks are empty."""
    empty = {column: "" for column in OPTIONAL_COLUMNS if column not in table.columns}
    return table.assign(**empty)[PREDICTION_COLUMNS]


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions of a run: every column as text, ``score`` as float64.

    Columns that earlier versions did not write are empty.

    Args:
        path: the folder of the run, or the file.

    Raises:
        NotFoundError: there are none.
        InvalidInputError: the table is damaged; names the line.
    """
    file, advice = path / PREDICTIONS if path.is_dir() else path, "run this benchmark again to write it again"
    table = read_csv(file, advice=advice)
    columns = [name for name in PREDICTION_COLUMNS if name in table.columns or name not in OPTIONAL_COLUMNS]
    table = select(table, columns, file, advice=advice)
    scores = np.array(parse_numbers(table, "score", file))
    texts = {name: _unescape(table[name]) for name in columns if name != "score"}
    return add_optional_columns(table.assign(**texts, score=scores))


def _unescape(column: pd.Series) -> pd.Series:
    """The texts as they were before they were written; every different text is read once."""
    return column.map({text: unescape_cell(text) for text in column.unique()})
