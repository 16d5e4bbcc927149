"""The signal-to-noise ratio of a mixture on disk, as Scaper defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.render.compiled import compile_function
from bgknown.render.weighted_lanes import measure_each_lufs

ReferenceGain = Literal["mixture", "source"]

TOLERANCE_DB = 0.05
"""How far a measured SNR may be from the recipe's."""
SOURCE_GAIN_TOLERANCE_DB = 1.0
"""The same if the references carry no gain."""

FADE_S = 0.01
FADE_FRAMES = int(FADE_S * RATE_HZ)
SHORTEST_EVENT_FRAMES = 2 * FADE_FRAMES
"""A clip must at least contain its fade-in and its fade-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """The gains of the parts of a mixture."""

    scale: float
    """The factor, at most 1, that the mixture and all references carry so that none clips."""
    event_gain_db: float
    """Gain of the clip in the mixture, before the scale."""
    background_gain_db: float
    """Gain of crop (a) in the mixture, before the scale."""
    reference_gain: ReferenceGain
    """Whether the written reference a carries the background's gain ("mixture") or none ("source")."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredMixture:
    """A mixture as its file has it, and its background."""

    mixture: NDArray[np.int16]
    """[N] as stored."""
    reference_a: NDArray[np.int16]
    """[N] as stored."""
    event_frames: int
    """The event's span from the start of the mixture."""
    gains: Gains
    """The gains of its parts."""


def measure_snrs_db(stored: Sequence[StoredMixture]) -> list[float]:
    """Measure the SNR of mixtures from their files and those of their references a.

    The event is the mixture minus the background. If reference a carries the background's gain, it is rounded like the
    mixture wherever the event is silent, and the figure is exact to 0.001 dB. If it carries none, its rounding is
    amplified into the event: samples that rounding alone could have made then count as zero, and the figure is exact to
    ``SOURCE_GAIN_TOLERANCE_DB`` only, because the event's quietest parts decide where the loudness is gated.

    Scaper sets the SNR as a difference of integrated loudnesses: the event's over its own span, before its fades, and
    the background's over the whole mixture, each measured at the level of its source. The loudness is gated, so it
    follows neither a gain nor a fade exactly: in ESC-10 alone, gains move it by up to 0.6 dB and fades by up to 0.2 dB
    where a block lies next to a gate. Hence both are undone before measuring, and the gains are added afterwards.

    Args:
        stored: the mixtures; measuring several together takes less time.
    """
    layers = [layer for one in stored for layer in _separate_layers(one)]
    lufs = measure_each_lufs(layers)
    return [
        (event_lufs + one.gains.event_gain_db) - (background_lufs + one.gains.background_gain_db)
        for one, event_lufs, background_lufs in zip(stored, lufs[::2], lufs[1::2], strict=True)
    ]


def _separate_layers(stored: StoredMixture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gains = stored.gains
    step = 1.0 / (32_768.0 * gains.scale)
    with_gain = gains.reference_gain == "mixture"
    background_gain = 1.0 if with_gain else 10.0 ** (gains.background_gain_db / 20.0)
    return _separate(
        stored.mixture,
        stored.reference_a,
        (step, step * background_gain, -1.0 if with_gain else 1.001 * (0.5 * step * (1.0 + background_gain))),
        (10.0 ** (-gains.event_gain_db / 20.0), 10.0 ** (-gains.background_gain_db / 20.0)),
        stored.event_frames,
    )


_SLOPE = np.sin(np.linspace(0.0, np.pi / 2.0, FADE_FRAMES))[1:]


@compile_function
def _separate(
    mixture: NDArray[np.int16],
    reference: NDArray[np.int16],
    steps: tuple[float, float, float],
    to_source: tuple[float, float],
    event_frames: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The event over its span without its fades, and the background, both at the level of their sources.

    Args:
        mixture: [N].
        reference: [N].
        steps: one step of the mixture, one of the reference, and what rounding could have made of the event at most.
        to_source: the factors that undo the gains of the event and of the background.
        event_frames: the event's span.
    """
    background = np.empty(reference.shape[0])
    event = np.empty(event_frames)
    for index in range(event_frames):
        background[index] = reference[index] * steps[1]
        heard = mixture[index] * steps[0] - background[index]
        event[index] = 0.0 if abs(heard) <= steps[2] else heard
    for index in range(event_frames, reference.shape[0]):
        background[index] = reference[index] * steps[1]
    for index in range(_SLOPE.shape[0]):  # the sine slopes of the fades are divided out
        event[1 + index] /= _SLOPE[index]
        event[event_frames - 2 - index] /= _SLOPE[index]
    event[0], event[-1] = event[1], event[-2]  # they are 0
    for index in range(event_frames):
        event[index] *= to_source[0]
    for index in range(reference.shape[0]):
        background[index] *= to_source[1]
    return event, background
