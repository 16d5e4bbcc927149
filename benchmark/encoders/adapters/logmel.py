"""The baseline ``logmel``: mean and standard deviation of the log-mel spectrogram over time."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.encoders.adapters.mel import MelOptions, MelSpectrogram
from bgknown.errors import InvalidInputError

Options = MelOptions
FLOOR = 1e-7
"""Added to the mel power before the natural logarithm."""


class LogMelEncoder(MelSpectrogram):
    """[B, 2 F]: the means, then the standard deviations (of the population)."""

    name = "logmel"

    def __init__(self, options: MelOptions) -> None:
        super().__init__(options)
        self.rate_hz = options.rate_hz
        self.embedding_size = 2 * options.n_mels

    @torch.no_grad()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, 2 F]."""
        log_mel = self._log_mel(audio)
        return torch.cat([log_mel.mean(dim=2), log_mel.std(dim=2, correction=0)], dim=1)

    @torch.no_grad()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """The log-mel itself: [B, N] -> [B, T, F] and the frames' centres [B, T] in ms."""
        log_mel = self._log_mel(audio).mT
        return log_mel, self.times_ms(log_mel)

    def _log_mel(self, audio: Tensor) -> Tensor:
        return torch.log(self.power(audio) + FLOOR)


def load(target: str, options: MelOptions) -> LogMelEncoder:
    """The baseline.

    Raises:
        InvalidInputError: a target is given.
    """
    if target:
        raise InvalidInputError(f"logmel takes no target but got {target!r}; write logmel, or logmel?n_mels=128")
    return LogMelEncoder(options)
