"""Passes over samples as single compiled loops, where numpy takes one loop and one array for each step.

Each equals the functions of ``bgknown.audio`` that it names, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.amplitude import SILENT_PEAK, Amplitude
from bgknown.audio.files import check_finite
from bgknown.render.compiled import compile_function

_SIGN = np.int64(2**63 - 1)
_LARGEST_FINITE = np.int64(0x7FEF_FFFF_FFFF_FFFF)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pcm32:
    """Samples as SoX returns them, and what was found in them before."""

    audio: NDArray[np.float64]
    """[N] 32-bit PCM as float64."""
    amplitude: Amplitude
    """Whether the samples were silent or beyond full scale."""


def convert_to_pcm32(audio: NDArray[np.float64]) -> Pcm32:
    """``as_pcm32`` with ``check_finite`` and ``measure_amplitude``.

    Args:
        audio: [N] contiguous, at least one sample.

    Raises:
        NotFiniteError: some samples are not finite.
    """
    out = np.empty(audio.shape[0])
    peak_bits = _find_peak_bits(audio.view(np.int64))
    if peak_bits > _LARGEST_FINITE:
        check_finite(audio)
    _truncate_to_pcm32(audio, out)
    peak = float(np.int64(peak_bits).view(np.float64))
    return Pcm32(audio=out, amplitude=Amplitude(silent=peak <= SILENT_PEAK, clipped=peak > 1.0))


def find_peak(signal: NDArray[np.float64]) -> float:
    """The largest magnitude of [N] samples, which are finite and contiguous."""
    return float(np.int64(_find_peak_bits(signal.view(np.int64))).view(np.float64))


def scale_to_pcm16(signal: NDArray[np.float64], scale: float) -> NDArray[np.int16]:
    """``to_pcm16(signal * scale)`` of [N] samples, full scale -1..1."""
    out = np.empty(signal.shape[0], np.int16)
    _scale_and_round(signal, scale, out)
    return out


@compile_function
def _find_peak_bits(bits: NDArray[np.int64]) -> np.int64:
    """The largest magnitude, as the bits of a double: those of magnitudes have the order of the numbers."""
    largest = np.int64(0)
    for index in range(bits.shape[0]):
        largest = max(largest, bits[index] & _SIGN)
    return largest


@compile_function
def _truncate_to_pcm32(audio: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for index in range(audio.shape[0]):
        step = np.trunc(audio[index] * 2147483648.0)
        out[index] = min(max(step, -2147483648.0), 2147483647.0) * 2.0**-31


@compile_function
def _scale_and_round(signal: NDArray[np.float64], scale: float, out: NDArray[np.int16]) -> None:
    for index in range(signal.shape[0]):
        step = min(max(np.rint(signal[index] * scale * 2147483648.0), -2147483648.0), 2147483647.0)
        out[index] = np.int16(min(np.floor(step * 2.0**-16 + 0.5), 32767.0))
