"""Loop and scale the backgrounds of APwD, trim and fade its events, and round both to 16 bits.

Samples are float32 [N], full scale -1..1, 44.1 kHz mono, and the arithmetic is float32 wherever that of the published
preparation is, because the difference sometimes shows in 16 bits.

Source: D. Takeuchi et al., Introducing Auxiliary Text Query-modifier to Content-based Audio Retrieval, Interspeech
2022, and the published data of APwD and AudioDiffCaps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ

Style = Literal["apwd", "audiodiffcaps"]
STYLES: tuple[Style, ...] = ("apwd", "audiodiffcaps")

LOOPED_S = 20
"""A looped background is longer than this, so that 10 s of it can begin anywhere in its first half."""
PEAK = 0.95
"""Largest absolute sample of a background of style apwd."""
FADE_FRAMES = int(0.01 * RATE_HZ)
"""Length of an event's fade-in, and of its fade-out."""
SHORTEST_EVENT_FRAMES = 2 * FADE_FRAMES
"""An event must at least contain its two fades."""
_SMOOTHING_FRAMES = 512
_ACTIVE_SHARE = 0.1


def prepare_background(audio: NDArray[np.float32], *, style: Style, repeat_samples: bool = False) -> NDArray[np.int16]:
    """A recording as a background.

    Args:
        audio: [N] samples, at least one of them other than 0.
        style: apwd scales the recording to a peak of 0.95, audiodiffcaps leaves its level.
        repeat_samples: reproduce the fault of the published AudioDiffCaps preparation (see ``loop_recording``).

    Returns:
        [M] 16-bit samples, M at least N and more than 20 s.
    """
    looped = loop_recording(audio, repeat_samples=repeat_samples)
    if style == "apwd":
        looped = looped / np.abs(looped).max() * np.float32(PEAK)
    return round_to_pcm16(looped)


def loop_recording(audio: NDArray[np.float32], *, repeat_samples: bool = False) -> NDArray[np.float32]:
    """A recording that is repeated as a whole until it is longer than 20 s.

    Args:
        audio: [N] samples.
        repeat_samples: repeat each SAMPLE that many times instead. The published AudioDiffCaps preparation does so by
            mistake, and recordings shorter than 20 s play several times too slowly.

    Returns:
        [N * R] samples, R = floor(20 s / N) + 1.
    """
    times = count_loops(audio.shape[0])
    return np.repeat(audio, times) if repeat_samples else np.tile(audio, times)


def count_loops(frames: int) -> int:
    """How often a recording of this many samples is repeated."""
    return LOOPED_S * RATE_HZ // frames + 1


def prepare_event(audio: NDArray[np.float32], *, style: Style) -> NDArray[np.int16]:
    """The active part of a clip as an event.

    Args:
        audio: [N] samples, N at least 882.
        style: apwd fades the part in and out, audiodiffcaps leaves its ends as they are.

    Returns:
        [N] 16-bit samples.
    """
    return round_to_pcm16(fade_ends(audio) if style == "apwd" else audio)


def find_active_part(audio: NDArray[np.float32]) -> tuple[int, int]:
    """Where a clip is active: its smoothed magnitude exceeds a tenth of the largest.

    The magnitude is convolved with a Hann window of 512 samples; the clip is active from the first to the last sample
    at which the result, over its maximum, is above 0.1.

    Args:
        audio: [N] samples, N at least 512, at least one of them other than 0.

    Returns:
        (start, stop) of the slice to keep. As in the published code, ``stop`` is the last active sample, so that sample
        is left out.
    """
    # Summed directly: a transform's error of 1e-16 of the LARGEST value could move a crossing in a quiet part.
    smooth = np.convolve(np.abs(audio), np.hanning(_SMOOTHING_FRAMES), mode="same")
    smooth /= smooth.max()
    active = np.flatnonzero(smooth > _ACTIVE_SHARE * smooth.max())
    return int(active[0]), int(active[-1])


def fade_ends(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """A part of a clip, faded in and out over 441 samples each by the halves of one Hann window.

    Args:
        audio: [N] samples, N at least 882.
    """
    window = np.hanning(2 * FADE_FRAMES)
    faded = audio.copy()
    faded[:FADE_FRAMES] *= window[:FADE_FRAMES]  # multiplied in float64, rounded to float32 once
    faded[-FADE_FRAMES:] *= window[FADE_FRAMES:]
    return faded


def round_to_pcm16(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples rounded to 16 bits, halves to even, as the published sources are, saturating at both ends.

    The published code casts without saturating, so that +1.0 becomes -32,768.
    """
    return np.clip(np.around(audio * np.float32(2**15)), -32_768, 32_767).astype(np.int16)
