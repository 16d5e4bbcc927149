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
_FULL_SCALE = np.int64(0x3FF0_0000_0000_0000)


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


def find_peak_pcm16(pcm: NDArray[np.int16]) -> int:
    """The largest magnitude of [N] samples, in 16-bit steps."""
    return int(_find_peak_pcm16(pcm))


def settle_samples(audio: NDArray[np.float64]) -> bool:
    """``as_pcm32`` in place, if that changes nothing that ``convert_to_pcm32`` would say of any part of [N] samples.

    Returns:
        False if some samples are not finite, are beyond full scale, or would become silent; then nothing is changed.
    """
    may = _find_peak_bits(audio.view(np.int64)) <= _FULL_SCALE and not _truncates_to_silence(audio)
    if may:
        _truncate_to_pcm32(audio, audio)
    return bool(may)


def scale_to_pcm16(
    samples: NDArray[np.float64] | NDArray[np.int16], scale: float, *, gain: float = 1.0, unit: float = 1.0
) -> NDArray[np.int16]:
    """``to_pcm16(samples * unit * gain * scale)`` of [N] samples, multiplied in that order.

    Args:
        samples: float64, or 16-bit steps.
        scale: the last factor.
        gain: the factor before it.
        unit: the factor that brings a sample to full scale -1..1.
    """
    out = np.empty(samples.shape[0], np.int16)
    _scale_and_round(samples, unit, gain, scale, out)
    return out


def round_to_16_bits(mixed: NDArray[np.float64]) -> NDArray[np.int16]:
    """16-bit PCM from Scaper's 32-bit PCM: ``bgknown.audio.files.to_pcm16`` in one pass.

    Args:
        mixed: [N] full scale -1..1.
    """
    out = np.empty(mixed.shape[0], np.int16)
    round_into_pcm16(mixed, out)
    return out


def round_to_32_bits(mixed: NDArray[np.float64]) -> NDArray[np.int32]:
    """32-bit PCM as Scaper writes it: rounded to even, saturated.

    Args:
        mixed: [N] full scale -1..1.
    """
    return np.clip(np.rint(mixed * 2.0**31), -(2.0**31), 2.0**31 - 1).astype(np.int32)


@compile_function
def _round_sample(value: float) -> np.int16:
    """16-bit PCM of the 32-bit PCM of a sample of full scale -1..1."""
    step = min(max(np.rint(value * 2147483648.0), -2147483648.0), 2147483647.0)
    return np.int16(min(np.floor(step * 2.0**-16 + 0.5), 32767.0))


@compile_function
def round_into_pcm16(mixed: NDArray[np.float64], out: NDArray[np.int16]) -> None:
    """``round_to_16_bits`` into existing memory [N]."""
    for index in range(mixed.shape[0]):
        out[index] = _round_sample(mixed[index])


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
def _find_peak_pcm16(pcm: NDArray[np.int16]) -> np.int64:
    largest, smallest = np.int16(0), np.int16(0)
    for index in range(pcm.shape[0]):
        largest = max(largest, pcm[index])
        smallest = min(smallest, pcm[index])
    return max(np.int64(largest), -np.int64(smallest))


@compile_function
def _truncates_to_silence(audio: NDArray[np.float64]) -> bool:
    """Whether a sample is above the threshold of silence, and its 32-bit PCM is not."""
    found = 0
    for index in range(audio.shape[0]):
        above = abs(audio[index]) - SILENT_PEAK  # exact near the threshold
        found += 0.0 < above < 2.0**-31
    return found > 0


@compile_function
def _scale_and_round(
    samples: NDArray[np.float64] | NDArray[np.int16], unit: float, gain: float, scale: float, out: NDArray[np.int16]
) -> None:
    for index in range(samples.shape[0]):
        out[index] = _round_sample(gain * (samples[index] * unit) * scale)
