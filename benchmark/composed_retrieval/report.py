"""Results of retrieval query by query: breakdowns by kind of change with intervals, and the worst queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.results.stats import estimate_mean, estimate_share
from bgknown.apwd.changes import Change

QUERIES, WORST = "queries.csv", "worst.csv"
"""Files next to the predictions, with ``benchmark.results.run_folder.BREAKDOWN``."""
WORST_COUNT = 10
"""Number of worst queries in the table."""
MAIN = "audio+text"
"""The setting whose worst queries are listed."""


def group_queries(changes: Sequence[tuple[Change, ...]]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Groups of queries by what changes: kind, event or background, one change or several.

    A query with several changes belongs to the group of each of them.

    Yields:
        name and [n] whether a query belongs to it; groups without queries are left out.
    """
    for name in (*_KINDS, *_ROLES, *_NUMBERS):
        inside = np.array([_belongs(name, found) for found in changes])
        if inside.any():
            yield name, inside


_KINDS = ("added", "removed", "louder", "quieter")
_ROLES = ("event", "background")
_NUMBERS = ("one change", "several changes")


def _belongs(name: str, found: Sequence[Change]) -> bool:
    if name in _NUMBERS:
        return len(found) == 1 if name == _NUMBERS[0] else len(found) > 1
    return any(name in each.kind.split("_") for each in found)


def break_down(queries: pd.DataFrame, changes: Sequence[tuple[Change, ...]]) -> pd.DataFrame:
    """R@1, R@10 and mean rank of every setting for each group of queries, with 95 % intervals over queries.

    Args:
        queries: one row per setting, seed and query, with setting, pair and rank; pairs in the order of ``changes``.
        changes: [n] changes of each query.
    """
    pairs = list(dict.fromkeys(queries["pair"]))
    rows = []
    for setting, part in queries.groupby("setting", sort=False):
        scores = {
            "R@1": part.assign(score=(part["rank"] <= 1) * 1.0),
            "R@10": part.assign(score=(part["rank"] <= 10) * 1.0),
            "mean rank": part.assign(score=part["rank"].astype(float)),
        }
        by_metric = {
            metric: table.groupby("pair")["score"].mean().loc[pairs].to_numpy() for metric, table in scores.items()
        }
        for name, inside in group_queries(changes):
            for metric, values in by_metric.items():
                rows.append((setting, name, metric, *_estimate(values[inside], metric), int(inside.sum())))
    columns = ["setting", "changes", "metric", "mean", "low", "high", "n_test"]
    return pd.DataFrame(rows, columns=columns)


def _estimate(values: NDArray[np.float64], metric: str) -> tuple[float, float | None, float | None]:
    """Mean and interval, in percent for shares."""
    unit = 1 if metric == "mean rank" else 100
    found = estimate_mean(values, bounds=(1.0, math.inf)) if unit == 1 else estimate_share(values)
    return unit * found.mean, found.low and unit * found.low, found.high and unit * found.high


def list_worst_queries(queries: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """The queries of largest mean rank over seeds, and what was ranked first instead with their worst seed.

    Args:
        queries: as for ``break_down``, with the pair whose target was ranked ``first``.
        facts: indexed by pair: text, changes, s1 and s2, for a person to listen to.
    """
    part = queries[queries["setting"] == MAIN].reset_index(drop=True)
    mean = part.groupby("pair")["rank"].mean().sort_values(ascending=False, kind="stable").head(WORST_COUNT)
    found = part.loc[part.groupby("pair")["rank"].idxmax().loc[mean.index]].set_index("pair")
    return (
        facts.loc[mean.index, ["text", "changes", "s1", "s2"]]
        .assign(
            mean_rank=mean,
            worst_rank=found["rank"],
            seed=found["seed"],
            retrieved=found["first"],
            retrieved_s2=facts.loc[found["first"], "s2"].to_numpy(),
        )
        .reset_index(names="pair")
    )
