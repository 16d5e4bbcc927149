"""What `benchmark run` prints of one encoder on one task: the figures to read first, as small tables."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.predictions import COSINE
from benchmark.results.row import RANKS, ResultRow, format_mean
from benchmark.text_tables import align_columns

RIDGE = "ridge "
"""What stands before the metric of the ridge regression that is measured as a check."""
SHOWN = ("clip R@1", "clip R@5", "class R@1", COSINE, "R@1", "R@5", "R@10", *RANKS)
"""Metrics that need no probe and are printed; all others are in the leaderboard's file."""


def format_figures(rows: Sequence[ResultRow], metric: str) -> str:
    """Tables of the figures of one run.

    The first has the probes: a line for each setting with the metric, its 95 % interval over test clips, the ridge
    regression beside it, the weight of the background, and the standard deviation over seeds, as far as there are any.
    The second has the figures that need no probe, a column for each.

    Args:
        rows: all rows of the run.
        metric: the task's metric.
    """
    probes = [row for row in rows if row.metric == metric]
    trained = any(row.lr is not None or row.strength is not None for row in probes)
    tables = []
    if trained:
        ridge = {row.setting: row for row in rows if row.metric == RIDGE + metric}
        columns: list[tuple[str, list[str]]] = [
            ("setting", [row.setting for row in probes]),
            (f"{metric} %", [f"{row.mean:.1f}" for row in probes]),
            ("95 % over clips", [_format_interval(row) for row in probes]),
            ("sd over seeds", ["" if row.std is None else f"{row.std:.1f}" for row in probes]),
            (RIDGE.strip(), [f"{ridge[row.setting].mean:.1f}" if row.setting in ridge else "" for row in probes]),
            ("alpha", ["" if row.alpha is None else f"{row.alpha:g}" for row in probes]),
        ]
        filled = [(name, values) for name, values in columns if any(values)]
        lines = [list(line) for line in zip(*(values for _, values in filled), strict=True)]
        tables.append(align_columns([name for name, _ in filled], lines))
    others = [row for row in rows if row.metric in SHOWN and not (trained and row.metric == metric)]
    if others:
        names = [name for name in SHOWN if any(row.metric == name for row in others)]
        known = {(row.setting, row.metric): row for row in others}
        settings = list(dict.fromkeys(row.setting for row in others))
        lines = [
            [setting, *(format_mean(known[setting, name]) if (setting, name) in known else "" for name in names)]
            for setting in settings
        ]
        heads = [name if name == COSINE or name in RANKS else f"{name} %" for name in names]
        tables.append(align_columns(["setting", *heads], lines))
    return "\n\n".join(tables)


def _format_interval(row: ResultRow) -> str:
    return "" if row.low is None or row.high is None else f"[{row.low:.1f}, {row.high:.1f}]"
