"""One row of results: its columns, and what each may hold.

Scores of metrics that are shares (accuracy, recall) are in percent 0..100 in these rows and in everything made from
them, like the paper's tables; per-clip scores (``benchmark.results.run_folder``) are shares 0..1. Ranks are ranks.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from benchmark.predictions import COSINE
from bgknown.errors import InvalidInputError
from bgknown.settings import is_optional, resolve_hints, strip_optional

SOURCES = ("measured", "paper")
RANKS = ("mean rank", "median rank")
"""Metrics that are ranks, not shares: the smaller the better."""
UNSCALED = (*RANKS, COSINE)
"""Metrics that are given as they are; all others are shares, given as percent."""
OF_ITS_TASKS = "that of its tasks"
"""Outcome of the leak check of an average over tasks that are not all ``ok``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One figure, with all that is needed to find it again; the fields are the columns of the CSV."""

    encoder: str
    """Name of the encoder."""
    checkpoint_sha256: str = ""
    """SHA-256 of its weights; empty where there are none."""
    task: str
    """Name of the task."""
    setting: str
    """The setting of the task."""
    metric: str
    """What was measured."""
    mean: float
    """Mean over seeds, percent; of a paired gain such as ``a* - mix`` the difference in percentage points."""
    low: float | None = None
    """Lower end of the 95 % interval over test clips by groups, percent; of the paper's rows that which it prints,
    which is over seeds."""
    high: float | None = None
    """Upper end of it."""
    std: float | None = None
    """Standard deviation over seeds; None for fewer than two."""
    seeds: int | None = None
    """Number of seeds; 0 where nothing was trained."""
    alpha: float | None = None
    """Weight of the background, where it was chosen: the median over probes."""
    strength: float | None = None
    """Inverse strength of the regularisation of logistic regression (C): the median over probes."""
    lr: float | None = None
    """Learning rate of the probe."""
    converged: float | None = None
    """Share 0..1 of the probes that ended by their own rule, not at the last epoch or iteration; None where unknown."""
    n_test: int | None = None
    """Number of test clips."""
    n_groups: int | None = None
    """Number of groups that the interval resamples, of the grouping that gives the wider interval."""
    n_skipped: int | None = None
    """Clips left out because they are broken."""
    leak_check: str = ""
    """Outcome of looking for sources on both sides of a split."""
    protocol: str
    """Name of the protocol."""
    dataset_sha256: str = ""
    """Fingerprint of the dataset."""
    version: str = ""
    """Version of this software."""
    commit: str = ""
    """Its git commit, where it runs from a checkout."""
    date: str = ""
    """When it was measured, UTC."""
    seconds: float | None = None
    """Wall time of the whole evaluation that the figure is part of."""
    source: str = "measured"
    """``measured`` here, or from the ``paper``."""

    def __post_init__(self) -> None:
        if fault := _fault(self):
            raise InvalidInputError(f"result row of encoder {self.encoder!r}, task {self.task!r}: {fault}")

    @property
    def run(self) -> tuple[str, ...]:
        """What makes two rows figures of the same run: a later run replaces the earlier with all its rows."""
        return (
            self.encoder,
            self.checkpoint_sha256,
            self.task,
            self.protocol,
            self.dataset_sha256,
            self.source,
        )

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two rows the same figure."""
        return (*self.run, self.setting, self.metric)


COLUMNS = tuple(field.name for field in dataclasses.fields(ResultRow))
COLUMNS_OF_0_1_0 = (
    *("encoder", "checkpoint_sha256", "task", "setting", "metric", "mean", "std", "ci95_low", "ci95_high", "boot_low"),
    *("boot_high", "seeds", "n_test", "n_skipped", "leak_check", "lr", "protocol", "dataset_sha256", "version"),
    *("commit", "date", "seconds", "source"),
)
"""Columns of earlier tables: ``ci95`` is over seeds, ``boot`` over clips that count as independent."""
_HINTS = resolve_hints(ResultRow)
KINDS = {name: strip_optional(hint) for name, hint in _HINTS.items()}
"""The type of each column, without None."""
_OPTIONAL = {name for name, hint in _HINTS.items() if is_optional(hint)}
_NEEDED = ("encoder", "task", "setting", "metric", "protocol")


def _fault(row: ResultRow) -> str:
    """What is wrong with a row's values; empty for nothing."""
    for name in KINDS:
        if fault := _fault_of(name, getattr(row, name)):
            return fault
    if row.source not in SOURCES:
        return f"source is {row.source!r}, must be {' or '.join(SOURCES)}"
    if row.converged is not None and row.converged > 1:
        return f"converged is {row.converged}, must be in 0..1"
    if row.low is not None and row.high is not None and row.low > row.high:
        return f"low is {row.low} and high {row.high}; low must not be above high"
    return ""


def _fault_of(name: str, value: Any) -> str:
    kind, fault = KINDS[name], ""
    if kind is str:
        if not isinstance(value, str) or len(value.splitlines()) > 1 or value != value.strip():
            fault = f"{name} is {value!r}, must be one line without spaces around it"
    elif value is None:
        fault = "" if name in _OPTIONAL else f"{name} is missing"
    elif kind is float and not math.isfinite(value):
        fault = f"{name} is {value}, must be a finite number"
    elif (kind is int or name == "converged") and value < 0:
        fault = f"{name} is {value}, must not be negative"
    return fault or (f"{name} is empty" if name in _NEEDED and not value else "")


def format_mean(row: ResultRow) -> str:
    """A row's mean with as many decimals as its unit deserves."""
    return f"{row.mean:.3f}" if row.metric == COSINE else f"{row.mean:.1f}"
