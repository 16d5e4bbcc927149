"""Step rate of training against the published procedure, which makes each clip's views by itself.

    python tests/speed/pretrain_against_per_clip.py --lambda 0.5
    python tests/speed/pretrain_against_per_clip.py --against "in float32" --against "with channels first"
    python tests/speed/pretrain_against_per_clip.py --float32 --cpu-time --against "products alone"

The other side is BYOL-A as its published code does it (nttcslab/byol-a: log-mel, normalisation, mixup with a memory,
random resize crop and random linear fader of one clip after another; each view through the networks by itself;
float32, torch's own layers), with the difference branch of the paper beside it where lambda is above 0. Same networks,
same batch, same crops; each side in a process of its own, in turns; made audio, cut from memory on both sides.

``products alone`` is no training: only the matrix products and the convolutions of a step, except the small first one,
forwards and backwards in float32 and on values of the same shapes. No implementation that computes them all is faster.
``--cpu-time`` compares CPU time, which other processes bear on less; it says nothing about the use of several cores.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pretrain.config import read_config  # noqa: E402
from pretrain.corpus import open_corpus  # noqa: E402
from pretrain.draws import CropSampler  # noqa: E402
from pretrain.frontend import LogMelSpectrogram  # noqa: E402
from pretrain.machine import reuse_freed_memory  # noqa: E402
from pretrain.networks import AudioNTT2022  # noqa: E402
from pretrain.objective import make_head  # noqa: E402
from pretrain.ranks import ALONE  # noqa: E402
from pretrain.trainer import Trainer  # noqa: E402
from tests.pretrain.made import make_corpus  # noqa: E402

EPS = torch.finfo(torch.float32).eps
MEAN, STD = -8.0, 4.5


class Views:
    """Mixup, random resize crop and random linear fader of one spectrogram [1, F, T] at a time."""

    def __init__(self, memory: int) -> None:
        self.memory, self.size = [], memory

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        views = tuple(self.fade(self.crop(self.mix(x))) for _ in range(2))
        self.memory = [*self.memory, x][-self.size :]
        return views

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        if not self.memory:
            return x
        share, other = 0.2 * np.random.rand(), random.choice(self.memory)  # noqa: NPY002
        return torch.log((1 - share) * x.exp() + share * other.exp() + EPS)

    def crop(self, x: torch.Tensor) -> torch.Tensor:
        _, bands, frames = x.shape
        canvas = torch.zeros(1, bands, int(1.5 * frames))
        start = (canvas.shape[2] - frames) // 2
        canvas[:, :, start : start + frames] = x
        height = int(np.clip(int(np.random.uniform(0.6, 1.5) * bands), 1, bands))  # noqa: NPY002
        width = int(np.clip(int(np.random.uniform(0.6, 1.5) * frames), 1, canvas.shape[2]))  # noqa: NPY002
        top, left = random.randint(0, bands - height), random.randint(0, canvas.shape[2] - width)
        part = canvas[:, top : top + height, left : left + width]
        return nn.functional.interpolate(part[None], size=(bands, frames), mode="bicubic", align_corners=True)[0]

    def fade(self, x: torch.Tensor) -> torch.Tensor:
        head, tail = 2.0 * np.random.rand(2) - 1.0  # noqa: NPY002
        return x + torch.linspace(float(head), float(tail), x.shape[2])[None, None]


class Encoder(nn.Module):
    """AudioNTT2022 of torch's own layers, in the published order."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [
            (nn.Conv2d(before, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)) for before in (1, 64)
        ]
        self.features = nn.Sequential(*blocks[0], *blocks[1])
        linear = (nn.Linear(1_024, 2_048), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2_048, 2_048), nn.ReLU())
        self.fc = nn.Sequential(*linear)
        self.load_state_dict(AudioNTT2022().state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local = self.features(x).permute(0, 3, 2, 1).flatten(2)
        frames = torch.cat([local, self.fc(local)], dim=2)
        return frames.mean(dim=1) + frames.max(dim=1).values


@torch.no_grad()
def check_same_network() -> None:
    """Stop where the two sides would not compute the same thing."""
    drawn = torch.randn(4, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    theirs, own = Encoder().train(), AudioNTT2022().train()
    theirs.fc[2].eval()
    torch.testing.assert_close(theirs(drawn), own(drawn), rtol=1e-4, atol=1e-4)


def distance(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (2 - 2 * nn.functional.cosine_similarity(predicted, target, dim=1)).mean()


def per_clip(corpus: Path, weight: float, steps: int) -> float:
    """Seconds a step of the published procedure."""
    config, opened = read_config("small", [f"objective.lambda={weight}"]), open_corpus(corpus)
    sampler, log_mel, views = (
        CropSampler(config, len(opened)),
        LogMelSpectrogram(config.front_end),
        Views(config.views.memory),
    )
    encoder, projector, predictor, other = Encoder(), make_head(3_072), make_head(256), make_head(256)
    targets = copy.deepcopy(nn.ModuleList([encoder, projector]))
    online = nn.ModuleList([encoder, projector, predictor, *([other] if weight else [])])
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    seconds = []
    for step in range(steps):
        drawn = sampler.draw(step)
        began = time.perf_counter()
        pairs = []
        for clip, place in zip(drawn.clips, drawn.places, strict=True):
            audio = opened.crops(np.array([clip]), np.array([place]), config.crop_samples)
            x = log_mel(torch.from_numpy(audio).float() / 32_768)[0]
            pairs.append(views((x - MEAN) / STD))
        first, second = (torch.stack(view) for view in zip(*pairs, strict=True))
        both = torch.cat([first, second])
        both = (both - both.mean()) / both.std().clamp_min(EPS)
        first, second = both.chunk(2)
        embedded = [encoder(view) for view in (first, second)]
        predicted = [predictor(projector(values)) for values in embedded]
        with torch.no_grad():
            target = [targets[1](targets[0](view)) for view in (first, second)]
        loss = 0.5 * (distance(predicted[0], target[1]) + distance(predicted[1], target[0]))
        if weight:
            found = []
            for view, values in zip((first, second), embedded, strict=True):
                gamma = 0.4 + 0.2 * torch.rand(len(view))
                share = gamma[:, None, None, None]
                mixed = torch.log(share * view.roll(-1, 0).exp() + (1 - share) * view.exp())
                found.append(other(projector(encoder(mixed) - gamma[:, None] * values.roll(-1, 0))))
            difference = 0.5 * (distance(found[0], target[1]) + distance(found[1], target[0]))
            loss = (1 - weight) * loss + weight * difference
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pairs_of = zip(targets.parameters(), (*encoder.parameters(), *projector.parameters()), strict=True)
            for behind, ahead in pairs_of:
                behind.mul_(0.99).add_(ahead, alpha=0.01)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def ours(corpus: Path, weight: float, steps: int, *changes: str) -> float:
    """Seconds a step of this software, with the configuration `small`, or with settings of it changed."""
    config = read_config("small", [f"objective.lambda={weight}", "training.statistics_crops=256", *changes])
    reuse_freed_memory(torch.device("cpu"))
    trainer = Trainer(config, open_corpus(corpus), torch.device("cpu"), ALONE)
    trainer.take_statistics()
    seconds, began = [], time.perf_counter()
    for step, audio in trainer.batches(range(steps)):
        trainer.step(step, audio)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(seconds[1:])


def products(_: Path, weight: float, steps: int) -> float:
    """Seconds that the products of a step take."""
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    frames = nn.Sequential(nn.Linear(1_024, 2_048), nn.Linear(2_048, 2_048))
    projector, predictor = (nn.Sequential(nn.Linear(values, 4_096), nn.Linear(4_096, 256)) for values in (3_072, 256))
    maps = torch.randn(128, 64, 32, 48).to(memory_format=torch.channels_last).requires_grad_()
    local, embeddings = (torch.randn(*shape, requires_grad=True) for shape in ((128 * 24, 1_024), (128, 3_072)))
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        for _ in range(2 if weight else 1):
            for values in (convolution(maps), frames(local), predictor(projector(embeddings))):
                values.backward(values.detach())
        with torch.no_grad():
            convolution(maps), frames(local), projector(embeddings)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


SIDES: dict[str, tuple[Callable[..., float], tuple[str, ...]]] = {
    "ours": (ours, ()),
    "clip by clip": (per_clip, ()),
    "in float32": (ours, ("training.precision=float32",)),
    "products alone": (products, ()),
    "with channels first": (ours, ("training.channels_last=false",)),
    "compiled": (ours, ("training.compile=true",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lambda", dest="weight", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--against", choices=[*SIDES][1:], action="append", help="Other sides; may be repeated.")
    parser.add_argument("--float32", action="store_true", help="Compare this software in float32.")
    parser.add_argument("--cpu-time", action="store_true", help="Compare CPU time.")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side, changes = SIDES["in float32" if given.side == "ours" and given.float32 else given.side]
        if given.cpu_time:
            time.perf_counter = time.process_time  # type: ignore[assignment]
        print(side(given.corpus, given.weight, given.steps, *changes))
        return
    check_same_network()
    sides = ["ours", *(given.against or ["clip by clip"])]
    ratios: dict[str, list[float]] = {side: [] for side in sides[1:]}
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "corpus", [80_000] * 200)
        for turn in range(given.turns):
            seconds = {}
            for side in sides:
                options = ["--side", side, "--corpus", str(corpus), "--lambda", str(given.weight)]
                options += ["--float32"] * given.float32 + ["--cpu-time"] * given.cpu_time
                command = [sys.executable, __file__, *options, "--steps", str(given.steps)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds[side] = float(done.stdout)
            for side, found in ratios.items():
                found.append(seconds[side] / seconds["ours"])
                print(f"turn {turn + 1}: a step {side} takes {found[-1]:.2f} times as long", flush=True)
    for side, found in ratios.items():
        print(
            f"{side}, lambda {given.weight:g}, batch 64, {torch.get_num_threads()} threads: "
            f"{statistics.median(found):.2f} times ({min(found):.2f} .. {max(found):.2f})"
        )


if __name__ == "__main__":
    main()
