"""Encoders made for the tests: small, exact, and of known faults."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.encoders.contract import LoadedEncoder


class Bands:
    """Energy in 24 bands of the spectrum: linear in power, so differences are nearly exact."""

    name = "bands"
    rate_hz = 16_000
    embedding_size = 24

    def __init__(self):
        self.seen = 0

    def embed(self, audio):
        self.seen += len(audio)
        power = torch.fft.rfft(audio).abs().square()
        return torch.stack([part.mean(dim=1) for part in power.tensor_split(self.embedding_size, dim=1)], dim=1)


class Fitted(Bands):
    """Bands over their mean in the training audio."""

    name = "fitted"

    def __init__(self):
        super().__init__()
        self.level = None

    def fit(self, batches):
        sums = [Bands().embed(batch).sum(dim=0) for batch in batches]
        self.level = torch.stack(sums).sum(dim=0)

    def embed(self, audio):
        return super().embed(audio) / self.level


def loaded(encoder=None, weights_sha256="0" * 64, **configuration):
    encoder = encoder or Bands()
    return LoadedEncoder(
        encoder=encoder, spec=encoder.name, kind="test", weights_sha256=weights_sha256, configuration=configuration
    )


def noise(clips: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
