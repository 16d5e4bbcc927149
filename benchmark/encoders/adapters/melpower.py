"""The baseline ``melpower``: mean mel power over time.

It is linear in power, and the powers of sounds that have nothing to do with each other add up: y_mix - y_bg is nearly
the embedding of what was added. What it loses is everything that is not linear.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.encoders.adapters.mel import MelOptions, MelSpectrogram
from bgknown.errors import InvalidInputError

Options = MelOptions


class MelPowerEncoder(MelSpectrogram):
    """[B, F]: the mean power of each band."""

    name = "melpower"

    def __init__(self, options: MelOptions) -> None:
        super().__init__(options)
        self.rate_hz = options.rate_hz
        self.embedding_size = options.n_mels

    @torch.no_grad()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, F]."""
        return self.power(audio).mean(dim=2)

    @torch.no_grad()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """The mel power itself: [B, N] -> [B, T, F] and the frames' centres [B, T] in ms."""
        power = self.power(audio).mT
        return power, self.times_ms(power)


def load(target: str, options: MelOptions) -> MelPowerEncoder:
    """The baseline.

    Raises:
        InvalidInputError: a target is given.
    """
    if target:
        raise InvalidInputError(f"melpower takes no target but got {target!r}; write melpower")
    return MelPowerEncoder(options)
