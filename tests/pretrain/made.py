"""Audio and checkpoints made for the tests of pretrain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pretrain.config import Config, read_config

RATE_HZ = 16_000


def noise(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Noise of another loudness and colour in each clip, [B, N] float32."""
    rng = np.random.default_rng(seed)
    audio = rng.standard_normal((clips, samples)) * rng.uniform(0.01, 0.3, (clips, 1))
    audio += 0.2 * np.sin(2 * np.pi * rng.uniform(100, 6_000, (clips, 1)) * np.arange(samples) / RATE_HZ)
    return torch.from_numpy(audio.astype(np.float32))


def published_2022(seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of the published AudioNTT2022."""
    return _state(seed, blocks=2, linear=((2_048, 1_024), (2_048, 2_048)))


def published_2020(d: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of the published AudioNTT2020 of size d."""
    return _state(seed, blocks=3, linear=((d, 512), (d, d)))


def _state(seed, blocks, linear):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape, scale):
        return scale * torch.randn(*shape, generator=generator)

    state = {}
    for block in range(blocks):
        inputs = 64 if block else 1
        conv, norm = f"features.{4 * block}", f"features.{4 * block + 1}"
        state[f"{conv}.weight"] = drawn(64, inputs, 3, 3, scale=(9 * inputs) ** -0.5)
        state[f"{conv}.bias"] = drawn(64, scale=0.1)
        state[f"{norm}.weight"] = 1 + drawn(64, scale=0.2)
        state[f"{norm}.bias"] = drawn(64, scale=0.2)
        state[f"{norm}.running_mean"] = drawn(64, scale=0.3)
        state[f"{norm}.running_var"] = 0.5 + drawn(64, scale=0.5).square()
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    for name, (outputs, inputs) in zip(("fc.0", "fc.3"), linear, strict=True):
        state[f"{name}.weight"] = drawn(outputs, inputs, scale=inputs**-0.5)
        state[f"{name}.bias"] = drawn(outputs, scale=0.1)
    return state


def make_corpus(folder: Path, lengths: Sequence[int] = (9_000, 20_000, 3_000, 16_000, 30_000), seed: int = 0) -> Path:
    """A packed corpus of noise, written without any audio library."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    clips = [
        (3_000 * rng.uniform(0.1, 1) * np.convolve(rng.standard_normal(length), np.ones(5) / 5, "same")).astype("<i2")
        for length in lengths
    ]
    (folder / "audio.i16").write_bytes(b"".join(clip.tobytes() for clip in clips))
    starts = np.cumsum([0, *lengths[:-1]])
    table = pd.DataFrame(
        {"file": [f"{number}.wav" for number in range(len(lengths))], "start": starts, "length": lengths, "sha256": "0"}
    )
    index = table.to_csv(index=False).encode()
    (folder / "index.csv").write_bytes(index)
    description = {
        "format": "bgknown-corpus-1",
        "rate_hz": RATE_HZ,
        "configuration": {"folders": ["made"], "sample": 0},
        "counts": {"clips": len(lengths), "hours": round(sum(lengths) / RATE_HZ / 3_600, 4)},
        "index_sha256": hashlib.sha256(index).hexdigest(),
    }
    (folder / "corpus.json").write_text(json.dumps(description))
    return folder


def name_files(corpus: Path, names: Sequence[str]) -> None:
    """Give the clips of a corpus other names, and the hashes 1, 2, 3, ... in their first 64 bits."""
    table = pd.read_csv(corpus / "index.csv")
    hashes = [f"{number:016x}{'0' * 48}" for number in range(1, len(names) + 1)]
    index = table.assign(file=names, sha256=hashes).to_csv(index=False).encode()
    (corpus / "index.csv").write_bytes(index)
    description = json.loads((corpus / "corpus.json").read_text())
    description["index_sha256"] = hashlib.sha256(index).hexdigest()
    (corpus / "corpus.json").write_text(json.dumps(description))


def smoke(*changes: str) -> Config:
    """The configuration ``smoke`` made smaller still, with some values changed."""
    least = ("training.statistics_crops=8", "training.frames=32", "training.steps=6", "views.memory=12")
    return read_config("smoke", [*least, *changes])
