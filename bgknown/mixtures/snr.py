"""The signal-to-noise ratio of a mixture on disk, as Scaper defines it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.render.weighted_pair import measure_both_lufs

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


def measure_snr_db(
    mixture: NDArray[np.int16], reference_a: NDArray[np.int16], event_frames: int, gains: Gains
) -> float:
    """Measure the SNR of a mixture from its file and that of reference a.

    The event is the mixture minus the background. If reference a carries the background's gain, it is rounded like the
    mixture wherever the event is silent, and the figure is exact to 0.001 dB. If it carries none, its rounding is
    amplified into the event: samples that rounding alone could have made then count as zero, and the figure is exact to
    ``SOURCE_GAIN_TOLERANCE_DB`` only, because the event's quietest parts decide where the loudness is gated.

    Args:
        mixture: [N] as stored.
        reference_a: [N] as stored.
        event_frames: the event's span from the start of the mixture.
        gains: the gains of its parts.
    """
    step = 1.0 / (32_768.0 * gains.scale)
    background_gain = 10.0 ** (gains.background_gain_db / 20.0) if gains.reference_gain == "source" else 1.0
    background = reference_a * (step * background_gain)
    event = (mixture * step - background)[:event_frames]
    if gains.reference_gain == "source":
        rounding = 0.5 * step * (1.0 + background_gain)
        event = np.where(np.abs(event) <= 1.001 * rounding, 0.0, event)
    return measure_layers_snr_db(event, background, gains.event_gain_db, gains.background_gain_db)


def measure_layers_snr_db(
    event: NDArray[np.floating], background: NDArray[np.floating], event_gain_db: float, background_gain_db: float
) -> float:
    """The SNR of a mixture as Scaper defines it.

    Scaper sets the SNR as a difference of integrated loudnesses: the event's over its own span, before its fades, and
    the background's over the whole mixture, each measured at the level of its source. The loudness is gated, so it
    follows neither a gain nor a fade exactly: in ESC-10 alone, gains move it by up to 0.6 dB and fades by up to 0.2 dB
    where a block lies next to a gate. Hence both are undone before measuring, and the gains are added afterwards.

    Args:
        event: [M] the event as it is in the mixture, over its span, M at least 882.
        background: [N] the background as it is in the mixture.
        event_gain_db: gain of the event against its source.
        background_gain_db: gain of the background against its source.
    """
    at_source = _undo_fades(event) * 10.0 ** (-event_gain_db / 20.0)
    event_lufs, background_lufs = measure_both_lufs(at_source, background * 10.0 ** (-background_gain_db / 20.0))
    return (event_lufs + event_gain_db) - (background_lufs + background_gain_db)


def _undo_fades(event: NDArray[np.floating]) -> NDArray[np.floating]:
    """Divide the sine slopes out; the two end samples, which are 0, get the values of their neighbours."""
    slope = np.sin(np.linspace(0.0, np.pi / 2.0, FADE_FRAMES))[1:]
    restored = event.copy()
    restored[1:FADE_FRAMES] /= slope
    restored[-FADE_FRAMES:-1] /= slope[::-1]
    restored[0], restored[-1] = restored[1], restored[-2]
    return restored
