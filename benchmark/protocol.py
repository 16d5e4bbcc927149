"""Protocols: how a task's probes are trained, by name or from a TOML file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from bgknown.documents import read_toml
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.nearest import suggest
from bgknown.settings import read_record
from bgknown.userpath import user_path

TEXT_ENCODER = "distilbert-base-uncased"
"""The text encoder of the paper."""
TEXT_MARK = "text "
"""What begins the part of a protocol's name that says which other text encoder was taken."""
PLAIN_SETTING = "clip"
"""Setting of a task that has only one, a clip's own embedding; columns of tables need not say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSettings:
    """How systems of retrieval with a text modifier are trained."""

    size: int = 512
    """H, values of the shared space."""
    dropout: float = 0.1
    """Share of the adapters' second products that is dropped in training."""
    temperature: float = 0.07
    """Of the contrastive loss, at the start; it is learned."""
    epochs: int = 300
    """Epochs."""
    batch_size: int = 256
    """Pairs in a step; the last step of an epoch has what is left."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    validation_share: float = 0.1
    """Share of the training pairs that decides which epoch is tested."""
    contrastive_weight: float = 1.0
    """Of the contrastive loss."""
    classification_weight: float = 1.0
    """Of the classification loss."""

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
        if not 0 <= self.dropout < 1:
            raise InvalidInputError(f"retrieval: dropout is {self.dropout}; it must lie in 0..1, below 1")
        if not 0 < self.validation_share < 1:
            raise InvalidInputError(
                f"retrieval: validation_share is {self.validation_share}; it must lie between 0 and 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How probes are trained and repeated."""

    name: str = "paper"
    """Its name in results."""
    lr: float | None = None
    """Learning rate of Adam; by default the task's own."""
    rates: tuple[float, ...] = ()
    """Learning rates to choose from; a probe is trained with each, and that of smallest validation loss is tested."""
    batch_size: int = 256
    """Clips in a step."""
    max_epochs: int = 200
    """Epochs at most."""
    patience: int = 20
    """Epochs without a lower validation loss after which a probe stops."""
    validation_share: float = 0.1
    """Share of the training clips held out where a task has no validation split."""
    seeds: int = 3
    """How many seeds: 0, 1, ..."""
    retrieval: ComposedSettings = field(default_factory=ComposedSettings)
    """How systems for retrieval with a text modifier are trained."""

    def __post_init__(self) -> None:
        for name in ("seeds", "batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for rate in (*self.rates, *([] if self.lr is None else [self.lr])):
            if not 0.0 < rate < math.inf:
                raise InvalidInputError(f"lr is {rate}; it must be above 0")
        if self.lr is not None and self.rates:
            raise InvalidInputError("lr and rates are both given; give one rate, or those to choose from")
        if len(set(self.rates)) < len(self.rates):
            raise InvalidInputError(f"rates are {list(self.rates)}; each must stand there once")
        if not 0.0 < self.validation_share < 1.0:
            raise InvalidInputError(f"validation_share is {self.validation_share}; it must lie between 0 and 1")


PROTOCOLS = {
    "paper": Protocol(),
    "evar": Protocol(name="evar"),
    "search": Protocol(name="search", rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
}
"""The protocols known by name (PROTOCOL.md, section 3).

``paper`` is that of Takeuchi et al., section 5. ``evar`` is the same with the learning rates that EVAR uses with
BYOL-A, which are those of the nine tasks' ``FACTS``; the paper follows it there, so on those tasks the two are one.
``search`` chooses the rate of every probe by its validation loss.
"""


def choose_protocol(task_protocol: str, given: Protocol | None) -> Protocol:
    """The protocol for a task: the one that was given, or that by which the task's published figures are measured.

    Args:
        task_protocol: name of the latter.
        given: the former; ``paper`` is ``evar`` on the tasks on which the paper follows EVAR.
    """
    if given is None or (given == PROTOCOLS["paper"] and task_protocol == "evar"):
        return PROTOCOLS[task_protocol]
    return given


def open_protocol(name: str) -> Protocol:
    """A protocol by its name, or from a TOML file with some of its fields.

    Results of a file carry its stem and a hash of its settings, so that files that differ are told apart.

    Raises:
        NotFoundError: there is no such name or file.
        InvalidInputError: the file is no TOML, or has unknown keys or values of the wrong type.
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
