"""Silence and clipping: audio that can be read but is probably not what it should be.

A recording beyond full scale (float WAV, MP3, Ogg) is cut off there as soon as it becomes integers, which distorts it.
A stereo recording whose channels cancel out is silent as soon as they are averaged. Neither is an error; both are
counted, and the first is named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SILENT_PEAK = 2.0**-15
"""Audio is silent if no sample exceeds this, one step of 16 bits; channels that cancel out may leave as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplitude:
    """Whether some audio is silent or clipped."""

    silent: bool = False
    """Whether it is silent; see ``SILENT_PEAK``."""
    clipped: bool = False
    """Whether samples are beyond full scale."""


def measure_amplitude(audio: NDArray[np.floating[Any]]) -> Amplitude:
    """Look for silence and for samples beyond full scale in [N] finite samples."""
    if not audio.size:
        return Amplitude(silent=True)
    return _judge_peak(max(float(audio.max()), -float(audio.min())))


def measure_amplitudes(audio: NDArray[np.floating[Any]]) -> list[Amplitude]:
    """``measure_amplitude`` of each of [B, N] signals, N at least 1."""
    return [_judge_peak(peak) for peak in np.maximum(audio.max(axis=1), -audio.min(axis=1)).tolist()]


def _judge_peak(peak: float) -> Amplitude:
    return Amplitude(silent=peak <= SILENT_PEAK, clipped=peak > 1.0)


def describe_amplitudes(found: Mapping[str, Amplitude], *, what: str, cut_off: bool) -> list[str]:
    """One sentence each on silence and clipping, if there is any: how many, and the first by name.

    Args:
        found: by name.
        what: what is counted, in the plural.
        cut_off: whether samples beyond full scale were cut off there.
    """
    return describe_counts(
        silent=[name for name, amplitude in found.items() if amplitude.silent],
        clipped=[name for name, amplitude in found.items() if amplitude.clipped],
        what=what,
        cut_off=cut_off,
    )


def describe_counts(*, silent: Collection[str], clipped: Collection[str], what: str, cut_off: bool) -> list[str]:
    """``describe_amplitudes`` for names of silent and of clipped audio."""
    beyond = "beyond full scale and cut off there" if cut_off else "beyond full scale"
    kinds: Sequence[tuple[Collection[str], str]] = (
        (silent, "silent (their mono audio stays within one step of 16 bits)"),
        (clipped, beyond),
    )
    return [f"{what} that are {how}: {len(set(names)):,} (the first: {min(names)})" for names, how in kinds if names]
