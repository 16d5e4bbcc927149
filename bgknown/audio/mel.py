"""Mel filters, for everything here that makes mel spectrograms.

They follow Slaney's scale, which is linear below 1 kHz and logarithmic above it, with triangles of area 1 over
frequency: the defaults of ``librosa.filters.mel``. Only numpy is needed, so that training runs where no audio library
is installed.

Shape letters: F mel bands, K bins of the spectrum.

Source: M. Slaney, Auditory Toolbox, Technical Report 1998-010, Interval Research Corporation (mfcc.m).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bgknown.errors import InvalidInputError

_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1_000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0  # above the break, 27 mels are a factor of 6.4


def make_mel_filters(
    *, rate_hz: int, n_fft: int, n_mels: int, f_min: float, f_max: float, round_twice: bool = False
) -> NDArray[np.float32]:
    """Make triangular mel filters.

    Args:
        rate_hz: sampling rate.
        n_fft: length of the Fourier transform, samples.
        n_mels: F.
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz; at least ``f_min`` and at most ``rate_hz / 2``.
        round_twice: round to float32 before the filters are scaled to area 1 as well as after, which equals librosa's
            filters exactly; without it they are rounded once, and differ from librosa's by one unit in the last place
            or two.

    Returns:
        [F, K] weights of the bins of a power spectrum, K = n_fft // 2 + 1.

    Raises:
        InvalidInputError: a band is so narrow that it contains no bin.
    """
    bins_hz = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    lowest, highest = _convert_to_mel(np.array([f_min, f_max], dtype=np.float64))
    edges_hz = _convert_to_hz(np.linspace(lowest, highest, n_mels + 2))
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    empty = np.flatnonzero(triangles.max(axis=1) == 0.0)
    if empty.size:
        raise InvalidInputError(
            f"mel band {empty[0] + 1} of {n_mels} contains no bin of a {n_fft}-point transform "
            f"({empty.size} such bands); use fewer bands (n_mels) or a larger n_fft"
        )
    if round_twice:
        triangles = triangles.astype(np.float32).astype(np.float64)
    return (triangles * (2.0 / (right - left))).astype(np.float32)


def _convert_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_MEL + np.log(np.maximum(frequency_hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(frequency_hz < _BREAK_HZ, frequency_hz / _HZ_PER_MEL, above)


def _convert_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
