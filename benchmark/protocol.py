"""Protocols: how a task's probes are trained, by name or from a TOML file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bgknown.documents import read_toml, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.nearest import suggest
from bgknown.settings import read_record
from bgknown.userpath import user_path

TEXT_ENCODER = "distilbert-base-uncased"
"""The paper's text encoder."""
TEXT_MARK = "text "
"""Prefix of the part of a protocol's name that names a text encoder other than the paper's."""
PLAIN_SETTING = "clip"
"""Setting of a task with a single setting, the embedding of the clip; tables need not show its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSettings:
    """How systems for retrieval with a text modifier are trained."""

    size: int = 512
    """H, values of the shared space."""
    dropout: float = 0.1
    """Share of the values after the adapters' second Linear that is dropped in training."""
    temperature: float = 0.07
    """Initial temperature of the contrastive loss; it is learned."""
    epochs: int = 300
    """Number of epochs."""
    batch_size: int = 256
    """Pairs in a step; the last step of an epoch takes the rest."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    validation_share: float = 0.1
    """Share of the training pairs that decides which epoch is tested."""
    contrastive_weight: float = 1.0
    """Weight of the contrastive loss."""
    classification_weight: float = 1.0
    """Weight of the classification loss."""
    patience: int = 0
    """Epochs without a smaller validation loss after which a system stops; with 0 it is trained to the last epoch."""

    def __post_init__(self) -> None:
        for name in ("size", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"retrieval: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("temperature", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInputError(f"retrieval: {name} is {getattr(self, name)}; it must be above 0")
        for name in ("contrastive_weight", "classification_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInputError(f"retrieval: {name} is {getattr(self, name)}; it must not be negative")
        if self.patience < 0:
            raise InvalidInputError(f"retrieval: patience is {self.patience}; it must be at least 1, or 0 for none")
        if not 0 <= self.dropout < 1:
            raise InvalidInputError(f"retrieval: dropout is {self.dropout}; it must be at least 0 and below 1")
        if not 0 < self.validation_share < 1:
            raise InvalidInputError(
                f"retrieval: validation_share is {self.validation_share}; it must be between 0 and 1"
            )

    def __repr__(self) -> str:
        """All settings, but not a patience of 0: hashes of settings are those of versions that did not have it."""
        shown = [field.name for field in dataclasses.fields(self) if field.name != "patience" or self.patience]
        return f"ComposedSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


CHOICES = {
    "probe": ("gradient", "logistic"),
    "stop_on": ("loss", "accuracy"),
    "ties": ("first", "last"),
    "loss_mean": ("clips", "clips and classes"),
    "standardise_on": ("train", "train and held-out"),
    "validation_draw": ("stratified", "random"),
}
"""The values of the fields of ``Protocol`` that are chosen from a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How probes are trained and repeated."""

    name: str = "paper"
    """Its name in results."""
    probe: Literal["gradient", "logistic"] = "gradient"
    """What is trained: a linear layer by steps of Adam that stop early, or a penalised logistic regression to its
    optimum, which has no seeds and takes nothing of what follows but ``retrieval``."""
    lr: float | None = None
    """Learning rate of Adam; by default the task's."""
    rates: tuple[float, ...] = ()
    """Learning rates to choose from: a probe is trained with each, and that of smallest validation loss is tested."""
    batch_size: int = 256
    """Clips in a step, or all training clips where they are fewer."""
    max_epochs: int = 200
    """Maximum number of epochs."""
    stop_on: Literal["loss", "accuracy"] = "loss"
    """What is compared between epochs: the validation loss or the validation accuracy. The best epoch is tested."""
    ties: Literal["first", "last"] = "first"
    """Which of equally good epochs is tested; with ``last``, an equally good epoch also restarts the patience."""
    patience: int = 20
    """Epochs without a better one after which a probe stops."""
    weight_decay: float = 0.0
    """L2 penalty as in ``torch.optim.Adam``: this factor of the parameters is added to their gradient."""
    loss_mean: Literal["clips", "clips and classes"] = "clips"
    """What the training loss is averaged over; with classes, gradients are smaller by the number of classes."""
    standardise_on: Literal["train", "train and held-out"] = "train"
    """Which clips give mean and standard deviation: those trained on, or also validation clips that were held out of
    the training part. Clips of a task's official validation split are never among them."""
    validation_draw: Literal["stratified", "random"] = "stratified"
    """How validation clips are held out where a task has no validation split: by class, or at random, repeated until
    every class is among them."""
    validation_share: float = 0.1
    """Share of the training clips that is held out for validation where a task has no validation split."""
    seeds: int = 3
    """Number of seeds: 0, 1, ..."""
    retrieval: ComposedSettings = field(default_factory=ComposedSettings)
    """How systems for retrieval with a text modifier are trained."""

    def __post_init__(self) -> None:
        for name in ("seeds", "batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                given = shorten_value(getattr(self, name))
                raise InvalidInputError(f"{name} is {given}; it must be {' or '.join(map(repr, choices))}")
        for rate in (*self.rates, *([] if self.lr is None else [self.lr])):
            if not 0.0 < rate < math.inf:
                raise InvalidInputError(f"lr is {rate}; it must be above 0")
        if not 0.0 <= self.weight_decay < math.inf:
            raise InvalidInputError(f"weight_decay is {self.weight_decay}; it must not be negative")
        if self.lr is not None and self.rates:
            raise InvalidInputError("lr and rates are both given; give one rate, or those to choose from")
        if len(set(self.rates)) < len(self.rates):
            raise InvalidInputError(f"rates are {list(self.rates)}; each must be given once")
        if not 0.0 < self.validation_share < 1.0:
            raise InvalidInputError(f"validation_share is {self.validation_share}; it must be between 0 and 1")


PROTOCOLS = {
    "linear": Protocol(name="linear", probe="logistic"),
    "paper": Protocol(),
    "evar": Protocol(
        name="evar",
        batch_size=200,
        stop_on="accuracy",
        ties="last",
        weight_decay=1e-8,
        loss_mean="clips and classes",
        standardise_on="train and held-out",
        validation_draw="random",
    ),
    "search": Protocol(name="search", rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
}
"""The protocols known by name (PROTOCOL.md, section 3; benchmark/README.md has a table of their differences).

``paper`` is the text of Takeuchi et al., section 5. ``evar`` is the probe of EVAR's program, which measured the paper's
nine tasks, with the learning rates that EVAR uses with BYOL-A, the ``lr`` of these tasks' ``FACTS``. ``search`` is
``paper`` with the learning rate of every probe chosen by its validation loss.
"""

EVAR_OF_0_1_0 = "evar of 0.1.0"
"""Name in results of what version 0.1.0 called ``evar``: ``paper`` with the learning rates of the nine tasks."""


def name_in_results(protocol: str, version: str) -> str:
    """The name by which rows of some version are known in this one: protocols that differ never share a name.

    Args:
        protocol: name in a row, with its marks (``evar, seeds 1``).
        version: version of this software that measured the row.
    """
    name, *marks = protocol.split(", ")
    return ", ".join([EVAR_OF_0_1_0 if (name, version) == ("evar", "0.1.0") else name, *marks])


def name_when_measured(protocol: str) -> str:
    """The name that a protocol had when its rows were measured, by which folders of runs are named."""
    name, *marks = protocol.split(", ")
    return ", ".join(["evar" if name == EVAR_OF_0_1_0 else name, *marks])


def choose_protocols(task_protocols: Sequence[str], given: Sequence[Protocol]) -> list[Protocol]:
    """The protocols for a task: the given ones, or those by which it is measured by default.

    Args:
        task_protocols: names of the latter.
        given: the former.
    """
    return list(given) or [PROTOCOLS[name] for name in task_protocols]


def open_protocol(name: str) -> Protocol:
    """A protocol by its name, or from a TOML file with some of its fields.

    Results of a file are named by its stem and a hash of its settings, so different files have different names.

    Raises:
        NotFoundError: there is no such name or file.
        InvalidInputError: the file is not TOML, or has unknown keys, or values of the wrong type or out of range.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    path = user_path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise NotFoundError(f"no protocol {name!r}; {suggest(name, PROTOCOLS)}, or give a .toml file")
    given = read_toml(path)
    if given.get("rates") == []:
        raise InvalidInputError(f"{path}: rates is []; it must be a list of numbers")
    protocol = read_record(Protocol, given, str(path), without=("name",))
    values = {key: getattr(protocol, key) for key in given}
    stem = f"{path.stem}-{hash_bytes(repr(sorted(values.items())).encode())[:6]}"
    return dataclasses.replace(protocol, name=stem)
