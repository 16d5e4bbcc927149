"""The training of several retrieval systems at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.composed_retrieval.networks import Batch, Networks
from benchmark.composed_retrieval.pairs import Pairs, System, hold_out_pairs
from benchmark.probe.standardised import GPU_SHARE, measure_standardisation
from benchmark.protocol import ComposedSettings
from benchmark.resuming import Resuming, TrainingState
from bgknown.errors import InvalidInputError
from bgknown.jobs.memory import keep_freed_memory
from bgknown.seeding import derive_key, draw_ranks

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
    """Mean and 1 / deviation of embeddings for each seed, of the pairs that its systems are trained on."""

    def __init__(self, pairs: Pairs, training: Sequence[Tensor], device: str) -> None:
        found = []
        for rows in training:
            heard = np.concatenate([pairs.s1[rows.numpy()], pairs.s2[rows.numpy()]])
            read = pairs.texts[rows.numpy()]
            found.append((*measure_standardisation(pairs.audio, heard), *measure_standardisation(pairs.text, read)))
        mean, scale, text_mean, text_scale = (
            torch.stack(each).unsqueeze(1).to(device) for each in zip(*found, strict=True)
        )
        self.audio, self.text = (mean, 1.0 / scale), (text_mean, 1.0 / text_scale)
        """[seeds, 1, D] means and factors."""


class _Rows:
    """Embeddings of pairs, standardised for each seed and handed to its systems."""

    def __init__(self, pairs: Pairs, statistics: _Statistics, of: Tensor, device: str) -> None:
        self.pairs, self.statistics, self.of, self.device = pairs, statistics, of.to(device), device
        self.audio, self.text = _near(pairs.audio, device), _near(pairs.text, device)
        self.s1, self.s2, self.texts = (torch.from_numpy(rows) for rows in (pairs.s1, pairs.s2, pairs.texts))

    def batch(self, pairs: Tensor, kept: Tensor | None = None) -> Batch:
        """The pairs [seeds, B] of each seed, for its systems; ``kept`` [seeds, 3 B, H] likewise."""
        sides = torch.cat([self.s1[pairs], self.s2[pairs]], dim=1)
        heard = torch.cat([self.pairs.classes_s1[pairs], self.pairs.classes_s2[pairs]], dim=1).to(self.device)
        return Batch(
            audio=self._take(self.audio, sides, self.statistics.audio)[self.of],
            text=self._take(self.text, self.texts[pairs], self.statistics.text)[self.of],
            classes=heard[self.of],
            kept=None if kept is None else kept[self.of],
        )

    def _take(self, source: Tensor, rows: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
        """[seeds, B] rows -> [seeds, B, D]; a copy, so that it may be worked on in place."""
        flat = source.index_select(0, rows.reshape(-1).to(source.device)).to(self.device).float()
        mean, factor = statistics
        return flat.view(*rows.shape, -1).sub_(mean).mul_(factor)


class Training:
    """Systems in training."""

    def __init__(self, pairs: Pairs, systems: Sequence[System], settings: ComposedSettings, device: str) -> None:
        pairs.check()
        if torch.device(device).type == "cpu":
            keep_freed_memory()
        self.pairs, self.systems, self.settings, self.device = pairs, list(systems), settings, device
        self.seeds = list(dict.fromkeys(system.seed for system in systems))
        self.of = torch.tensor([self.seeds.index(system.seed) for system in systems])
        splits = [
            hold_out_pairs(draw_ranks(seed, "retrieval validation", pairs.names), settings.validation_share)
            for seed in self.seeds
        ]
        self.training, self.valid = [train for train, _ in splits], [valid for _, valid in splits]
        self.statistics = _Statistics(pairs, self.training, device)
        self.rows = _Rows(pairs, self.statistics, self.of, device)
        sizes = {"audio": pairs.audio.shape[1], "text": pairs.text.shape[1], "classes": pairs.classes_s1.shape[1]}
        self.networks = Networks(systems, **sizes, settings=settings).to(device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=settings.lr, fused=True)
        self.orders = [torch.Generator().manual_seed(derive_key(seed, "retrieval order")) for seed in self.seeds]
        self.drops = [torch.Generator().manual_seed(derive_key(seed, "retrieval dropout")) for seed in self.seeds]
        self.best = {name: values.detach().clone() for name, values in self.networks.named_parameters()}
        self.best_loss = torch.full((len(systems),), torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(len(systems), dtype=torch.int64)
        self.epoch = 0

    def run(self, progress: Callable[[int], object], stored: TrainingState | None) -> None:
        """Train to the last epoch, from where it was stopped."""
        state = stored.load() if stored is not None else None
        if state is not None:
            self._take_up(state)
            progress(self.epoch)
        while self.epoch < self.settings.epochs:
            self.epoch += 1
            for rows in self.batches():
                self.step(rows)
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
        rows = _Rows(pairs, self.statistics, self.of, self.device)
        with torch.no_grad():
            for start in range(0, len(pairs), BLOCK_ROWS):
                block = torch.arange(start, min(start + BLOCK_ROWS, len(pairs))).expand(len(self.seeds), -1)
                query, audio = self.networks.latents(rows.batch(block))
                queries.append(query.cpu())
                targets.append(audio[:, block.shape[1] :].cpu())
        self._load(current)
        for place, system in enumerate(self.systems):
            yield Latents(
                system=system,
                queries=torch.cat([block[place] for block in queries]),
                targets=torch.cat([block[place] for block in targets]),
                valid_loss=float(self.best_loss[place]),
                best_epoch=int(self.best_epoch[place]),
            )

    def batches(self) -> list[Tensor]:
        """The training pairs of an epoch in each seed's next order, some [seeds, B] for every step."""
        orders = [
            rows[torch.randperm(len(rows), generator=draw)]
            for rows, draw in zip(self.training, self.orders, strict=True)
        ]
        return list(torch.split(torch.stack(orders), self.settings.batch_size, dim=1))

    def step(self, rows: Tensor) -> None:
        """One step of all systems on the pairs [seeds, B] of their seeds."""
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.rows.batch(rows, self._kept(rows.shape[1]))
        torch.autograd.backward(self.networks.losses(batch, self.settings).sum())
        self.optimizer.step()

    def _judge(self) -> None:
        """Keep the weights of the systems whose validation loss is the smallest so far."""
        total, count = torch.zeros(len(self.systems), dtype=torch.float64), len(self.valid[0])
        with torch.no_grad():
            for start in range(0, count, self.settings.batch_size):
                rows = torch.stack([valid[start : start + self.settings.batch_size] for valid in self.valid])
                losses = self.networks.losses(self.rows.batch(rows), self.settings)
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

    def _kept(self, width: int) -> Tensor | None:
        """What dropout leaves, [seeds, 3 B, H]: 0, or more than 1 to keep the mean; a seed's systems share it."""
        share = self.settings.dropout
        if share == 0:
            return None
        drawn = torch.empty(len(self.seeds), 3 * width, self.settings.size)
        for part, draw in zip(drawn, self.drops, strict=True):
            part.uniform_(generator=draw)
        return (drawn >= share).to(self.device) * (1.0 / (1.0 - share))

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


def train_systems(
    pairs: Pairs,
    systems: Sequence[System],
    settings: ComposedSettings,
    *,
    device: str = "cpu",
    progress: Callable[[int], object] | None = None,
    resume: Resuming | None = None,
) -> Training:
    """Train systems on pairs.

    Args:
        pairs: training pairs; a part of them is held out.
        systems: what to train.
        settings: how.
        device: where; draws are made on the CPU, so that they are the same everywhere.
        progress: called with the number of epochs done.
        resume: where trainings of more than a minute store what they go on from after they were stopped; its owner says
            when they are done.

    Raises:
        InvalidInputError: pairs break a rule, or the loss is not finite.
        StorageError: that folder cannot be written.
    """
    training = Training(pairs, systems, settings, device)
    stored = resume.of(_fingerprint(training)) if resume is not None else None
    training.run(progress or (lambda done: None), stored)
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
