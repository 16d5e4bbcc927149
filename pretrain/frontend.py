"""The front end: from audio to log-mel spectrograms, and the statistics that normalise them.

Shape letters: B batch, N samples, F mel bands, T frames. Audio is mono float32, full scale -1..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bgknown.audio.mel import make_mel_filters
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError

_LARGEST = {"rate_hz": 768_000, "n_fft": 1 << 20, "window": 1 << 20, "hop": 1 << 20, "n_mels": 4_096}
"""Far beyond any practical value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """How audio becomes a log-mel spectrogram; the defaults are the paper's (section 4: 25 ms windows every 10 ms)."""

    rate_hz: int = 16_000
    """Sampling rate of the audio."""
    n_fft: int = 400
    """Length of the Fourier transform in samples."""
    window: int = 400
    """Length of the Hann window in samples; one shorter than the transform is centred in it."""
    hop: int = 160
    """Samples from one frame's centre to the next."""
    n_mels: int = 64
    """Number of mel bands, F."""
    f_min: float = 50.0
    """Lower edge of the lowest band in Hz."""
    f_max: float = 8_000.0
    """Upper edge of the highest band in Hz."""
    eps: float = float(np.finfo(np.float32).eps)
    """Added to the mel power before the logarithm; float32's spacing at 1, as in BYOL-A's published code."""

    def __post_init__(self) -> None:
        for field in ("rate_hz", "n_fft", "window", "hop", "n_mels"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInputError(
                    f"front end: {field} is {shorten_value(value)}; it must be a whole number of at least 1"
                )
            if value > _LARGEST[field]:  # a file with such values would fill the memory
                raise InvalidInputError(f"front end: {field} is {value}; it must be at most {_LARGEST[field]:,}")
        for field in ("f_min", "f_max", "eps"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -1e18 < value < 1e18:
                raise InvalidInputError(f"front end: {field} is {shorten_value(value)}; it must be a number")
            object.__setattr__(self, field, float(value))
        if self.window > self.n_fft:
            raise InvalidInputError(f"front end: window is {self.window}; it must not exceed n_fft, {self.n_fft}")
        if not 0 <= self.f_min < self.f_max <= self.rate_hz / 2:
            raise InvalidInputError(
                f"front end: bands from {self.f_min:g} to {self.f_max:g} Hz; "
                f"they must be within 0..{self.rate_hz / 2:g} Hz, the lower edge first"
            )
        if self.eps <= 0:
            raise InvalidInputError(
                f"front end: eps is {self.eps:g}; it must be above 0: otherwise log(0) is undefined for silence"
            )

    @property
    def shortest(self) -> int:
        """Smallest number of samples whose edges can be mirrored; shorter audio is padded with zeros at its end."""
        return self.n_fft // 2 + 1


PUBLISHED = FrontEnd(n_fft=1_024, window=1_024, f_min=60.0, f_max=7_800.0)
"""The front end that BYOL-A's published weights were trained with (nttcslab/byol-a: config.yaml, config_v2.yaml)."""


class LogMelSpectrogram(nn.Module):
    """Log-mel spectrograms: the natural logarithm of mel power plus eps, of centred frames.

    It follows what the published BYOL-A weights were trained on: librosa up to 0.9 for the networks of 2020, nnAudio
    for that of 2022. Both use a periodic Hann window, audio mirrored at its ends ("reflect", not librosa's present
    zeros), the power spectrogram, and mel filters of Slaney's scale and normalisation; torchaudio's default filters
    differ. It has no parameters and an empty state dict.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, settings: FrontEnd) -> None:
        """Create the window and the filters.

        Args:
            settings: the front end.

        Raises:
            InvalidInputError: a mel band is so narrow that no bin of the transform lies in it.
        """
        super().__init__()
        self.settings = settings
        filters = make_mel_filters(
            rate_hz=settings.rate_hz,
            n_fft=settings.n_fft,
            n_mels=settings.n_mels,
            f_min=settings.f_min,
            f_max=settings.f_max,
        )
        window = torch.hann_window(settings.window, periodic=True, dtype=torch.float64).float()
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn audio into log-mel spectrograms, in float32 even under autocast.

        Args:
            audio: [B, N] floating point, N at least 1. Audio shorter than ``settings.shortest`` is padded with zeros.

        Returns:
            [B, 1, F, T] float32 with T = 1 + N // hop; frame t is centred on sample t * hop.

        Raises:
            InvalidInputError: the audio has another shape or type, or no samples.
        """
        check_audio(audio)
        front_end = self.settings
        with torch.autocast(device_type=audio.device.type, enabled=False):
            samples = nn.functional.pad(audio.float(), (0, max(0, front_end.shortest - audio.shape[1])))
            spectrum = torch.stft(
                samples,
                front_end.n_fft,
                hop_length=front_end.hop,
                win_length=front_end.window,
                window=self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            return torch.log(torch.matmul(self.filters, power) + front_end.eps).unsqueeze(1)


def check_audio(audio: Tensor) -> None:
    """Refuse what is not a batch of clips.

    Raises:
        InvalidInputError: the shape is not [B, N] with N at least 1, or the type is not floating point.
    """
    if audio.dim() != 2 or not audio.is_floating_point():
        raise InvalidInputError(
            f"audio: {audio.dtype} of shape {list(audio.shape)}; it must be float32 [clips, samples]"
        )
    if audio.shape[1] == 0:
        raise InvalidInputError("audio: 0 samples; a spectrogram needs at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Mean and standard deviation of log-mel values; a spectrogram is normalised as (x - mean) / std."""

    mean: float
    """Mean over all clips, bands and frames."""
    std: float
    """Population standard deviation over the same values."""

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -1e18 < value < 1e18:
                raise InvalidInputError(
                    f"log-mel statistics: {field} is {shorten_value(value)}; it must be a finite number"
                )
            object.__setattr__(self, field, float(value))
        if self.std <= 0:
            raise InvalidInputError(f"log-mel statistics: std is {self.std:g}; it must be above 0")

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Subtract the mean from spectrograms of any shape and divide by the standard deviation."""
        return (log_mel - self.mean) / self.std


def measure(log_mels: Iterable[Tensor]) -> Statistics:
    """Measure mean and standard deviation of spectrograms; order and grouping do not matter, except for rounding.

    Sums are float64 and nothing else is kept, so memory does not grow with the number of clips.

    Args:
        log_mels: spectrograms of any shape, for example [B, 1, F, T].

    Raises:
        InvalidInputError: there are none, they hold NaN or infinite values, or all values are equal.
    """
    count, total, squares = 0, 0.0, 0.0
    lowest, highest = math.inf, -math.inf
    for log_mel in log_mels:
        if log_mel.numel() == 0:
            continue
        values = log_mel.detach().double()
        count += values.numel()
        total += values.sum().item()
        squares += values.square().sum().item()
        # extremes detect equal values exactly; from two sums, rounding errors would pass for a standard deviation
        lowest, highest = min(lowest, values.min().item()), max(highest, values.max().item())
    if count == 0:
        raise InvalidInputError(
            "log-mel statistics: no audio was given; at least one batch of training clips is required"
        )
    if not math.isfinite(total):
        raise InvalidInputError("log-mel statistics: the audio holds NaN or infinite samples; remove those clips")
    if lowest == highest:
        raise InvalidInputError(
            f"log-mel statistics: all {count:,} values are {lowest:.4g}, so their standard deviation is 0; "
            f"the audio is silent throughout: training clips with sound are required"
        )
    mean = total / count
    return Statistics(mean=mean, std=math.sqrt(max(0.0, squares / count - mean * mean)))
