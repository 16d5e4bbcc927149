"""Bands of the SNR that mixtures achieve, for accuracy and gain against SNR."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.tasks.contract import Bands
from bgknown.mixtures.naming import list_clip_names, name_row

COUNT = 3
"""Bands of equal numbers of test rows, where the SNRs are not those of a grid."""
NARROW_DB = 0.1
"""A range of SNRs up to this width is one band."""


def divide_by_snr(table: pd.DataFrame, test: NDArray[np.int64]) -> Bands:
    """The bands of a manifest: one for each SNR of its grid, otherwise ``COUNT`` of equal size.

    Args:
        table: the manifest.
        test: rows of the test part; only these are in bands.
    """
    part = table.iloc[test]
    places = np.full(len(table), -1, dtype=np.int64)
    if has_grid(part):
        values = sorted(set(part["snr_db"]))
        places[test] = [values.index(value) for value in part["snr_db"]]
        return Bands(names=tuple(f"{value:g}" for value in values), places=places)
    snr_db = part["achieved_snr_db"].to_numpy(dtype=np.float64)
    order = np.lexsort((part["clip_id"].to_numpy(dtype=np.str_), snr_db))
    count = 1 if np.ptp(snr_db) <= NARROW_DB else min(COUNT, len(order))
    names = []
    for number, members in enumerate(np.array_split(order, count)):
        places[test[members]] = number
        names.append(f"{snr_db[members].min():.2f} to {snr_db[members].max():.2f}")
    return Bands(names=tuple(names), places=places)


def has_grid(table: pd.DataFrame) -> bool:
    """Whether every row of a manifest is named for its SNR, as ``bgknown build --snr-grid`` names them."""
    draws = table["draw"].tolist() if "draw" in table else [None] * len(table)
    facts = zip(table["clip_id"], list_clip_names(table), draws, table["snr_db"], strict=True)
    return all(name == name_row(clip, draw, snr_db) for name, clip, draw, snr_db in facts)
