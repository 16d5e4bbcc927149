"""The configuration of a training run: records whose defaults are the paper's, and TOML files that change them.

A file holds the tables ``[front_end]``, ``[views]``, ``[network]``, ``[objective]`` and ``[training]``; keys that
are left out keep their defaults, and unknown keys are errors. The configurations ``paper``, ``small`` and ``smoke`` are
such files, in ``pretrain/configurations``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Self

from bgknown.documents import parse_toml
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error
from bgknown.settings import check_above, check_at_least, check_one_of, check_within, list_tables, read_record
from bgknown.tables import decode_text
from bgknown.userpath import user_path
from pretrain.frontend import FrontEnd
from pretrain.networks import NETWORKS
from pretrain.views import ViewSettings

OPTIONAL = {"optional": True}
"""Marks settings beyond the paper that are stored only where they differ from their default."""
NAMES = ("paper", "small", "smoke")
"""The configurations that come with the software."""
DOMAINS = ("normalised", "power")
SUBTRACTIONS = ("gamma", "learned")
DECIDED = ("float32", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Which encoder is trained."""

    name: str = "AudioNTT2022"
    """AudioNTT2022, or AudioNTT2020."""
    d: int = 3_072
    """Size of the embedding, D."""
    hidden: int = 2_048
    """Units of the first linear layer; AudioNTT2020 has d of them."""

    def __post_init__(self) -> None:
        check_one_of("network.name", self.name, NETWORKS)
        check_at_least("network.d", self.d, 1)
        check_at_least("network.hidden", self.hidden, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """The losses."""

    lambda_: float = 0.5
    """Weight of the difference loss, 0..1; BYOL's loss gets the rest, and 0 is BYOL-A. Called lambda in files."""
    gamma_low: float = 0.4
    """Smallest share of the other clip in a mixture."""
    gamma_high: float = 0.6
    """Largest share of the other clip in a mixture."""
    mix_domain: str = "normalised"
    """Domain of mixing: normalised, the views as they are (the paper); or power, their un-normalised power."""
    reference_shift_s: float = 0.0
    """Largest time shift of the subtracted reference, in s; 0 subtracts the same views (the paper)."""
    target_decay: float = 0.99
    """Decay of the target network's moving average."""
    head_hidden: int = 4_096
    """Hidden units of projector and predictors."""
    projection: int = 256
    """Size of the projections that are compared, P."""
    subtraction: str = field(default="gamma", metadata=OPTIONAL)
    """What is compared in the difference loss: gamma, f(w) - gamma f(s(v)) (the paper); or learned, W1 f(w) -
    W2 f(s(v)) with two matrices that are trained along and not part of the encoder."""
    stop_gradient: bool = field(default=False, metadata=OPTIONAL)
    """Whether f(s(v)) is taken as given in the difference loss: no gradient flows through it."""
    reverse: float = field(default=0.0, metadata=OPTIONAL)
    """Share of the reverse prediction in the difference loss, 0..1: f(w) - (1 - gamma) f(v) predicts the target of
    s(v); 0 is off."""
    contrast: float = field(default=0.0, metadata=OPTIONAL)
    """Weight of the contrastive term next to the difference loss: the remainder after the right background must be
    nearer to the target than that after another mixture's; 0 is off."""
    contrast_temperature: float = field(default=0.2, metadata=OPTIONAL)
    """Temperature of the contrastive term, above 0."""

    def __post_init__(self) -> None:
        check_within("objective.lambda", self.lambda_, 0.0, 1.0)
        if not 0.0 < self.gamma_low <= self.gamma_high < 1.0:
            raise InvalidInputError(
                f"objective.gamma_low and gamma_high are {self.gamma_low} and {self.gamma_high}; "
                f"both must be above 0 and below 1, the lower first"
            )
        check_one_of("objective.mix_domain", self.mix_domain, DOMAINS)
        check_within("objective.reference_shift_s", self.reference_shift_s, 0.0, 60.0)
        check_within("objective.target_decay", self.target_decay, 0.0, 1.0)
        check_at_least("objective.head_hidden", self.head_hidden, 1)
        check_at_least("objective.projection", self.projection, 2)
        check_one_of("objective.subtraction", self.subtraction, SUBTRACTIONS)
        check_within("objective.reverse", self.reverse, 0.0, 1.0)
        check_at_least("objective.contrast", self.contrast, 0.0)
        check_above("objective.contrast_temperature", self.contrast_temperature, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How long, how large, how precise."""

    batch: int = 256
    """Clips per step, over all processes."""
    accumulate: int = 1
    """Number of parts in which the batch of a step is processed, to save memory. BatchNorm, the shift within the batch
    and the normalisation of views then use one part, as with a batch of that size."""
    epochs: int = 100
    """Passes over the corpus."""
    steps: int = 0
    """Number of steps, in place of epochs; 0 counts in epochs."""
    frames: int = 96
    """Frames of a crop, T; 96 are 0.95 s."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    seed: int = 0
    """Seed of the weights and of every draw."""
    statistics_crops: int = 10_000
    """Number of crops from which mean and standard deviation of the log-mel are computed."""
    precision: str = "auto"
    """float32; bf16, the networks' arithmetic under autocast (losses, mixing and log-mel stay float32); or auto, the
    faster of the two on the machine that starts the run; it is stored, and kept when the run resumes."""
    channels_last: bool = True
    """Whether convolutions keep channels innermost in memory."""
    compile: bool = False
    """Whether to use torch.compile; for runs of one process."""
    log_every: int = 20
    """Steps from one line of the log to the next."""
    checkpoint_every: int = 1_000
    """Steps from one checkpoint to the next; the last step always writes one."""

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "epochs", "statistics_crops", "log_every", "checkpoint_every"):
            check_at_least(f"training.{name}", getattr(self, name), 1)
        check_at_least("training.steps", self.steps, 0)
        check_at_least("training.frames", self.frames, 8)
        check_above("training.learning_rate", self.learning_rate, 0.0)
        check_one_of("training.precision", self.precision, ("auto", *DECIDED))
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise InvalidInputError(
                f"training.batch is {self.batch} in {self.accumulate} parts; "
                f"the parts must be equal, of at least 2 clips: BatchNorm and the shift need several"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that determines a run, except the corpus and the machine."""

    front_end: FrontEnd = field(default_factory=FrontEnd)
    views: ViewSettings = field(default_factory=ViewSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if self.crop_samples < self.front_end.shortest:
            raise InvalidInputError(
                f"training.frames is {self.training.frames}, crops of {self.crop_samples} samples; a transform of "
                f"front_end.n_fft {self.front_end.n_fft} needs {self.front_end.shortest} or more: raise training.frames"
            )
        part = self.training.batch // self.training.accumulate
        if self.objective.contrast and part < 3:
            raise InvalidInputError(
                f"objective.contrast is {self.objective.contrast} with {part} clips in a batch or its part; "
                f"the background of another mixture needs at least 3: raise training.batch"
            )

    @property
    def crop_samples(self) -> int:
        """Samples of a crop, N."""
        return (self.training.frames - 1) * self.front_end.hop

    def total_steps(self, clips: int) -> int:
        """Number of steps on a corpus of ``clips`` clips; batches may span the ends of epochs."""
        return self.training.steps or max(1, self.training.epochs * clips // self.training.batch)

    def tables(self, *, complete: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration as the tables of a file.

        Settings marked as ``OPTIONAL`` are left out at their defaults, so that runs which do not use them are stored
        byte for byte as by earlier versions, and runs of those versions resume.

        Args:
            complete: whether to list them too.
        """
        tables: dict[str, dict[str, Any]] = list_tables(self)
        for table in () if complete else fields(self):
            record = getattr(self, table.name)
            for setting in fields(record):
                if setting.metadata.get("optional") and getattr(record, setting.name) == setting.default:
                    del tables[table.name][setting.name]
        return tables

    def with_tables(self, tables: Mapping[str, Any], where: str) -> Self:
        """The configuration with some values changed.

        Args:
            tables: values by table and name.
            where: what the values were given in, for messages.

        Raises:
            InvalidInputError: a table or name is unknown, or a value is of another type or out of range.
        """
        return read_record(type(self), tables, where, base=self)

    def as_toml(self, *, complete: bool = False) -> str:
        """The configuration as a file; ``complete`` as for ``tables``."""
        return "\n".join(
            f"[{table}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
            for table, values in self.tables(complete=complete).items()
        )


def list_unused_settings() -> dict[str, Any]:
    """The settings that are stored only where they are used, by ``table.key``, with the values of runs without them."""
    stored, complete = Config().tables(), Config().tables(complete=True)
    return {
        f"{table}.{key}": value
        for table, values in complete.items()
        for key, value in values.items()
        if key not in stored[table]
    }


def read_config(name: str, changes: Iterable[str] = ()) -> Config:
    """A configuration by its name or from a file, with single values changed.

    Args:
        name: ``paper``, ``small``, ``smoke``, or the path of a ``.toml`` file.
        changes: such as ``training.batch=32``; values as in TOML, text also without quotes.

    Raises:
        NotFoundError: the configuration or file does not exist.
        InvalidInputError: it is not TOML, or a name or value in it is wrong.
    """
    text, where = _read_text(name)
    tables = parse_toml(text, where)
    config = Config().with_tables(tables, where)
    given = list(changes)
    together: dict[str, dict[str, Any]] = {}  # applied at once: two values may only make sense with each other
    for change in given:
        for table, values in _parse_change(change).items():
            together.setdefault(table, {}).update(values)
    return config.with_tables(together, ", ".join(given)) if given else config


def _read_text(name: str) -> tuple[str, str]:
    if name in NAMES:
        return (resources.files("pretrain") / "configurations" / f"{name}.toml").read_text(encoding="utf-8"), name
    path = user_path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise NotFoundError(f"{name}: no such configuration; give {', '.join(NAMES)}, or a .toml file that exists")
    try:
        return decode_text(path.read_bytes(), name), name
    except OSError as error:
        raise describe_storage_error(error, path) from error


def _parse_change(change: str) -> dict[str, dict[str, Any]]:
    """``training.batch=32`` as tables."""
    place, given, value = change.partition("=")
    table, dot, key = place.strip().partition(".")
    if not given or not dot:
        raise InvalidInputError(f"{change!r}: write TABLE.KEY=VALUE, for example training.batch=64")
    try:
        parsed = parse_toml(f"value = {value}", change)["value"]
    except InvalidInputError:
        parsed = value.strip()
    return {table: {key: parsed}}
