"""The input of a renderer besides the soundscape, and its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Engine = Literal["scaper", "direct"]
"""Scaper itself, or the renderer that gives the same samples."""
Container = Literal["wav", "flac"]
"""File types of rendered audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A rendered soundscape before rounding."""

    mixture: NDArray[np.float64]
    """[N] the sum of the layers; may exceed full scale."""
    layers: list[NDArray[np.float64]]
    """[N] each: backgrounds, then events, as they are in the mixture."""
    jams: dict[str, Any]
    """The JAMS of the soundscape as a tree; sources are named relative to their corpora."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """The samples of a layer, and their place in its source."""

    start: int
    """First sample in the source."""
    audio: NDArray[np.float64] | NDArray[np.int16]
    """[N] as ``Source.read`` returns them, or 16-bit steps."""
    source_frames: int
    """Length of the source."""
    lufs: float | None = None
    """Its loudness by ``bgknown.render.weighted``; None if it has not been measured."""


def convert_to_float(samples: NDArray[np.float64] | NDArray[np.int16]) -> NDArray[np.float64]:
    """[N] samples as float64 of full scale -1..1."""
    return samples.astype(np.float64) * 2.0**-15 if samples.dtype == np.int16 else np.asarray(samples, np.float64)
