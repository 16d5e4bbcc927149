"""Predictions of probes as a table, and scores made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.predictions import MINUS, PREDICTION_COLUMNS, average_by_seed, list_groupings, score_clips
from benchmark.scores import Score
from benchmark.tasks.contract import Fold, TaskData


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """What a probe is for."""

    setting: str
    """The setting."""
    fold: Fold
    """The fold."""
    seed: int | None = None
    """The seed; None where nothing is drawn."""


def tabulate_probes(
    data: TaskData, places: Sequence[Place], predicted: Sequence[NDArray[np.int64]], metric: str
) -> pd.DataFrame:
    """Predictions of probes, one row per probe and test clip.

    Args:
        data: the task.
        places: what each probe is for.
        predicted: for each probe [len(fold.test)] classes.
        metric: name of the metric.
    """
    classes, labels = np.array(data.classes()), data.table["label"].to_numpy()
    tables = []
    for place, answers in zip(places, predicted, strict=True):
        named, right = classes[answers], labels[place.fold.test]
        seed = "" if place.seed is None else place.seed
        tables.append(
            tabulate_clips(
                data, place.fold.test, setting=place.setting, metric=metric, fold=place.fold.name, seed=seed
            ).assign(label=right, predicted=named, score=(named == right).astype(float))
        )
    return pd.concat(tables, ignore_index=True)[PREDICTION_COLUMNS]


def tabulate_clips(data: TaskData, rows: NDArray[np.int64], **facts: str | int) -> pd.DataFrame:
    """A row for each clip with its groups, and with facts that are the same for all of them."""
    table = pd.DataFrame(
        {
            "clip_id": data.table["clip_id"].to_numpy()[rows],
            "group": data.groups()[rows],
            "background": data.backgrounds()[rows],
        }
    )
    return table.assign(encoder="", task=data.facts.name, **facts)


def make_score(
    table: pd.DataFrame,
    setting: str,
    metric: str,
    *,
    seeds: int = 0,
    lr: float | None = None,
    strength: float | None = None,
    alpha: float | None = None,
    converged: float | None = None,
) -> Score:
    """The score of a setting, or of a gain such as ``a* - mix``, from a table of predictions.

    Args:
        table: predictions of a task.
        setting, metric: which of them.
        seeds: number of seeds; 0 where nothing is drawn. What is not listed here is as in ``Score``.
    """
    by_clip = score_clips(table, setting, metric)
    return Score(
        setting=setting,
        metric=metric,
        by_seed=average_by_seed(table, setting, metric),
        by_clip=by_clip.to_numpy(dtype=np.float64),
        groupings=tuple(np.array(names) for names in list_groupings(table, by_clip.index)),
        seeds=seeds,
        lr=lr,
        strength=strength,
        alpha=alpha,
        converged=converged,
    )


def score_gains(table: pd.DataFrame, gains: Iterable[tuple[str, str]], metric: str, *, seeds: int = 0) -> list[Score]:
    """Paired differences between two settings on the same clips.

    Args:
        table: predictions of a task.
        gains: pairs of settings; those of which the table lacks one are left out.
        metric: name of the metric.
        seeds: number of seeds.
    """
    there = set(table["setting"])
    pairs = [f"{first}{MINUS}{second}" for first, second in gains if {first, second} <= there]
    return [make_score(table, pair, metric, seeds=seeds) for pair in pairs]


def take_median(values: Sequence[float]) -> float | None:
    """The lower median; None of no values."""
    return sorted(values)[(len(values) - 1) // 2] if values else None
