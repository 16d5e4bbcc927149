"""Accuracy and gains by band of SNR."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd

from benchmark.evaluation.scoring import make_score
from benchmark.predictions import MINUS
from benchmark.results.bands import BAND_COLUMNS
from benchmark.results.stats import estimate_mean, estimate_share
from benchmark.tasks.contract import Bands, TaskData

DECIMALS = 4
"""Decimals of percentages in tables next to the predictions."""


def tabulate_bands(data: TaskData, bands: Bands, predictions: pd.DataFrame) -> pd.DataFrame:
    """The task's metric in every setting, and its gains, for the test rows of each band.

    Args:
        data: the task.
        bands: which row is in which band.
        predictions: those of all settings.

    Returns:
        a table with ``BAND_COLUMNS``.
    """
    table = predictions[predictions["metric"] == data.facts.metric]
    there = set(table["setting"])
    settings = [setting.name for setting in data.settings if setting.name in there]
    settings += [f"{first}{MINUS}{second}" for first, second in data.gains if {first, second} <= there]
    names = data.table["clip_id"].to_numpy()
    rows = []
    for number, band in enumerate(bands.names):
        part = table[table["clip_id"].isin(names[bands.places == number])]
        for setting in settings:
            score = make_score(part, setting, data.facts.metric)
            if not len(score.by_clip):
                continue
            groupings = [groups.tolist() for groups in score.groupings]
            if MINUS in setting:
                estimate = estimate_mean(score.by_clip, groupings, bounds=(-1.0, 1.0))
            else:
                estimate = estimate_share(np.clip(score.by_clip, 0.0, 1.0), groupings)
            ends = [None if end is None else 100 * end for end in (estimate.low, estimate.high)]
            rows.append([band, len(score.by_clip), estimate.n_groups, setting, 100 * estimate.mean, *ends])
    found = pd.DataFrame(rows, columns=BAND_COLUMNS).round(DECIMALS)
    with contextlib.suppress(ValueError):  # the values of a grid, which as text would get an apostrophe before a minus
        found["band"] = pd.to_numeric(found["band"])
    return found
