"""What a probe is trained on, how, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgknown.errors import InvalidInputError

Ending = Literal["converged", "stopped early", "cut"]
"""How a training ended: at its optimum, because validation no longer improved, or at the last epoch or iteration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How a probe is trained; ``benchmark.protocol.Protocol`` says what the choices mean and checks them."""

    lr: float = 1e-3
    """Learning rate of Adam."""
    batch_size: int = 256
    """Clips in a step, or all training clips where they are fewer; the last step of an epoch takes the rest."""
    max_epochs: int = 200
    """Maximum number of epochs."""
    stop_on: Literal["loss", "accuracy"] = "loss"
    """What is compared between epochs: the validation loss or the validation accuracy."""
    ties: Literal["first", "last"] = "first"
    """Which of equally good epochs is tested; with ``last``, an equally good epoch also restarts the patience."""
    patience: int = 20
    """Stop after this many epochs without a better one."""
    weight_decay: float = 0.0
    """Factor of the parameters that is added to their gradient (L2)."""
    loss_mean: Literal["clips", "clips and classes"] = "clips"
    """What the training loss is averaged over."""

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("max_epochs", self.max_epochs)):
            if value < 1:
                raise InvalidInputError(f"{name} is {value}; it must be at least 1")
        if self.patience < 1:
            raise InvalidInputError(f"patience is {self.patience}; it must be at least 1")
        if not 0 < self.lr < math.inf:
            raise InvalidInputError(f"lr is {self.lr}; it must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InvalidInputError(f"weight_decay is {self.weight_decay}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeProblem:
    """One probe to train."""

    name: str
    """Setting, fold and seed, for messages."""
    features: Tensor
    """[n, D] raw embeddings, float32 or float16, on the CPU; shared between problems, never changed or copied whole."""
    labels: Tensor
    """[n] int64 in 0..K-1."""
    train: NDArray[np.int64]
    """Rows to train on."""
    valid: NDArray[np.int64]
    """Rows that decide when to stop."""
    test: NDArray[np.int64]
    """Rows to predict."""
    classes: int
    """K."""
    seed: int
    """Seed of the initial weights and of the order of batches."""
    fold: str = ""
    """Name of the fold; draws depend on it and on the seed, so settings share their draws and folds do not."""
    lr: float | None = None
    """Learning rate of this probe, where it differs from the settings'."""
    standardise: NDArray[np.int64] | None = None
    """Rows that give mean and standard deviation; by default those to train on."""

    @property
    def standardise_rows(self) -> NDArray[np.int64]:
        """Rows that give mean and standard deviation."""
        return self.train if self.standardise is None else self.standardise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeResult:
    """A trained probe on its test rows."""

    predicted: NDArray[np.int64]
    """[len(test)] predicted classes."""
    correct: NDArray[np.bool_]
    """[len(test)] whether they are correct."""
    accuracy: float
    """Share of correct ones, 0..1."""
    valid_loss: float
    """Validation loss of the tested epoch, nats."""
    valid_accuracy: float
    """Validation accuracy of the tested epoch, 0..1."""
    best_epoch: int
    """The epoch that is tested, from 1."""
    epochs: int
    """Epochs trained."""
    steps: int
    """Steps of the optimiser after which the tested weights were taken."""
    ended: Ending
    """How the training ended."""
    weight: Tensor
    """[K, D] weights of the tested epoch, for standardised embeddings."""
    bias: Tensor
    """[K]"""


def measure_share_finished(endings: Sequence[Ending]) -> float | None:
    """Share of probes, 0..1, that converged or stopped early rather than being cut; None for no probes."""
    return None if not endings else sum(ended != "cut" for ended in endings) / len(endings)


def describe_endings(endings: Sequence[tuple[Ending, int]]) -> str:
    """How probes ended, as one line: ``4 probes stopped early (tested after 5 to 120 steps), 2 were cut ...``.

    Args:
        endings: ending and number of steps of each probe.

    Returns:
        The line; empty for no probes.
    """
    texts = {
        "converged": "converged ({} steps)",
        "stopped early": "stopped early (tested after {} steps)",
        "cut": "cut at the last epoch, before they had stopped improving (tested after {} steps)",
    }
    parts = []
    for ending, text in texts.items():
        steps = sorted(number for ended, number in endings if ended == ending)
        if steps:
            span = f"{steps[0]:,}" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,}"
            parts.append(f"{len(steps):,} of {len(endings):,} {text.format(span)}")
    return f"probes: {'; '.join(parts)}" if parts else ""


def check_problem(problem: ProbeProblem) -> None:
    """Refuse a problem that cannot be trained.

    Raises:
        InvalidInputError: wrong shapes, an empty part, labels out of range, a class without training rows.
    """
    n, what = len(problem.labels), f"probe {problem.name}"
    if problem.features.ndim != 2 or len(problem.features) != n:
        raise InvalidInputError(f"{what}: features have shape {list(problem.features.shape)}, must be [{n}, D]")
    for part in ("train", "valid", "test", "standardise_rows"):
        rows = getattr(problem, part)
        if len(rows) == 0:
            raise InvalidInputError(f"{what}: no clips in the {part} part")
        if rows.min() < 0 or rows.max() >= n:
            raise InvalidInputError(f"{what}: rows of the {part} part must be within 0..{n - 1}")
    seen = torch.bincount(problem.labels[torch.from_numpy(problem.train)], minlength=problem.classes)
    if len(seen) > problem.classes or int(problem.labels.max()) >= problem.classes:
        raise InvalidInputError(f"{what}: labels must be within 0..{problem.classes - 1}")
    if bool((seen == 0).any()):
        missing = torch.nonzero(seen == 0).flatten().tolist()
        raise InvalidInputError(f"{what}: classes {missing[:5]} have no training clip")
