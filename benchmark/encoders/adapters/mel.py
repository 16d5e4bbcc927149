"""Mel spectrograms, from which the two baselines are made.

Shape letters: B batch, N samples, F mel bands, T frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bgknown.audio.mel import make_mel_filters
from bgknown.errors import InvalidInputError

LIBROSA = "0.11.0"
"""The release of librosa whose filters these equal. It is part of the configuration, and so of the key under which
embeddings are cached, and changes only if the filters do; which librosa is installed makes no difference."""

AT_ONCE = 1 << 18
"""Samples of audio, of all clips together, whose spectra are computed at a time on a CPU: they fit into its caches. All
spectra of a batch do not, and take a quarter more time."""


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

    concurrent = True

    def __init__(self, options: MelOptions) -> None:
        self.options = options
        filters = make_mel_filters(
            rate_hz=options.rate_hz,
            n_fft=options.n_fft,
            n_mels=options.n_mels,
            f_min=options.f_min,
            f_max=options.f_max,
            round_twice=True,
        )
        self.filters = torch.from_numpy(filters)
        self.window = torch.hann_window(options.n_fft)

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings, and what the filters equal."""
        return {**asdict(self.options), "librosa": LIBROSA}

    def to(self, device: str | torch.device) -> Self:
        """Move filters and window, in place."""
        self.filters, self.window = self.filters.to(device), self.window.to(device)
        return self

    def power(self, audio: Tensor) -> Tensor:
        """Mel power: [B, N] -> [B, F, T] with T = 1 + N // hop."""
        if audio.device.type != "cpu":
            return self._power(audio)
        size = max(AT_ONCE // max(audio.shape[1], 1), 1)
        return torch.cat([self._power(part) for part in torch.split(audio, size)])

    def _power(self, audio: Tensor) -> Tensor:
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
