"""The figures of one encoder on one task."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.resuming import Resuming


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """A metric in one setting."""

    setting: str
    """The setting."""
    metric: str
    """The metric."""
    by_seed: list[float]
    """The score of each seed, 0..1, averaged over its folds; one value where nothing was trained."""
    by_clip: NDArray[np.float64]
    """[n] the score of each test clip, averaged over its seeds."""
    seeds: int
    """Number of seeds; 0 where nothing was trained."""
    lr: float | None
    """Learning rate of the probes; where each probe chose its own, the median."""
    groupings: tuple[NDArray[np.str_], ...] = ()
    """For each grouping of the clips (source, background) [n] the group of each; empty: its own."""
    alpha: float | None = None
    """Weight of the background where it was chosen: the median over probes."""
    strength: float | None = None
    """Inverse strength of the regularisation (C): the median over probes."""
    converged: float | None = None
    """Share of the probes that ended by their own rule; None where nothing was trained, or it is unknown."""
    n_test: int | None = None
    """Number of test clips, where ``by_clip`` does not give it because the metric is not a mean over clips."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The figures of one encoder on one task, and how they came about."""

    scores: list[Score]
    """One per setting and metric."""
    predictions: pd.DataFrame
    """One row per setting, metric, seed and test clip."""
    seconds: float
    """Wall time."""
    chosen: list[dict[str, str | int | float]] = field(default_factory=list)
    """Setting, fold, seed and learning rate of each probe, where probes chose theirs."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Further tables by the names of their files."""
    notes: list[str] = field(default_factory=list)
    """Sentences on clips that are silent or beyond full scale."""
    resuming: Resuming | None = None
    """Stored states of the training; to be forgotten once the figures are written."""
