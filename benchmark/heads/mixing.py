"""The signals of a drawn mixture: mixture, reference background and clean foreground, as an encoder takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.drawing import MixtureDraw, MixturePlan
from bgknown.audio.files import LARGEST_PCM16, RATE_HZ, resample, to_pcm16
from bgknown.audio.loudness import SILENCE_LUFS, measure_lufs
from bgknown.audio.sources import SourceStore
from bgknown.errors import BgknownError, InvalidInputError
from bgknown.mixtures.snr import FADE_FRAMES

LOWEST_LUFS = -60.0
"""Least loudness of a background in its recording; a quieter one is drawn again."""
ATTEMPTS_OF_MIXTURE = 64
"""How often a mixture is drawn before the recordings count as too quiet."""


def mix_signals(
    draw: MixtureDraw, number: int, rate_hz: int, store: SourceStore, *, skip_broken: bool = False
) -> NDArray[np.float32]:
    """Mix a mixture; where its foreground is silent or its background too quiet, another one in its place.

    Args:
        draw: draws mixtures.
        number: which.
        rate_hz: the rate to return.
        store: opens recordings.
        skip_broken: whether to draw another one where a recording cannot be decoded.

    Returns:
        [3, N] float32: mixture, reference background, and the foreground as it is in the mixture.

    Raises:
        InvalidInputError: a recording cannot be decoded, or nothing loud enough was drawn.
    """
    plan, parts = _find_parts(draw, number, store, skip_broken=skip_broken)
    signals = _mix(plan, parts, draw.rules.clip_frames)
    return np.stack([resample(signal, RATE_HZ, rate_hz) for signal in signals])


def find_plan(draw: MixtureDraw, number: int, store: SourceStore, *, skip_broken: bool = False) -> MixturePlan:
    """The plan that ``mix_signals`` mixes, which may be a later attempt than the first.

    Raises:
        InvalidInputError: as for ``mix_signals``.
    """
    return _find_parts(draw, number, store, skip_broken=skip_broken)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parts:
    """Foreground, background and reference of a mixture as they are in their recordings, at 44.1 kHz."""

    event: NDArray[np.float64]
    event_lufs: float
    background: NDArray[np.float64]
    background_lufs: float
    reference: NDArray[np.float64]


def _find_parts(draw: MixtureDraw, number: int, store: SourceStore, *, skip_broken: bool) -> tuple[MixturePlan, _Parts]:
    """The first attempt of a mixture that is loud enough."""
    frames = draw.rules.clip_frames
    for attempt in range(ATTEMPTS_OF_MIXTURE):
        plan = draw.plan_mixture(number, attempt)
        try:
            event = _read(plan.foreground.path, plan.foreground_start, plan.foreground_frames, store)
            background = _read(plan.background.path, plan.a_start, frames, store)
            reference = background
            if plan.reference_start != plan.a_start:
                reference = _read(plan.background.path, plan.reference_start, frames, store)
        except BgknownError as error:
            if skip_broken:
                continue
            raise InvalidInputError(f"{error}; repair the file, or leave it out with --skip-broken") from error
        event_lufs, background_lufs = measure_lufs(event, RATE_HZ), measure_lufs(background, RATE_HZ)
        if event_lufs > SILENCE_LUFS and background_lufs >= LOWEST_LUFS:
            levels = {"event_lufs": event_lufs, "background_lufs": background_lufs}
            return plan, _Parts(event=event, background=background, reference=reference, **levels)
    raise InvalidInputError(
        f"mixture {number}: {ATTEMPTS_OF_MIXTURE} draws had a silent foreground, or a background below "
        f"{LOWEST_LUFS:g} LUFS; add louder recordings with --audio"
    )


def _mix(plan: MixturePlan, parts: _Parts, frames: int) -> NDArray[np.float32]:
    """Mixture, reference and foreground at 44.1 kHz."""
    event = parts.event
    gain = 10.0 ** ((plan.level_lufs - parts.background_lufs) / 20.0)
    event *= 10.0 ** ((plan.level_lufs + plan.snr_db - parts.event_lufs) / 20.0)
    slope = np.sin(np.linspace(0.0, np.pi / 2.0, FADE_FRAMES))
    event[:FADE_FRAMES] *= slope
    event[-FADE_FRAMES:] *= slope[::-1]
    clean = np.zeros(frames)
    clean[plan.onset : plan.onset + plan.foreground_frames] = event
    signals = (parts.background * gain + clean, parts.reference * gain, clean)
    scale = min(1.0, LARGEST_PCM16 / max(float(np.abs(signal).max()) for signal in signals))
    return np.stack([to_pcm16(signal * scale) * np.float32(2.0**-15) for signal in signals]).astype(np.float32)


def _read(path: Path, start: int, frames: int, store: SourceStore) -> NDArray[np.float64]:
    try:
        source = store.open(path)
        return source.read(start, start + frames)[0].copy()
    except BgknownError as error:
        raise InvalidInputError(f"{path}: {error}") from error
