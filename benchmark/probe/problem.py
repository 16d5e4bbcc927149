"""What a probe is trained on, how, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgknown.errors import InvalidInputError
from bgknown.seeding import draw_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How a probe is trained."""

    lr: float = 1e-3
    """Learning rate of Adam."""
    batch_size: int = 256
    """Clips in a step; the last step of an epoch has what is left."""
    max_epochs: int = 200
    """Epochs at most."""
    patience: int = 20
    """Stop after so many epochs without a lower validation loss."""
    validation_share: float = 0.1
    """Share of the training clips held out, stratified, where a task has no validation split."""

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("max_epochs", self.max_epochs)):
            if value < 1:
                raise InvalidInputError(f"{name} is {value}; it must be at least 1")
        if self.patience < 1:
            raise InvalidInputError(f"patience is {self.patience}; it must be at least 1")
        if not 0 < self.lr < math.inf:
            raise InvalidInputError(f"lr is {self.lr}; it must be above 0")
        if not 0 < self.validation_share < 1:
            raise InvalidInputError(f"validation_share is {self.validation_share}; it must lie between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeProblem:
    """One probe to be trained."""

    name: str
    """What it is, for messages: setting, fold and seed."""
    features: Tensor
    """[n, D] raw embeddings, float32 or float16, on the CPU; shared between problems, never changed or copied whole."""
    labels: Tensor
    """[n] int64 in 0..K-1."""
    train: NDArray[np.int64]
    """Rows to train on; standardisation is theirs too."""
    valid: NDArray[np.int64]
    """Rows that decide when to stop."""
    test: NDArray[np.int64]
    """Rows to predict."""
    classes: int
    """K."""
    seed: int
    """Seed of the initial weights and of the order of batches."""
    fold: str = ""
    """Name of the fold; goes with the seed, so that settings share their draws and folds do not."""
    lr: float | None = None
    """Learning rate of this probe alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeResult:
    """A trained probe on its test rows."""

    predicted: NDArray[np.int64]
    """[len(test)] predicted classes."""
    correct: NDArray[np.bool_]
    """[len(test)] whether they are right."""
    accuracy: float
    """Share of right ones, 0..1."""
    valid_loss: float
    """Smallest validation loss, nats."""
    best_epoch: int
    """The epoch it was reached in (the first of equals), from 1."""
    epochs: int
    """Epochs trained."""
    weight: Tensor
    """[K, D] weights of that epoch, for standardised embeddings."""
    bias: Tensor
    """[K]"""


def draw_validation_rows(
    labels: NDArray[np.int64], names: Sequence[str], *, share: float, seed: int
) -> NDArray[np.bool_]:
    """Which training clips are held out for validation: a stratified share, by the clips' names.

    Each class gives its share, rounded so that the total is right (largest remainder), and keeps at least one clip.

    Args:
        labels: [n] classes of the training clips.
        names: [n] their names; a clip's place in the draw depends on (seed, name) alone.
        share: 0..1.
        seed: the probe's seed.

    Raises:
        InvalidInputError: no class has a clip to spare.
    """
    order = np.lexsort((draw_ranks(seed, "validation", names), labels))
    counts = np.bincount(labels)
    exact = counts * share
    take = np.minimum(np.floor(exact).astype(np.int64), np.maximum(counts - 1, 0))
    wanted = max(round(share * len(labels)), 1)
    for label in np.argsort(take - exact, kind="stable"):
        if take.sum() >= wanted:
            break
        take[label] += take[label] < counts[label] - 1
    if take.sum() == 0:
        raise InvalidInputError(
            "no class has two training clips, so none can be held out for validation: measure more clips"
        )
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    held = np.zeros(len(labels), dtype=bool)
    for start, number in zip(first, take, strict=True):
        held[order[start : start + number]] = True
    return held


def check_problems(problem: ProbeProblem) -> None:
    """Refuse a problem that cannot be trained.

    Raises:
        InvalidInputError: wrong shapes, an empty split, labels out of range, a class without training rows.
    """
    n, what = len(problem.labels), f"probe {problem.name}"
    if problem.features.ndim != 2 or len(problem.features) != n:
        raise InvalidInputError(f"{what}: features have shape {list(problem.features.shape)}, must be [{n}, D]")
    for part in ("train", "valid", "test"):
        rows = getattr(problem, part)
        if len(rows) == 0:
            raise InvalidInputError(f"{what}: no clips in the {part} part")
        if rows.min() < 0 or rows.max() >= n:
            raise InvalidInputError(f"{what}: rows of the {part} part lie outside 0..{n - 1}")
    seen = torch.bincount(problem.labels[torch.from_numpy(problem.train)], minlength=problem.classes)
    if len(seen) > problem.classes or int(problem.labels.max()) >= problem.classes:
        raise InvalidInputError(f"{what}: labels must lie in 0..{problem.classes - 1}")
    if bool((seen == 0).any()):
        missing = torch.nonzero(seen == 0).flatten().tolist()
        raise InvalidInputError(f"{what}: classes {missing[:5]} have no training clip")
