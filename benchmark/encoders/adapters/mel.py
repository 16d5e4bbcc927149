"""Mel spectrograms, of which the two baselines are made.

Shape letters: B batch, N samples, F mel bands, T frames.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Self

import librosa
import torch
from torch import Tensor

from bgknown.errors import InvalidInputError
from bgknown.jobs.surroundings import prepare_libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class MelOptions:
    """The spectrogram; the defaults are the front end of the paper."""

    rate_hz: int = 16_000
    """Sampling rate."""
    n_fft: int = 400
    """Length of window (Hann) and transform, samples."""
    hop: int = 160
    """Samples between frames."""
    n_mels: int = 64
    """Mel bands, F (Slaney's filters, as librosa has them)."""
    f_min: float = 50.0
    """Lower edge of the lowest band, Hz."""
    f_max: float = 8_000.0
    """Upper edge of the highest band, Hz."""

    def __post_init__(self) -> None:
        for name in ("rate_hz", "n_fft", "hop", "n_mels"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"option {name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.f_min < self.f_max <= self.rate_hz / 2:
            raise InvalidInputError(
                f"options f_min {self.f_min:g} and f_max {self.f_max:g}; "
                f"they must be in 0..{self.rate_hz / 2:g} Hz, the lower first"
            )


class MelSpectrogram:
    """Mel power of centred frames, the audio padded with zeros at both ends."""

    def __init__(self, options: MelOptions) -> None:
        self.options = options
        prepare_libraries()  # librosa imports numba when it is first used
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Empty filters detected", category=UserWarning)  # refused below
            filters = librosa.filters.mel(
                sr=options.rate_hz, n_fft=options.n_fft, n_mels=options.n_mels, fmin=options.f_min, fmax=options.f_max
            )
        empty = int((filters.max(axis=1) == 0).sum())
        if empty:
            raise InvalidInputError(
                f"options n_mels {options.n_mels} and n_fft {options.n_fft}: {empty} of the bands hold no frequency "
                f"of the transform; take fewer bands or a longer n_fft"
            )
        self.filters = torch.from_numpy(filters)
        self.window = torch.hann_window(options.n_fft)

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings, and the library that makes the filters."""
        return {**asdict(self.options), "librosa": version("librosa")}

    def to(self, device: str | torch.device) -> Self:
        """Move filters and window, in place."""
        self.filters, self.window = self.filters.to(device), self.window.to(device)
        return self

    def power(self, audio: Tensor) -> Tensor:
        """Mel power: [B, N] -> [B, F, T] with T = 1 + N // hop."""
        spectrum = torch.stft(
            audio.float(),
            self.options.n_fft,
            hop_length=self.options.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return self.filters @ (spectrum.real.square() + spectrum.imag.square())

    def times_ms(self, frames: Tensor) -> Tensor:
        """Centres of the frames of [B, T, ...], [B, T] ms."""
        step_ms = 1_000.0 * self.options.hop / self.options.rate_hz
        return (torch.arange(frames.shape[1], device=frames.device) * step_ms).expand(frames.shape[:2])
