"""Small pictures of audio for pages: a log-mel picture and an outline of the waveform, packed into a few hundred bytes.

A picture has 12 columns per second (fewer where audio is longer than 20 s) and 40 mel bands, each in one of 16 steps
of 4 dB; one scale holds for all pictures of a page. Twelve columns divide 5 s so that the half that reference b shares
with reference a gives the same columns, which then compress to almost nothing.

Shape letters: N samples, F mel bands, T columns.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.audio.mel import make_mel_filters

PICTURE_BANDS = 40
"""F, from 50 Hz to 16 kHz."""
PICTURE_RANGE_DB = 64
"""From black to the brightest colour."""
PICTURE_STEPS = 16
"""Colours, so that two pixels fit into a byte."""
OUTLINE_STEPS = 31
"""Heights of the waveform's outline above 0."""
MOST_COLUMNS = 240
"""T of audio of 20 s and more."""
CHUNK_ROWS = 32
"""Rows of a page whose pictures are compressed together, and unpacked together when one of them is shown."""

_FFT = 2_048
_HOP = RATE_HZ // 60
_BLOCK = 20  # columns that are computed together, so that they stay in the processor's cache
_FRAMES = 5  # in a column of audio of up to 20 s
_FLOOR_DB, _PER_DB = -80.0, 2.0  # levels are kept as bytes on the way from worker processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a picture shows, before the page's scale is known."""

    levels: NDArray[np.uint8]
    """[T, F] levels of mel power in half decibels above -80 dB."""
    outline: NDArray[np.float32]
    """[2 T] the largest absolute sample of each half column, full scale 1."""


def measure_picture(audio: NDArray[np.float32]) -> Picture:
    """Measure the levels and the outline of [N] samples at 44.1 kHz, full scale -1..1."""
    frames = max(1, audio.size // _HOP)
    per_column = max(_FRAMES, -(-frames // MOST_COLUMNS))
    columns = -(-frames // per_column)
    margin = (_FFT - _HOP) // 2
    padded = np.zeros(max(audio.size, _HOP) + _FFT, dtype=np.float32)
    padded[margin : margin + audio.size] = audio
    slices = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:frames]
    power = np.empty((columns, PICTURE_BANDS), dtype=np.float32)
    for column in range(0, columns, _BLOCK):  # a bounded part at a time: recordings may last an hour
        part = slices[column * per_column : (column + _BLOCK) * per_column]
        spectrum = scipy.fft.rfft(part * _make_window(), axis=1)
        bands = (spectrum.real**2 + spectrum.imag**2) @ _make_filters()
        starts = np.arange(0, len(part), per_column)
        counts = np.minimum(per_column, len(part) - starts)
        power[column : column + len(starts)] = np.add.reduceat(bands, starts) / counts[:, None]
    levels_db = 10.0 * np.log10(np.maximum(power, 1e-12))
    levels = np.clip(np.rint((levels_db - _FLOOR_DB) * _PER_DB), 0, 255).astype(np.uint8)
    return Picture(levels=levels, outline=_find_peaks(audio, 2 * columns))


def make_empty_picture() -> Picture:
    """The picture of audio that cannot be read; T is 0."""
    return Picture(levels=np.zeros((0, PICTURE_BANDS), np.uint8), outline=np.zeros(0, np.float32))


def find_top_db(pictures: Sequence[Picture]) -> float:
    """The upper end of the scale: the level that 0.1 % of these pictures' pixels exceed."""
    levels = np.concatenate([picture.levels.ravel() for picture in pictures])
    return float(np.percentile(levels, 99.9)) / _PER_DB + _FLOOR_DB


def pack_rows(rows: Sequence[Sequence[Picture]], top_db: float) -> list[str]:
    """The pictures of a page's rows as base64 text, ``CHUNK_ROWS`` rows in each.

    Unpacked (zlib), a chunk holds its rows one after another; a row holds its pictures, each as T columns of F levels
    from low to high bands, two to a byte, then their outlines, each as 2 T bytes. Outlines are relative to the row's
    loudest sample.

    Args:
        rows: the pictures of each row.
        top_db: the upper end of the scale.
    """
    chunks = [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
    return [
        base64.b64encode(zlib.compress(b"".join(_pack_row(row, top_db) for row in chunk), 9)).decode()
        for chunk in chunks
    ]


def _pack_row(pictures: Sequence[Picture], top_db: float) -> bytes:
    parts: list[NDArray[Any]] = []
    for picture in pictures:
        above_db = picture.levels.astype(np.float32) / _PER_DB + _FLOOR_DB - (top_db - PICTURE_RANGE_DB)
        steps = np.clip(above_db * (PICTURE_STEPS / PICTURE_RANGE_DB), 0, PICTURE_STEPS - 1).astype(np.uint8).ravel()
        parts.append(steps[0::2] << 4 | steps[1::2])
    peak = max(1e-9, *(float(picture.outline.max(initial=0.0)) for picture in pictures))
    parts += [np.rint(picture.outline * (OUTLINE_STEPS / peak)).astype(np.uint8) for picture in pictures]
    return b"".join(part.tobytes() for part in parts)


def _find_peaks(audio: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """[columns] the largest absolute value in each of that many parts of about equal length."""
    if audio.size < columns:
        return np.full(columns, np.abs(audio).max(initial=0.0), dtype=np.float32)
    starts = np.linspace(0, audio.size, columns, endpoint=False).astype(np.int64)
    return np.asarray(np.maximum.reduceat(np.abs(audio), starts))


@cache
def _make_window() -> NDArray[np.float32]:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


@cache
def _make_filters() -> NDArray[np.float32]:
    filters = make_mel_filters(rate_hz=RATE_HZ, n_fft=_FFT, n_mels=PICTURE_BANDS, f_min=50.0, f_max=16_000.0)
    return np.ascontiguousarray(filters.T)
