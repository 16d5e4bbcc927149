"""What a task is: clips, their labels and splits, and the settings in which encoders are measured on it.

Each task is a module of ``benchmark.tasks``, all with the same names:

- ``FACTS``: what is published about it (``TaskFacts``);
- ``SETTINGS``: what is measured on it, by name: what it means, the signal, and the signal that is subtracted;
- ``index(root)``: a folder in its owner's layout to a table with one row per clip: ``file`` (relative to the folder),
  ``label``, ``split`` (train, valid, test) or ``fold``, and ``group``: what must not be on both sides of a split, such
  as the speaker; ``benchmark.tasks.labelled`` makes a ``TaskData`` of it;
- or, where clips have several signals, ``prepare(root, options)``, which makes the ``TaskData`` itself, and ``NEEDS``:
  names of other data that it can use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.embedding import texts
from benchmark.embedding.clips import Clip
from benchmark.protocol import PLAIN_SETTING, TEXT_ENCODER, TEXT_MARK
from bgknown.errors import InvalidInputError
from bgknown.seeding import draw_ranks
from bgknown.shown import escape_line
from bgknown.userpath import expand_fields

PLAIN = {PLAIN_SETTING: ("the clip itself", "audio", "")}
"""Settings of a task that has only one."""

Embeddings = Mapping[str, NDArray[np.float32]]
"""Embeddings of each signal of a task's clips: [n, D], and a row more for every further view of a clip."""

Remainder = Callable[[NDArray[np.float32], NDArray[np.float32] | None], NDArray[np.float32]]
"""What takes the place of the subtraction: from a signal [n, D], and the other one or None, to features [n, D]."""


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
    """Published number of clips of each part: ``train``, ``valid``, ``test``, ``fold 1``, ..., or ``clips`` for all."""
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
    protocols: tuple[str, ...] = ("linear",)
    """Names of the protocols by which it is measured unless others are given."""
    groups: str = "sources"
    """What must not be on both sides of a split, in the plural."""

    def size(self) -> str:
        """Published number of clips in words."""
        if all(part.startswith("fold ") for part in self.counts):
            return f"{sum(self.counts.values()):,} clips in {len(self.counts)} folds"
        return ", ".join(f"{count:,} {part}" for part, count in self.counts.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What may be said about how a task is read."""

    cache: Path
    """Cache folder, in which headers of files are remembered."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Folders of other corpora by their names."""
    limit: int | None = None
    """Use at most this many clips, of as many classes as possible and all parts."""
    splits: Path | None = None
    """A table (file_name, label, and split or fold) to take in place of the task's own labels and splits."""
    skip_broken: bool = False
    """Leave out clips that are missing or cannot be read, and count them."""
    broken: Mapping[Path, str] = field(default_factory=dict)
    """Files that are known to be unusable, and why."""
    shuffle_labels: bool = False
    """Control: give every clip the label of another one of the same part, so that there is nothing to learn."""
    text_encoder: str = TEXT_ENCODER
    """What embeds the texts of tasks that have some: a folder, or an id on the hub."""
    text_pooling: str = "mean"
    """``mean`` of the tokens, or ``cls``."""
    device: str = "cpu"
    """Where texts are embedded."""

    def __post_init__(self) -> None:
        expand_fields(self, "cache", "data", "splits")


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
    alphas: tuple[float, ...] = (1.0,)
    """Weights of what is subtracted; where there are several, one is chosen inside the training part."""
    tested: Setting | None = None
    """The setting whose test clips are predicted, where that is another than the one that is trained on."""
    remainder: Remainder | None = None
    """What takes the place of the subtraction, such as a head; None for the subtraction."""

    def features(self, embeddings: Embeddings, alpha: float = 1.0) -> NDArray[np.float32]:
        """The signal minus alpha times the other, a row for every view, before any standardisation.

        With ``remainder``, what that makes of the two.
        """
        other = embeddings[self.minus] if self.minus else None
        if other is not None and self.minus_rows is not None:
            other = other[self.minus_rows]
        if self.remainder is not None:
            return self.remainder(embeddings[self.signal], other)
        if other is None or alpha == 0.0:
            return embeddings[self.signal]
        return embeddings[self.signal] - np.float32(alpha) * other


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
class Bands:
    """Rows divided by a number, such as the SNR of a mixture."""

    names: tuple[str, ...]
    """The bands, in ascending order."""
    places: NDArray[np.int64]
    """[n] the band of each row; -1 for none."""


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
    """The audio of each signal, row by row; further views of some clips may follow."""
    settings: list[Setting]
    """The settings to measure."""
    folds: list[Fold]
    """The divisions; a score is the mean over them."""
    sha256: str
    """Fingerprint of the table and all audio, as far as the task lists it."""
    sha256_of_0_1_0: str = ""
    """The fingerprint that version 0.1.0 gave it, where that was another; its rows in tables of results have that."""
    skipped: int = 0
    """Clips that are left out because they are broken."""
    leak_check: str = ""
    """Outcome of looking for sources that are on both sides of a split: ``ok``, or what was found."""
    in_part: bool = False
    """Whether other clips are measured than the published corpus has: some are missing, broken or past the limit."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user: what could not be measured, and why."""
    training_rows: NDArray[np.int64] | None = None
    """[n] the view of each clip that is trained on, where it is another than the one that is tested."""
    measures: Callable[[TaskData, Embeddings, Mapping[str, float]], list[Measure]] | None = None
    """Figures that need no probe, given the weights of the background that probes of some settings chose."""
    gains: tuple[tuple[str, str], ...] = ()
    """Pairs of settings whose paired difference is a figure of its own."""
    bands: Bands | None = None
    """Bands of SNR by which scores are also tabulated."""
    text_encoder: texts.TextEncoder | None = None
    """What embeds the texts of a task of retrieval with a text modifier; such a task has no probes."""

    @property
    def variant(self) -> str:
        """What of a task is not as in the figures that are published for it; a part of the name of its protocol."""
        if self.text_encoder is None or (self.text_encoder.name, self.text_encoder.pooling) == (TEXT_ENCODER, "mean"):
            return ""
        pooling = "" if self.text_encoder.pooling == "mean" else f" {self.text_encoder.pooling}"
        return f"{TEXT_MARK}{self.text_encoder.name}{pooling}"

    def classes(self) -> list[str]:
        """The labels in the order of their indices: the sorted union over the whole table."""
        return sorted(set(self.table["label"]))

    def labels(self) -> NDArray[np.int64]:
        """[n] label indices."""
        place = {label: i for i, label in enumerate(self.classes())}
        return np.array([place[label] for label in self.table["label"]], dtype=np.int64)

    def groups(self) -> NDArray[np.str_]:
        """[n] what each clip comes from (source, speaker, recording, tone); empty where that is not known."""
        return self._texts("group")

    def backgrounds(self) -> NDArray[np.str_]:
        """[n] the recording of each clip's background; empty for tasks without backgrounds."""
        return self._texts("background")

    def clips(self) -> NDArray[np.str_]:
        """[n] the clip of each row: rows that are several draws of one clip have the same."""
        return self._texts("clip" if "clip" in self.table else "clip_id")

    def trained_on(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The views of some clips that are trained on."""
        return rows if self.training_rows is None else self.training_rows[rows]

    def _texts(self, column: str) -> NDArray[np.str_]:
        if column not in self.table:
            return np.full(len(self.table), "", dtype=np.str_)
        return self.table[column].to_numpy(dtype=np.str_)

    def view_labels(self) -> NDArray[np.int64]:
        """Label indices of all views."""
        labels = self.labels()
        if self.training_rows is None:
            return labels
        further = np.flatnonzero(self.training_rows >= len(labels))
        return np.concatenate([labels, labels[further[np.argsort(self.training_rows[further])]]])


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
    SETTINGS: dict[str, tuple[str, str, str]]


def shuffle_labels(labels: pd.Series, parts: pd.Series, names: pd.Series) -> pd.Series:
    """Labels shuffled among the clips of each part (split or fold), by the clips' names.

    Every part keeps its number of clips of each class; only the relation between audio and label is lost.
    """
    order = pd.Series(draw_ranks(0, "shuffled labels", names.tolist()), index=labels.index)
    shuffled = labels.copy()
    for _, part in order.groupby(parts):
        shuffled.loc[part.index] = labels.loc[part.sort_values().index].to_numpy()
    return shuffled


def check_folds(data: TaskData) -> None:
    """Check that every part has clips and every class can be learned.

    Raises:
        InvalidInputError: names the fold and the classes.
    """
    labels = data.table["label"].to_numpy()
    for fold in data.folds:
        where = f"{data.root}: task {data.facts.name}" + (f", fold {fold.name}" if len(data.folds) > 1 else "")
        for part, rows in (("training", fold.train), ("test", fold.test)):
            if len(rows) == 0:
                raise InvalidInputError(f"{where}: no clips in the {part} part")
        for part, judged in (("test", fold.test), ("validation", fold.valid)):
            unknown = [] if judged is None else sorted(set(labels[judged]) - set(labels[fold.train]))
            if unknown:
                raise InvalidInputError(
                    f"{where}: {format_classes(unknown)} in the {part} part but not in training; "
                    f"a probe cannot learn them: repair the table, or remove these clips"
                )


def format_classes(classes: Sequence[str]) -> str:
    """The first few classes and a verb, for messages: ``classes a, b and 3 more are``."""
    named = ", ".join(map(escape_line, classes[:5])) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
    return f"class{'es' * (len(classes) > 1)} {named} {'are' if len(classes) > 1 else 'is'}"
