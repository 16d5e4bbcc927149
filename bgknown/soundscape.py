"""The record of one soundscape: its layers, their sources, times and loudness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgknown.audio.files import RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A background or an event of a soundscape. Times are the seconds that Scaper is given."""

    label: str
    """Scaper's label; also the name of the folder in which Scaper finds the file."""
    file: str
    """The source, relative to its corpus."""
    source_time_s: float
    """Where the slice begins in the source."""
    duration_s: float
    """How long the slice is."""
    event_time_s: float = 0.0
    """Where the layer begins in the soundscape."""
    snr_db: float = 0.0
    """Loudness above ref_db; Scaper ignores it for backgrounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundscape:
    """A soundscape to be rendered, by any renderer."""

    name: str
    """Name of the soundscape."""
    duration_s: float
    """Its length."""
    ref_db: float
    """Loudness of each background, LUFS."""
    backgrounds: tuple[Layer, ...]
    """Backgrounds, in the order in which they are summed."""
    events: tuple[Layer, ...]
    """Foreground events, in the order in which they are summed, after the backgrounds."""
    fade_in_s: float = 0.01
    """Fade-in of each event."""
    fade_out_s: float = 0.01
    """Fade-out of each event."""
    fix_clipping: bool = False
    """Whether a soundscape beyond full scale is scaled to a peak of 1."""
    peak_normalization: bool = False
    """Whether every soundscape is scaled to a peak of 1."""


def find_exact_duration(frames: int) -> float:
    """Seconds from which Scaper computes exactly this number of samples: ``int(seconds * rate)``."""
    return next(
        seconds for seconds in _list_nudges(frames / RATE_HZ, frames / RATE_HZ) if int(seconds * RATE_HZ) == frames
    )


def find_exact_seconds(start: int, frames: int, duration_s: float | None = None) -> tuple[float, float]:
    """Seconds (time, duration) from which Scaper computes exactly this slice.

    Scaper takes ``int(time * rate)`` to ``int((time + duration) * rate)``, and ``int(k / 44100 * 44100)`` misses k in
    7.5 % of all k; so the quotients are nudged upwards, by units in the last place, until both bounds are exact.

    Args:
        start: first sample at 44.1 kHz.
        frames: number of samples.
        duration_s: the duration, where that is fixed: Scaper gives backgrounds that of the soundscape.
    """
    for seconds in _list_nudges(frames / RATE_HZ, frames / RATE_HZ) if duration_s is None else [duration_s]:
        for time_s in _list_nudges(start / RATE_HZ, start / RATE_HZ + seconds):
            if int(time_s * RATE_HZ) == start and int((time_s + seconds) * RATE_HZ) == start + frames:
                return time_s, seconds
    raise AssertionError(f"no seconds for samples {start} to {start + frames}")  # a defect: one step is always enough


def _list_nudges(seconds: float, scale: float) -> list[float]:
    step = float(np.spacing(scale))
    return [seconds, float(np.nextafter(seconds, np.inf)), *(seconds + k * step for k in (1, 2, 3, 4))]
