"""Accuracy and gains by band of SNR: a table in the folder of a run, which ``benchmark.evaluation.bands`` makes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd

from bgknown.shown import unescape_cell
from bgknown.tables import parse_numbers, parse_whole_numbers, read_text_table

BAND_COLUMNS = ["band", "n", "n_groups", "setting", "mean", "low", "high"]
"""Columns of the table: the band in dB, its test rows, the groups that the interval resamples, the setting or the gain
between two, and its mean with the 95 % interval over clips by groups, in percent or percentage points."""
_BAND = re.compile(r"(-?[0-9.]+)(?: to (-?[0-9.]+))?")


def read_bands(path: Path) -> pd.DataFrame:
    """Read the table of a run.

    Returns:
        columns band, low_db, high_db and middle_db (the ends and the middle of the band, not a number where its name is
        not one), setting, mean, low and high (not a number where there is no interval), n and n_groups.

    Raises:
        NotFoundError: there is no such table.
        InvalidInputError: it is damaged; names the line.
    """
    table = read_text_table(path, BAND_COLUMNS, advice="run this benchmark again with --again")
    means = parse_numbers(table, "mean", path)
    limits = {name: _parse_limits(table, name, path) for name in ("low", "high")}
    bands = table["band"].map(unescape_cell)  # a band may begin with a minus
    ends = pd.DataFrame([_find_ends(band) for band in bands], columns=["low_db", "high_db"])
    return pd.DataFrame(
        {
            "band": bands,
            **ends,
            "middle_db": ends.mean(axis=1),
            "setting": table["setting"].map(unescape_cell),
            "mean": means,
            **limits,
            **{name: parse_whole_numbers(table, name, path) for name in ("n", "n_groups")},
        }
    )


def _find_ends(band: str) -> tuple[float, float]:
    """The ends of a band in dB; of a single SNR twice the same."""
    found = _BAND.fullmatch(band)
    if found is None:
        return math.nan, math.nan
    return float(found[1]), float(found[2] or found[1])


def _parse_limits(table: pd.DataFrame, column: str, path: Path) -> list[float]:
    """An end of every interval; not a number where it is empty."""
    texts = table[column]
    numbers = parse_numbers(table.assign(**{column: texts.replace("", "0")}), column, path)
    return [number if text else math.nan for number, text in zip(numbers, texts, strict=True)]
