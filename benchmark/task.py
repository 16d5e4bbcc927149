"""What a task is: clips, their labels and splits, and the settings in which encoders are measured on it.

One module of ``benchmark.tasks`` stands for each task, all with the same names:

- ``FACTS``: what is published about it (``TaskFacts``);
- ``NEEDS``: names of other data that it can use;
- ``index(root, *, data, limit)``: a folder in its owner's layout to a ``TaskData``;
- ``measures(data, embeddings)``, optional: figures that need no training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.clips import Clip
from bgknown.errors import InvalidInputError

Embeddings = Mapping[str, NDArray[np.float32]]
"""Embeddings [n, D] of each signal of a task's clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is published about a task."""

    name: str
    """Name of the task, and of its folder below ``--data``."""
    title: str
    """What it is, in one line."""
    metric: str
    """What is measured."""
    classes: int
    """Published number of classes."""
    counts: dict[str, int]
    """Published number of clips of each part."""
    duration_s: float | None
    """Length that every clip is cut or padded to, s; None for its own."""
    lr: float
    """Learning rate of the probe."""
    licence: str
    """Licence of the audio."""
    citation: str
    """What to cite."""
    url: str
    """Where to get it, or how it is made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """One way to make a clip's features of its signals' embeddings: one of them, or one minus another."""

    name: str
    """Its name in results."""
    about: str
    """What it means."""
    signal: str
    """The signal whose embeddings are taken."""
    minus: str = ""
    """The signal whose embeddings are subtracted; empty for none."""
    minus_rows: NDArray[np.int64] | None = None
    """[n] the clip whose embedding is subtracted from each clip's; its own by default."""

    def features(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """[n, D] what the probe gets; raw embeddings are subtracted, before any standardisation."""
        if not self.minus:
            return embeddings[self.signal]
        other = embeddings[self.minus]
        return embeddings[self.signal] - (other if self.minus_rows is None else other[self.minus_rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One division into clips to train on and clips to test."""

    name: str
    """Its name in results."""
    train: NDArray[np.int64]
    """Rows to train on."""
    test: NDArray[np.int64]
    """Rows to test."""
    valid: NDArray[np.int64] | None = None
    """Rows that decide when to stop; None where a part of the training rows is held out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskData:
    """A task on disk."""

    facts: TaskFacts
    """The published facts."""
    root: Path
    """Its folder."""
    table: pd.DataFrame
    """One row per clip: clip_id, label, and what else the task knows."""
    signals: dict[str, list[Clip]]
    """The audio of each signal, row by row."""
    settings: list[Setting]
    """The settings to measure."""
    folds: list[Fold]
    """The divisions; a score is the mean over them."""
    sha256: str
    """Fingerprint of the table and all audio, as far as the task lists it."""
    skipped: int = 0
    """Clips that are left out because they are broken."""
    leak_check: str = ""
    """Outcome of looking for sources that are on both sides of a split: ``ok``, or what was found."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user: what could not be measured, and why."""

    def classes(self) -> list[str]:
        """The labels in the order of their indices: the sorted union over the whole table."""
        return sorted(set(self.table["label"]))

    def labels(self) -> NDArray[np.int64]:
        """[n] label indices."""
        place = {label: i for i, label in enumerate(self.classes())}
        return np.array([place[label] for label in self.table["label"]], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """A figure of every test clip that needed no training, such as the rank of the right answer."""

    setting: str
    """The setting."""
    metrics: dict[str, NDArray[np.float64]]
    """For each metric, [q] the score of each query, 0..1."""
    rows: NDArray[np.int64]
    """[q] the clips that were asked for."""
    predicted: list[str]
    """[q] the clip that came first."""


class Task(Protocol):
    """A module of ``benchmark.tasks``."""

    FACTS: TaskFacts
    NEEDS: tuple[str, ...]
    index: Callable[..., TaskData]


def check_folds(data: TaskData) -> None:
    """Refuse a division in which a class cannot be learned or a part is empty.

    Raises:
        InvalidInputError: names the fold and the classes.
    """
    labels = data.table["label"].to_numpy()
    for fold in data.folds:
        where = f"{data.root}: task {data.facts.name}" + (f", fold {fold.name}" if len(data.folds) > 1 else "")
        for part, rows in (("training", fold.train), ("test", fold.test)):
            if len(rows) == 0:
                raise InvalidInputError(f"{where}: no clips in the {part} part")
        unknown = sorted(set(labels[fold.test]) - set(labels[fold.train]))
        if unknown:
            raise InvalidInputError(
                f"{where}: {_listed(unknown)} in the test part but not in training; "
                f"a probe cannot learn them: repair the table, or leave these clips out"
            )


def _listed(classes: Sequence[str]) -> str:
    named = ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
    return f"class{'es' * (len(classes) > 1)} {named} {'are' if len(classes) > 1 else 'is'}"
