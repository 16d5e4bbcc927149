"""Result rows as a table of pandas."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pandas as pd

from benchmark.results.rows import COLUMNS, ResultRow, read_paper_rows, read_rows
from bgknown.userpath import user_path


def read_leaderboard(path: str | Path, *, paper: bool = False) -> pd.DataFrame:
    """Read a leaderboard as a table with one figure in each row.

    Args:
        path: the CSV file, or the folder of results that contains it.
        paper: add the paper's figures, whose ``source`` is "paper".

    Returns:
        The columns of ``leaderboard.csv`` as text, float64 or, for counts, Int64; missing values are NaN or NA.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, or ``path`` is not a path.
        StorageError: it cannot be read.
    """
    rows = [*read_rows(user_path(path)), *(read_paper_rows() if paper else [])]
    table = pd.DataFrame([[getattr(row, name) for name in COLUMNS] for row in rows], columns=list(COLUMNS))
    for name, hint in get_type_hints(ResultRow).items():
        if name in COLUMNS and hint is not str:
            table[name] = table[name].astype("Int64" if int in get_args(hint) else "float64")
    return table
