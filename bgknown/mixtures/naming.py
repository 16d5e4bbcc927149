"""Names of rows: the ESC-50 clip, and where it has several draws or several SNRs, the number and the value.

::

    1-100032-A-0              one draw of the clip 1-100032-A-0
    1-100032-A-0_r2           its draw 2, of several
    1-100032-A-0_snr-2.5      its mixture at -2.5 dB, of a grid of SNRs
    1-100032-A-0_r2_snr-2.5   both
"""

from __future__ import annotations

from pathlib import PurePosixPath

SNR_DECIMALS = 4
"""Decimals of an SNR in dB, so that a CSV holds it exactly."""


def name_clip(esc50_file: str) -> str:
    """The ESC-50 clip of a row, from its file: the file's name without its type."""
    return PurePosixPath(esc50_file).stem


def name_row(clip: str, draw: int | None = None, snr_db: float | None = None) -> str:
    """The ``clip_id`` of a row.

    Args:
        clip: the ESC-50 clip.
        draw: number of the draw, where clips have several.
        snr_db: the SNR, where clips have a grid of them.
    """
    of_draw = "" if draw is None else f"_r{draw}"
    of_grid = "" if snr_db is None else f"_snr{round(snr_db, SNR_DECIMALS) + 0.0:g}"  # adding 0 makes -0 a 0
    return f"{clip}{of_draw}{of_grid}"
