"""How much of a clip a transformers feature extractor uses, and whether it pads clips: determined by trying.

Whisper's extractor, and with it Qwen2-Audio, Voxtral, Audio Flamingo and others, pads every clip to 30 s and drops what
comes after. Only frames within a clip may be pooled, and longer clips must be cut into pieces. What an
extractor does is read off its output for a short, a longer and a long clip, not off its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.errors import InvalidInputError
from bgknown.seeding import make_generator

SHORT_S, MIDDLE_S, LONG_S = 0.5, 1.0, 33.0
"""Lengths that are tried; longer ones are checked when they occur (``check_whole``)."""
MOST_S = 600
"""The longest clip that an extractor may accept."""
SHARE = 0.98
"""A clip with less than this share of the features expected for its length was cut off."""
ATTRIBUTES = ("n_samples", "nb_max_samples", "max_length")
"""Attributes with the length that extractors pad to, in samples; used only if the output agrees."""

Prepare = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Audio [N] to the features that a model gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What an extractor does to the length of a clip."""

    longest: int | None
    """The longest clip that is used whole, in samples; None if no limit is known."""
    padded: bool
    """Whether every clip is padded to that length."""
    features_per_sample: float = 0.0
    """Feature values per additional sample, if clips are not padded."""
    features_at_once: float = 0.0
    """Feature values at length 0 on the same line."""

    def check_whole(self, samples: int, features: int, who: str) -> None:
        """Check that a clip has as many features as expected for its length.

        Raises:
            InvalidInputError: the extractor dropped a part of the clip.
        """
        expected = self.features_at_once + self.features_per_sample * samples
        if not self.padded and self.longest is None and features < SHARE * expected:
            raise InvalidInputError(
                f"{who}: its preprocessor drops a part of clips of {samples:,} samples: it gives {features:,} feature "
                f"values, {expected:,.0f} are expected; embed shorter clips (--duration)"
            )


def measure_window(extractor: Any, prepare: Prepare, rate_hz: int, who: str, *, masked: bool) -> Window:
    """Find out what an extractor does to clips of several lengths.

    Args:
        extractor: the extractor, for the length that it declares.
        prepare: computes the features of one clip.
        rate_hz: its sampling rate.
        who: the model, for messages.
        masked: whether it also marks the samples or frames that are not padding.

    Raises:
        InvalidInputError: it pads in a way that does not show which frames are padding.
    """
    noise = _draw_noise(round(LONG_S * rate_hz))
    short_n, middle_n, long_n = (round(seconds * rate_hz) for seconds in (SHORT_S, MIDDLE_S, LONG_S))
    whole = prepare(noise)
    short, middle, long = prepare(noise[:short_n]).size, prepare(noise[:middle_n]).size, whole.size
    if short == middle == long:
        return Window(longest=_find_longest(extractor, prepare, noise, rate_hz, whole=whole, who=who), padded=True)
    if short == middle:
        if masked:
            return Window(longest=None, padded=False)
        raise InvalidInputError(
            f"{who}: its preprocessor pads short clips to a common length, but not long ones; "
            f"it is unknown which of its frames belong to a clip"
        )
    slope = (middle - short) / (middle_n - short_n)
    line = Window(longest=None, padded=False, features_per_sample=slope, features_at_once=short - slope * short_n)
    if long < SHARE * (line.features_at_once + slope * long_n):
        return Window(longest=_find_longest(extractor, prepare, noise, rate_hz, whole=whole, who=who), padded=False)
    return line


def _find_longest(
    extractor: Any, prepare: Prepare, noise: NDArray[np.float32], rate_hz: int, *, whole: NDArray[Any], who: str
) -> int:
    """The longest clip that is used whole: samples after it change nothing, the last samples in it do."""

    def is_cut(samples: int) -> bool:
        return np.array_equal(prepare(noise[:samples]), whole)

    for name in ATTRIBUTES:
        said = getattr(extractor, name, None)
        if isinstance(said, int) and rate_hz <= said <= MOST_S * rate_hz:
            if said >= len(noise):
                noise = _draw_noise(said + rate_hz)
                whole = prepare(noise)
            if is_cut(said) and not is_cut(said - rate_hz // 20):
                return said
    low, high = rate_hz // 10, len(noise) - 1
    if not is_cut(high) or is_cut(low):
        raise InvalidInputError(f"{who}: the length to which its preprocessor cuts or pads clips cannot be determined")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_cut(middle) else (middle, high)
    return high


def _draw_noise(samples: int) -> NDArray[np.float32]:
    """Noise [N]; its beginning does not depend on N."""
    return (0.1 * make_generator(0, "padding").standard_normal(samples)).astype(np.float32)
