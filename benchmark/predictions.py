"""Predictions of a run, clip by clip, and the scores that they give."""

from __future__ import annotations

import pandas as pd


def by_seed(table: pd.DataFrame, setting: str, metric: str) -> list[float]:
    """The score of each seed, 0..1: the mean over its folds.

    Args:
        table: predictions, with ``PREDICTION_COLUMNS``.
        setting, metric: which of them.
    """
    part = table[(table["setting"] == setting) & (table["metric"] == metric)]
    return [float(score) for score in part.groupby(["seed", "fold"])["score"].mean().groupby("seed").mean()]
