"""The training of several retrieval systems at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.composed.networks import Batch, Networks
from benchmark.composed.pairs import ComposedSettings, Pairs, System, held_out
from benchmark.probe.resuming import Progress
from benchmark.probe.standardised import GPU_SHARE, standardisation
from bgknown.errors import InvalidInputError
from bgknown.seeding import key, ranks

BLOCK_ROWS = 1024
"""Pairs that are embedded in one go outside training."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latents:
    """A trained system on test pairs."""

    system: System
    """The system."""
    queries: Tensor
    """[n, H] on the CPU."""
    targets: Tensor
    """[n, H] on the CPU."""
    valid_loss: float
    """Smallest validation loss, nats."""
    best_epoch: int
    """The epoch it was reached in (the first of equals), from 1."""


class _Statistics:
    """Mean and deviation of embeddings for each system, of the pairs that it is trained on."""

    def __init__(self, pairs: Pairs, training: Sequence[Tensor], device: str) -> None:
        found = []
        for rows in training:
            heard = np.concatenate([pairs.s1[rows.numpy()], pairs.s2[rows.numpy()]])
            read = pairs.texts[rows.numpy()]
            found.append((*standardisation(pairs.audio, heard), *standardisation(pairs.text, read)))
        stacked = [torch.stack(each).unsqueeze(1).to(device) for each in zip(*found, strict=True)]
        self.audio, self.text = (stacked[0], stacked[1]), (stacked[2], stacked[3])
        """[S, 1, D] means and deviations."""


class _Rows:
    """Embeddings of pairs, standardised for each system."""

    def __init__(self, pairs: Pairs, statistics: _Statistics, device: str) -> None:
        self.pairs, self.statistics, self.device = pairs, statistics, device
        self.audio, self.text = _near(pairs.audio, device), _near(pairs.text, device)
        self.s1, self.s2, self.texts = (torch.from_numpy(rows) for rows in (pairs.s1, pairs.s2, pairs.texts))

    def batch(self, pairs: Tensor, kept: Sequence[Tensor | None]) -> Batch:
        """The pairs [S, B] of each system."""
        heard = [classes[pairs].to(self.device) for classes in (self.pairs.classes_s1, self.pairs.classes_s2)]
        return Batch(
            s1=self._take(self.audio, self.s1[pairs], self.statistics.audio),
            s2=self._take(self.audio, self.s2[pairs], self.statistics.audio),
            text=self._take(self.text, self.texts[pairs], self.statistics.text),
            classes_s1=heard[0],
            classes_s2=heard[1],
            kept=kept,
        )

    def _take(self, source: Tensor, rows: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
        """[S, B] rows -> [S, B, D]."""
        flat = source.index_select(0, rows.reshape(-1).to(source.device)).to(self.device).float()
        return (flat.view(*rows.shape, -1) - statistics[0]) / statistics[1]


class Training:
    """Systems in training."""

    def __init__(self, pairs: Pairs, systems: Sequence[System], settings: ComposedSettings, device: str) -> None:
        pairs.check()
        self.pairs, self.systems, self.settings, self.device = pairs, list(systems), settings, device
        self.seeds = list(dict.fromkeys(system.seed for system in systems))
        self.of = torch.tensor([self.seeds.index(system.seed) for system in systems])
        splits = [
            held_out(ranks(seed, "retrieval validation", pairs.names), settings.validation_share) for seed in self.seeds
        ]
        self.training, self.valid = [train for train, _ in splits], [valid for _, valid in splits]
        self.statistics = _Statistics(pairs, [self.training[place] for place in self.of.tolist()], device)
        self.rows = _Rows(pairs, self.statistics, device)
        sizes = {"audio": pairs.audio.shape[1], "text": pairs.text.shape[1], "classes": pairs.classes_s1.shape[1]}
        self.networks = Networks(systems, **sizes, settings=settings).to(device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=settings.lr, fused=True)
        self.orders = [torch.Generator().manual_seed(key(seed, "retrieval order")) for seed in self.seeds]
        self.drops = [torch.Generator().manual_seed(key(seed, "retrieval dropout")) for seed in self.seeds]
        self.best = {name: values.detach().clone() for name, values in self.networks.named_parameters()}
        self.best_loss = torch.full((len(systems),), torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(len(systems), dtype=torch.int64)
        self.epoch = 0

    def run(self, progress: Callable[[int], object], stored: Progress | None) -> None:
        """Train to the last epoch, from where it was stopped."""
        state = stored.load() if stored is not None else None
        if state is not None:
            self._take_up(state)
            progress(self.epoch)
        while self.epoch < self.settings.epochs:
            self.epoch += 1
            self._train_epoch()
            self._judge()
            progress(1)
            if stored is not None and stored.due:
                stored.store(self._state())

    def latents(self, pairs: Pairs) -> Iterator[Latents]:
        """Each system's queries and targets of other pairs, by its best epoch."""
        pairs.check()
        current = {name: values.detach().clone() for name, values in self.networks.named_parameters()}
        self._load(self.best)
        queries, targets = [], []
        rows = _Rows(pairs, self.statistics, self.device)
        with torch.no_grad():
            for start in range(0, len(pairs), BLOCK_ROWS):
                block = torch.arange(start, min(start + BLOCK_ROWS, len(pairs))).expand(len(self.systems), -1)
                batch = rows.batch(block, [None] * 3)
                first, text = self.networks.latent("audio", batch.s1), self.networks.latent("text", batch.text)
                queries.append(self.networks.query(first, text).cpu())
                targets.append(self.networks.latent("audio", batch.s2).cpu())
        self._load(current)
        for place, system in enumerate(self.systems):
            yield Latents(
                system=system,
                queries=torch.cat([block[place] for block in queries]),
                targets=torch.cat([block[place] for block in targets]),
                valid_loss=float(self.best_loss[place]),
                best_epoch=int(self.best_epoch[place]),
            )

    def _train_epoch(self) -> None:
        orders = [
            rows[torch.randperm(len(rows), generator=draw)]
            for rows, draw in zip(self.training, self.orders, strict=True)
        ]
        for start in range(0, len(orders[0]), self.settings.batch_size):
            rows = torch.stack([order[start : start + self.settings.batch_size] for order in orders])
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.networks.losses(self._batch(rows, dropping=True), self.settings).sum()
            torch.autograd.backward(loss)
            self.optimizer.step()

    def _judge(self) -> None:
        """Keep the weights of the systems whose validation loss is the smallest so far."""
        total, count = torch.zeros(len(self.systems), dtype=torch.float64), len(self.valid[0])
        with torch.no_grad():
            for start in range(0, count, self.settings.batch_size):
                rows = torch.stack([valid[start : start + self.settings.batch_size] for valid in self.valid])
                losses = self.networks.losses(self._batch(rows, dropping=False), self.settings)
                total += losses.double().cpu() * rows.shape[1] / count
        if not bool(torch.isfinite(total).all()):
            bad = self.systems[int((~torch.isfinite(total)).nonzero()[0])]
            raise InvalidInputError(
                f"retrieval {bad.kind}, seed {bad.seed}: the validation loss is not finite after epoch {self.epoch}; "
                f"lower the learning rate ({self.settings.lr:g})"
            )
        better = total < self.best_loss
        self.best_loss = torch.where(better, total, self.best_loss)
        self.best_epoch[better] = self.epoch
        places = better.nonzero().flatten().to(self.device)
        for name, values in self.networks.named_parameters():
            self.best[name][places] = values.detach()[places]

    def _batch(self, rows: Tensor, *, dropping: bool) -> Batch:
        """Pairs by their rows [seeds, B], for each system those of its seed."""
        kept = [self._kept(rows.shape[1]) if dropping else None for _ in range(3)]
        return self.rows.batch(rows[self.of], kept)

    def _kept(self, width: int) -> Tensor | None:
        """What dropout leaves, [S, B, H]: 0, or more than 1, so that the mean stays; systems of a seed share it."""
        if self.settings.dropout == 0:
            return None
        size = (width, self.settings.size)
        kept = torch.stack([torch.rand(size, generator=draw) >= self.settings.dropout for draw in self.drops])
        return (kept[self.of].to(self.device) / (1.0 - self.settings.dropout)).float()

    def _load(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.networks.named_parameters():
                parameter.copy_(values[name])

    def _state(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": [draw.get_state() for draw in (*self.orders, *self.drops)],
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "epoch": self.epoch,
        }

    def _take_up(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        for draw, kept in zip((*self.orders, *self.drops), state["draws"], strict=True):
            draw.set_state(kept)
        self.best = {name: values.to(self.device) for name, values in state["best"].items()}
        self.best_loss, self.best_epoch, self.epoch = state["best_loss"], state["best_epoch"], state["epoch"]


def train(
    pairs: Pairs,
    systems: Sequence[System],
    settings: ComposedSettings,
    *,
    device: str = "cpu",
    progress: Callable[[int], object] | None = None,
    resume: Path | None = None,
) -> Training:
    """Train systems on pairs.

    Args:
        pairs: training pairs; a part of them is held out.
        systems: what to train.
        settings: how.
        device: where; draws are made on the CPU, so that they are the same everywhere.
        progress: called with the number of epochs done.
        resume: folder in which trainings of more than a minute store what they go on from after they were stopped.

    Raises:
        InvalidInputError: pairs break a rule, or the loss is not finite.
        StorageError: the folder to resume from cannot be written.
    """
    training = Training(pairs, systems, settings, device)
    stored = Progress(resume, _fingerprint(training)) if resume is not None else None
    training.run(progress or (lambda done: None), stored)
    if stored is not None:
        stored.done()
    return training


def _near(source: Tensor, device: str) -> Tensor:
    """Embeddings on a GPU if there is room, else where they are."""
    if torch.device(device).type != "cuda":
        return source
    free, _ = torch.cuda.mem_get_info(device)
    return source.to(device) if source.nbytes <= free * GPU_SHARE else source


def _fingerprint(training: Training) -> str:
    """40 hexadecimal digits for all that a training depends on; embeddings are represented by their statistics."""
    pairs = training.pairs
    digest = hashlib.sha256(repr((training.settings, training.systems, list(pairs.names))).encode())
    for rows in (pairs.s1, pairs.s2, pairs.texts):
        digest.update(rows.tobytes())
    for values in (*training.statistics.audio, *training.statistics.text):
        digest.update(values.cpu().numpy().tobytes())
    for classes in (pairs.classes_s1, pairs.classes_s2):
        digest.update(classes.numpy().tobytes())
    return digest.hexdigest()[:40]
