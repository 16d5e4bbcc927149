"""The training of several retrieval systems at once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.composed_retrieval.networks import Networks
from benchmark.composed_retrieval.pair_rows import PairRows, PairStatistics
from benchmark.composed_retrieval.pairs import Pairs, System, hold_out_pairs
from benchmark.protocol import ComposedSettings
from benchmark.resuming import Resuming, TrainingState
from bgknown.errors import InvalidInputError
from bgknown.jobs.memory import keep_freed_memory
from bgknown.seeding import derive_key, draw_ranks

BLOCK_ROWS = 1024
"""Pairs that are embedded in one go outside training."""
STEPS_AHEAD = 3
"""Steps whose dropout is drawn while a GPU works."""


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
        self.statistics = PairStatistics(pairs, self.training, device)
        self.rows = PairRows(pairs, self.statistics, self.of, device)
        self.networks, self.optimizer = self._begin(self.systems)
        self.orders = [torch.Generator().manual_seed(derive_key(seed, "retrieval order")) for seed in self.seeds]
        self.drops = [torch.Generator().manual_seed(derive_key(seed, "retrieval dropout")) for seed in self.seeds]
        self.best = {name: values.detach().clone() for name, values in self.networks.named_parameters()}
        self.best_loss = torch.full((len(systems),), torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(len(systems), dtype=torch.int64)
        self.epoch = 0
        self.left = torch.arange(len(systems))
        """Places of the systems that are still in training, whose parameters ``networks`` holds."""
        self.seeds_left = torch.arange(len(self.seeds))
        """Places of their seeds."""

    def run(self, progress: Callable[[int], object], stored: TrainingState | None) -> None:
        """Train to the last epoch, or until all systems have run out of patience, from where it was stopped."""
        state = stored.load() if stored is not None else None
        if state is not None:
            self._take_up(state)
            progress(self.epoch)
        while self.epoch < self.settings.epochs and len(self.left):
            self.epoch += 1
            for rows, kept in self.steps():
                self.step(rows, kept)
            self._judge()
            self._release()
            progress(1)
            if stored is not None and stored.due:
                stored.store(self._state())
        progress(self.settings.epochs - self.epoch)

    def latents(self, pairs: Pairs) -> Iterator[Latents]:
        """Each system's queries and targets of other pairs, by its best epoch."""
        pairs.check()
        networks, _ = self._begin(self.systems)
        networks.load_state_dict({**networks.state_dict(), **self.best})
        queries, targets = [], []
        rows = PairRows(pairs, self.statistics, self.of, self.device)
        with torch.no_grad():
            for start in range(0, len(pairs), BLOCK_ROWS):
                block = torch.arange(start, min(start + BLOCK_ROWS, len(pairs))).expand(len(self.seeds), -1)
                query, audio = networks.latents(rows.batch(block))
                queries.append(query.cpu())
                targets.append(audio[:, block.shape[1] :].cpu())
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
            for rows, draw in ((self.training[seed], self.orders[seed]) for seed in self.seeds_left)
        ]
        return list(torch.split(torch.stack(orders), self.settings.batch_size, dim=1))

    def steps(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What each step of an epoch draws: pairs as in ``batches``, and what dropout leaves.

        Dropout is [seeds, 3 B, H]: 0, or more than 1 to keep the mean; a seed's systems share it. It is drawn on the
        CPU, so that it is the same everywhere; beside a GPU a thread for each seed draws ahead.
        """
        batches, share = self.batches(), self.settings.dropout
        if share == 0:
            yield from ((rows, None) for rows in batches)
            return
        with contextlib.ExitStack() as stack:
            beside = torch.device(self.device).type != "cpu"
            threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in self.seeds_left] if beside else []

            def begin(rows: Tensor) -> list[Callable[[], Tensor]]:
                """A way to get each seed's draw; a seed's draws are made in order."""
                drawn = [(self.drops[seed], 3 * rows.shape[1], self.settings) for seed in self.seeds_left]
                if not threads:
                    return [functools.partial(_draw_kept, *each) for each in drawn]
                return [thread.submit(_draw_kept, *each).result for thread, each in zip(threads, drawn, strict=True)]

            ahead = deque(begin(rows) for rows in batches[:STEPS_AHEAD])
            for place, rows in enumerate(batches):
                kept = torch.stack([get() for get in ahead.popleft()]).to(self.device) * (1.0 / (1.0 - share))
                if place + STEPS_AHEAD < len(batches):
                    ahead.append(begin(batches[place + STEPS_AHEAD]))
                yield rows, kept

    def step(self, rows: Tensor, kept: Tensor | None) -> None:
        """One step of all systems on the pairs [seeds, B] of their seeds, with the dropout of ``steps``."""
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.rows.batch(rows, kept)
        torch.autograd.backward(self.networks.losses(batch, self.settings).sum())
        self.optimizer.step()

    def _judge(self) -> None:
        """Keep the weights of the systems whose validation loss is the smallest so far."""
        total, count = torch.zeros(len(self.left), dtype=torch.float64), len(self.valid[0])
        with torch.no_grad():
            for start in range(0, count, self.settings.batch_size):
                block = slice(start, start + self.settings.batch_size)
                rows = torch.stack([self.valid[seed][block] for seed in self.seeds_left])
                losses = self.networks.losses(self.rows.batch(rows), self.settings)
                total += losses.double().cpu() * rows.shape[1] / count
        if not bool(torch.isfinite(total).all()):
            bad = self.systems[int(self.left[~torch.isfinite(total)][0])]
            raise InvalidInputError(
                f"retrieval {bad.kind}, seed {bad.seed}: the validation loss is not finite after epoch {self.epoch}; "
                f"lower the learning rate ({self.settings.lr:g})"
            )
        better = total < self.best_loss[self.left]
        places = self.left[better]
        self.best_loss[places], self.best_epoch[places] = total[better], self.epoch
        for name, values in self.networks.named_parameters():
            self.best[name][places] = values.detach()[better]

    def _release(self) -> None:
        """Take the systems that have run out of patience out of the training; their best weights are kept."""
        if self.settings.patience:
            waiting = self.epoch - self.best_epoch[self.left]
            self._narrow((waiting < self.settings.patience).nonzero().flatten())

    def _narrow(self, places: Tensor) -> None:
        """Go on with some of the systems that are left, by their places among these."""
        if len(places) == len(self.left):
            return
        self.left = self.left[places]
        if not len(self.left):
            return
        self.seeds_left = torch.unique(self.of[self.left])
        self.rows.choose(self.seeds_left, torch.searchsorted(self.seeds_left, self.of[self.left]))
        networks, optimizer = self.networks.state_dict(), self.optimizer.state_dict()
        self.networks, self.optimizer = self._begin([self.systems[place] for place in self.left])
        self.networks.load_state_dict({name: values[places] for name, values in networks.items()})
        for state in optimizer["state"].values():
            state.update({name: values[places] for name, values in state.items() if values.dim()})  # not the step
        self.optimizer.load_state_dict(optimizer)

    def _begin(self, systems: Sequence[System]) -> tuple[Networks, torch.optim.Optimizer]:
        """The networks of some systems as they begin, and their optimizer."""
        pairs, settings = self.pairs, self.settings
        sizes = {"audio": pairs.audio.shape[1], "text": pairs.text.shape[1], "classes": pairs.classes_s1.shape[1]}
        networks = Networks(systems, **sizes, settings=settings).to(self.device)
        return networks, torch.optim.Adam(networks.parameters(), lr=settings.lr, fused=True)

    def _state(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": [draw.get_state() for draw in (*self.orders, *self.drops)],
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "epoch": self.epoch,
            "left": self.left,
        }

    def _take_up(self, state: dict[str, Any]) -> None:
        self._narrow(state.get("left", self.left))  # versions without patience stored none
        if len(self.left):
            self.networks.load_state_dict(state["networks"])
            self.optimizer.load_state_dict(state["optimizer"])
        for draw, kept in zip((*self.orders, *self.drops), state["draws"], strict=True):
            draw.set_state(kept)
        self.best = {name: values.to(self.device) for name, values in state["best"].items()}
        self.best_loss, self.best_epoch, self.epoch = state["best_loss"], state["best_epoch"], state["epoch"]


def _draw_kept(generator: torch.Generator, rows: int, settings: ComposedSettings) -> Tensor:
    """Which values dropout keeps, [rows, H] bool."""
    return torch.empty(rows, settings.size).uniform_(generator=generator) >= settings.dropout


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
