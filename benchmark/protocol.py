"""Protocols: how a task's probes are trained, by name or from a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgknown.documents import read_toml, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
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
        close = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise NotFoundError(f"no protocol {name!r}; {hint}give one of {', '.join(PROTOCOLS)}, or a .toml file")
    given = read_toml(path)
    readers: dict[str, Callable[[str, Any, Path], Any]] = {"rates": _rates, "retrieval": _retrieval}
    values = {key: readers.get(key, _setting)(key, value, path) for key, value in given.items()}
    stem = f"{path.stem}-{hash_bytes(repr(sorted(values.items())).encode())[:6]}"
    return dataclasses.replace(Protocol(**values), name=stem)


def _setting(key: str, value: Any, path: Path) -> Any:
    special = {"lr": float, "rates": tuple, "retrieval": dict}
    kinds = {
        each.name: special.get(each.name, type(each.default))
        for each in dataclasses.fields(Protocol)
        if each.name != "name"
    }
    return _typed(key, value, kinds, str(path))


def _rates(_key: str, value: Any, path: Path) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInputError(f"{path}: rates is {shorten_value(value)}, must be a list of numbers")
    return tuple(_setting("lr", rate, path) for rate in value)


def _retrieval(_key: str, value: Any, path: Path) -> ComposedSettings:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{path}: retrieval is {shorten_value(value)}, must be a table [retrieval]")
    kinds = {each.name: type(each.default) for each in dataclasses.fields(ComposedSettings)}
    where = f"{path}, [retrieval]"
    return ComposedSettings(**{key: _typed(key, found, kinds, where) for key, found in value.items()})


def _typed(key: str, value: Any, kinds: Mapping[str, type], where: str) -> Any:
    """A value of the type that its key asks for; whole numbers serve as numbers."""
    if key not in kinds:
        close = difflib.get_close_matches(key, kinds, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(f"{where}: unknown key {shorten_value(key)}; {hint}there are: {', '.join(kinds)}")
    kind = kinds[key]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        wanted = "a number" if kind is float else "a whole number"
        raise InvalidInputError(f"{where}: {key} is {shorten_value(value)}, must be {wanted}")
    return kind(value)
