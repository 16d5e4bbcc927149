"""Mixing of arrays."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bgknown.audio.files import RATE_HZ, check_finite
from bgknown.audio.loudness import SILENCE_LUFS, measure_lufs
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError

LOWEST_RATE_HZ = 4_000
"""The filters of the loudness need frequencies beyond 1,500 Hz."""


def mix_at_snr(
    event: ArrayLike, background: ArrayLike, snr_db: float, *, rate_hz: int = RATE_HZ, onset: int = 0
) -> NDArray[np.floating[Any]]:
    """Add an event to a background at a signal-to-noise ratio.

    The SNR is Scaper's: integrated loudness of the event over its own span less that of the background over its whole
    length, both measured as they are given. The background is not changed, so that ``mixture - background`` is the
    event at its new level, up to rounding. Nothing is faded or clipped; the mixture may exceed full scale.

    Args:
        event: [M] samples, full scale -1..1.
        background: [N] samples.
        snr_db: SNR, dB.
        rate_hz: sampling rate of both.
        onset: the sample of the background at which the event begins; it must end within the background.

    Returns:
        [N] float32 if both are float32, else float64.

    Raises:
        InvalidInputError: a signal is not a mono array of finite floating-point samples, is silent, or the event does
            not fit.

    >>> import numpy as np
    >>> time_s = np.arange(44_100) / 44_100
    >>> mixture = mix_at_snr(np.sin(6_000 * time_s), 0.1 * np.cos(3_000 * time_s), 0.0)
    >>> mixture.shape
    (44100,)
    """
    signals = {name: _read_signal(name, value) for name, value in (("event", event), ("background", background))}
    checked_event, checked_background = signals["event"], signals["background"]
    _check_number("rate_hz", rate_hz, whole=True)
    _check_number("snr_db", snr_db)
    _check_number("onset", onset, whole=True)
    end = onset + checked_event.size
    if onset < 0 or end > checked_background.size:
        raise InvalidInputError(
            f"the event covers samples {onset} to {end}; it must lie within the background's {checked_background.size}"
        )
    if rate_hz < LOWEST_RATE_HZ:
        raise InvalidInputError(f"rate_hz is {rate_hz}; it must be at least {LOWEST_RATE_HZ} to measure loudness")
    lufs = {name: measure_lufs(signal, rate_hz) for name, signal in signals.items()}
    for name, loudness in lufs.items():
        if loudness <= SILENCE_LUFS:
            raise InvalidInputError(f"{name} is silent ({SILENCE_LUFS:g} LUFS or less), so it has no SNR")
    gain = 10.0 ** ((snr_db + lufs["background"] - lufs["event"]) / 20.0)
    mixture = checked_background.astype(np.result_type(checked_event, checked_background))
    mixture[onset:end] += (gain * checked_event).astype(mixture.dtype)
    return mixture


def _check_number(name: str, value: Any, *, whole: bool = False) -> None:
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise InvalidInputError(
            f"{name} is {shorten_value(value)}; it must be a {'whole' if whole else 'finite'} number"
        )


def _read_signal(name: str, value: ArrayLike) -> NDArray[np.floating[Any]]:
    """A signal as an array [N] of float32 or float64."""
    try:
        audio = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{name} cannot be read as an array ({error}); give mono samples [N]") from error
    if audio.dtype not in (np.float32, np.float64) or audio.ndim != 1 or audio.size == 0:
        raise InvalidInputError(
            f"{name} is {audio.dtype} of shape {list(audio.shape)}; it must be float32 or float64 [N], full scale -1..1"
        )
    check_finite(audio)
    return audio
