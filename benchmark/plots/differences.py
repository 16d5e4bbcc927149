"""Differences between encoders on the same clips, with their intervals and corrected p-values."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.plots.material import ComparableGroup, Drawing, Material, name_gain_unit
from benchmark.plots.points import draw_forest
from benchmark.results.key_figures import COMPARED, find_family, is_control
from benchmark.results.paired import compare_paired, correct_by_holm
from benchmark.results.ranks import SIGNIFICANT
from benchmark.results.row import RANKS, UNSCALED
from benchmark.results.stats import Groupings
from bgknown.errors import NotFoundError

ABOUT = "paired differences between encoders, as a forest plot"
MOST_PAIRED = 4
"""Up to so many encoders all pairs are compared; of more, each with the first."""
MOST_SETTINGS = 4
_LEGEND = (f"Holm's p <= {SIGNIFICANT:g}", f"Holm's p > {SIGNIFICANT:g}")
COLUMNS = [
    *("task", "protocol", "dataset_sha256", "setting", "metric", "a", "b"),
    *("mean", "low", "high", "p", "holm_p", "clear", "n_test", "n_groups"),
]


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group of at least two encoders with predictions."""
    drawings = []
    for group in material.groups:
        if len(group.encoders) < 2:
            continue
        lines = [line for setting in _choose_settings(group) for line in _compare(material, group, setting)]
        if not lines:
            continue
        all_pairs = len(group.encoders) <= MOST_PAIRED
        whom = "all pairs" if all_pairs else f"each minus {group.encoders[0].name}"
        title = group.title(f"paired differences between encoders ({whom}), 95 % intervals by groups of clips")
        drawings.append(
            Drawing(
                stem=group.stem("differences"),
                table=pd.DataFrame(lines, columns=COLUMNS),
                draw=functools.partial(
                    draw_forest,
                    title=title,
                    names=("a", "b") if all_pairs else ("a",),
                    label=name_gain_unit(group.metric),
                    legend=_LEGEND,
                ),
            )
        )
    if not drawings:
        why = f" ({material.clips.note})" if material.clips.note else ""
        raise NotFoundError(
            f"no two encoders were measured on the same clips by the same protocol{why}; `benchmark run --encoder A "
            f"--encoder B` measures two"
        )
    return drawings


def _choose_settings(group: ComparableGroup) -> list[str]:
    """The settings in which a difference is a claim, key figures first."""
    names = [*group.settings, *group.gains]
    first = [name for name in COMPARED.get(find_family(group.task), ()) if name in names and not is_control(name)]
    rest = [name for name in names if not is_control(name)] or names
    return [group.setting, *(name for name in first or rest if name != group.setting)][:MOST_SETTINGS]


def _compare(material: Material, group: ComparableGroup, setting: str) -> list[list[object]]:
    """A line for each pair of encoders that have a setting; p-values are corrected over these pairs."""
    key = (setting, group.metric)
    there = [encoder for encoder in group.encoders if key in encoder.rows]
    found = material.clips.collect([encoder.rows[key] for encoder in there])
    if found is None:
        return []
    _, scores, groupings = found
    pairs = list(itertools.combinations(range(len(there)), 2))
    if len(there) > MOST_PAIRED:
        pairs = [(number, 0) for number in range(1, len(there))]
    results = [_test(scores, pair, groupings, group.metric) for pair in pairs]
    corrected = correct_by_holm([float(result[3]) for result in results])
    return [
        [
            *(group.task, group.protocol, group.dataset_sha256, *key, there[one].name, there[two].name),
            *result[:4],
            holm,
            int(holm <= SIGNIFICANT),
            *result[4:],
        ]
        for (one, two), result, holm in zip(pairs, results, corrected, strict=True)
    ]


def _test(
    scores: NDArray[np.float64], pair: tuple[int, int], groupings: Groupings, metric: str
) -> Sequence[float | int]:
    """Mean difference, low, high, p, clips and groups, in the unit of the leaderboard."""
    unit = (1.0 if metric in UNSCALED else 100.0) * (-1.0 if metric in RANKS else 1.0)  # ranks are kept as negatives
    result = compare_paired(scores[pair[0]], scores[pair[1]], groupings)
    ends = sorted(np.nan if end is None else unit * end for end in (result.low, result.high))
    return [unit * result.mean, *ends, result.p, result.n, result.n_groups]
