"""A small network beside the linear map, for those who have much audio.

Two layers with ReLU predict what the linear map, fitted to the same mixtures, leaves. The second layer begins at zero,
so training begins at the linear map; it ends after some epochs without a smaller error on held-out mixtures, and the
best epoch is kept, if need be the beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from benchmark.heads.moments import FeatureBlock
from benchmark.heads.ridge import LinearMap
from bgknown.seeding import derive_key


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNetworkSettings:
    """How the network is trained."""

    hidden: int = 512
    """Size of the hidden layer."""
    dropout: float = 0.3
    """Share of its values that is dropped in training."""
    lr: float = 3e-4
    """Learning rate of AdamW."""
    weight_decay: float = 0.05
    """Its weight decay."""
    batch_size: int = 128
    """Mixtures in a step."""
    patience: int = 8
    """Epochs without a smaller held-out error after which training ends."""
    max_epochs: int = 200
    """Maximum number of epochs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNetwork:
    """The best epoch."""

    arrays: dict[str, NDArray[np.float64]]
    """``hidden.weight`` [P, H], ``hidden.bias``, ``output.weight`` [H, D], ``output.bias``, of standardised values."""
    error: float
    """Held-out error together with the linear map."""
    epochs: int
    """Epochs after which it was best."""


def train_network(
    read_training: Callable[[], Iterable[FeatureBlock]],
    read_held_out: Callable[[], Iterable[FeatureBlock]],
    linear: LinearMap,
    *,
    seed: int,
    device: str,
    settings: HeadNetworkSettings | None = None,
) -> TrainedNetwork:
    """Train the network; only a block of mixtures is in memory at a time.

    Args:
        read_training: standardised blocks of the mixtures that are trained on.
        read_held_out: those of the others.
        linear: the map that was fitted to the former.
        seed: seed of the initial weights and the order.
        device: where to train.
        settings: how.
    """
    chosen = settings or HeadNetworkSettings()
    generator = torch.Generator().manual_seed(derive_key(seed, "network of a head") % 2**63)
    width, size = linear.weight.shape
    network = _make_network(width, size, chosen, generator).to(device)
    weight, bias = (torch.from_numpy(part).float().to(device) for part in (linear.weight, linear.bias))
    steps = torch.optim.AdamW(network.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay)

    def residuals(pairs: FeatureBlock) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (torch.from_numpy(part).float().to(device) for part in pairs)
        return x, y - (x @ weight + bias)

    def measure_held_out() -> float:
        network.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for pairs in read_held_out():
                x, left = residuals(pairs)
                total += float((network(x) - left).double().square().sum())
                count += left.numel()
        return total / count

    best = (measure_held_out(), 0, _copy(network))
    with tqdm(desc="network", unit="epoch", disable=not sys.stderr.isatty(), leave=False) as bar:
        for epoch in range(1, chosen.max_epochs + 1):
            network.train()
            for pairs in read_training():
                x, left = residuals(pairs)
                for rows in torch.split(torch.randperm(len(x), generator=generator), chosen.batch_size):
                    steps.zero_grad()
                    loss = nn.functional.mse_loss(network(x[rows]), left[rows])
                    loss.backward()  # type: ignore[no-untyped-call]
                    steps.step()
            error = measure_held_out()
            if error < best[0]:
                best = (error, epoch, _copy(network))
            bar.update()
            if epoch - best[1] >= chosen.patience:
                break
    return TrainedNetwork(arrays=best[2], error=best[0], epochs=best[1])


def _make_network(width: int, size: int, settings: HeadNetworkSettings, generator: torch.Generator) -> nn.Sequential:
    first, last = nn.Linear(width, settings.hidden), nn.Linear(settings.hidden, size)
    with torch.no_grad():
        nn.init.normal_(first.weight, std=(2.0 / width) ** 0.5, generator=generator)
        for values in (first.bias, last.weight, last.bias):
            values.zero_()
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(settings.dropout), last)


def _copy(network: nn.Sequential) -> dict[str, NDArray[np.float64]]:
    state = {name: values.detach().double().cpu().numpy() for name, values in network.state_dict().items()}
    return {
        "hidden.weight": state["0.weight"].T.copy(),
        "hidden.bias": state["0.bias"].copy(),
        "output.weight": state["3.weight"].T.copy(),
        "output.bias": state["3.bias"].copy(),
    }
