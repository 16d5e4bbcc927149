"""Names of rows: the clip, and where it has several draws or several SNRs, the number and the value.

::

    1-100032-A-0              one draw of the clip 1-100032-A-0
    1-100032-A-0_r2           its draw 2, of several
    1-100032-A-0_snr-2.5      its mixture at -2.5 dB, of a grid of SNRs
    1-100032-A-0_r2_snr-2.5   both

A clip is called after its file: the name without its type or, in a table that has several files of that name, the path.
"""

from __future__ import annotations

import pandas as pd

from bgknown.corpora.columns import find_corpus_prefixes
from bgknown.corpora.names import name_clip, name_clip_by_path

SNR_DECIMALS = 4
"""Decimals of an SNR in dB, so that a CSV holds it exactly."""


def name_row(clip: str, draw: int | None = None, snr_db: float | None = None) -> str:
    """The ``clip_id`` of a row.

    Args:
        clip: the clip.
        draw: number of the draw, where clips have several.
        snr_db: the SNR, where clips have a grid of them.
    """
    of_draw = "" if draw is None else f"_r{draw}"
    of_grid = "" if snr_db is None else f"_snr{round(snr_db, SNR_DECIMALS) + 0.0:g}"  # adding 0 makes -0 a 0
    return f"{clip}{of_draw}{of_grid}"


def find_clip(clip_id: str, file: str, draw: int | None, snr_db: float) -> str:
    """The clip of a row, which is called after its file in one way or the other."""
    by_path = name_clip_by_path(file)
    if clip_id.startswith(by_path) and clip_id in {name_row(by_path, draw), name_row(by_path, draw, snr_db)}:
        return by_path
    return name_clip(file)


def list_clip_names(table: pd.DataFrame) -> list[str]:
    """[n] the clip of each row of a recipe or manifest; several draws of a clip have the same."""
    column = find_corpus_prefixes(table.columns).foreground_file
    if column not in table:
        return [str(name) for name in table["clip_id"]]
    files = table[column].astype(str).tolist()
    if not {"clip_id", "snr_db"} <= set(table.columns):
        return [name_clip(file) for file in files]
    draws = table["draw"].tolist() if "draw" in table else [None] * len(table)
    rows = zip(table["clip_id"].astype(str), files, draws, table["snr_db"], strict=True)
    return [find_clip(*row) for row in rows]
