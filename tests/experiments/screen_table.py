"""The table of a screening: means over pre-training seeds, and paired differences with both kinds of interval.

Over seeds: what another pre-training would give; Student's t of the differences between runs of the same seed. Over
sources: what other clips would give; the scores of each clip, averaged over seeds, and differences grouped by source
and by background, of which the wider interval is shown (``benchmark.results.stats``).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmark.results.stats import estimate_mean, summarise
from tests.experiments.screen_runs import VARIANTS

COLUMNS_OF_BGKNOWN = {
    "a": ("a", ""),
    "a*": ("a*", ""),
    "a - mix": ("a", "mix"),
    "a - shuffled": ("a", "shuffled"),
    "clean": ("clean", ""),
}
"""Columns of the table: a setting, and the one that is subtracted from it, clip by clip."""


def tabulate_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """The score of each clip for each column of the table: network, variant, seed, column, clip_id, groups, score.

    Args:
        predictions: encoder (``NETWORK_VARIANT_seedN``), task, setting, clip_id, group, background and score 0..1.
    """
    names = predictions["encoder"].str.extract(r"^(?P<network>[^_]+)_(?P<variant>.+)_seed(?P<seed>\d+)$")
    table = predictions.assign(**{name: names[name] for name in names}).fillna({"group": "", "background": ""})
    keys = ["network", "variant", "seed", "clip_id", "group", "background"]
    bgknown = table[table["task"] == "bgknown"].pivot_table(index=keys, columns="setting", values="score")
    parts = []
    for column, (setting, minus) in COLUMNS_OF_BGKNOWN.items():
        scores = bgknown[setting] - (bgknown[minus] if minus else 0.0)
        parts.append(scores.rename("score").dropna().reset_index().assign(column=column))
    for task, own in table[table["task"] != "bgknown"].groupby("task", sort=False):
        parts.append(own[[*keys, "score"]].assign(column=task))
    place = {name: number for number, name in enumerate(VARIANTS)}
    order = {"by": "variant", "kind": "stable", "key": lambda names: names.map(place)}
    return pd.concat(parts, ignore_index=True).sort_values(**order, ignore_index=True)


def format_means(scores: pd.DataFrame) -> str:
    """Markdown: percent, mean over seeds with the 95 % interval over them."""
    columns = list(dict.fromkeys(scores["column"]))
    lines = _begin("objective", columns)
    for name in dict.fromkeys(scores["variant"]):
        cells = []
        for column in columns:
            part = scores[(scores["variant"] == name) & (scores["column"] == column)]
            over = summarise([100.0 * value for value in part.groupby("seed")["score"].mean()]) if len(part) else None
            half = "" if over is None or over.ci95_high is None else f" ± {over.ci95_high - over.mean:.1f}"
            cells.append("" if over is None else f"{over.mean:.1f}{half}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_differences(scores: pd.DataFrame, reference: str) -> str:
    """Markdown: percentage points above a variant, with the interval over seeds, then the one over sources.

    Args:
        scores: from ``tabulate_scores``.
        reference: the variant.
    """
    others = [name for name in dict.fromkeys(scores["variant"]) if name != reference]
    columns = list(dict.fromkeys(scores["column"]))
    lines = _begin(f"minus {reference}", columns)
    for name in others:
        cells = []
        for column in columns:
            part = scores[scores["column"] == column]
            first, second = (part[part["variant"] == one] for one in (name, reference))
            cells.append(_compare(first, second))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _compare(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """One cell: difference, over seeds, over sources."""
    both = first.merge(second, on=["seed", "clip_id", "group", "background"], suffixes=("", "_of_reference"))
    if both.empty:
        return ""
    both = both.assign(difference=both["score"] - both["score_of_reference"])
    over_seeds = summarise([100.0 * value for value in both.groupby("seed")["difference"].mean()])
    clips = both.groupby(["clip_id", "group", "background"], as_index=False)["difference"].mean()
    groupings = [clips[name].tolist() for name in ("group", "background") if clips[name].any()]
    over_sources = estimate_mean(100.0 * clips["difference"], groupings)
    intervals = [_show(over_seeds.ci95_low, over_seeds.ci95_high), _show(over_sources.low, over_sources.high)]
    return f"{over_seeds.mean:+.1f} {intervals[0]} {intervals[1]}"


def _show(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.1f}, {high:.1f}]"


def _begin(title: str, columns: Sequence[str]) -> list[str]:
    return [f"| {title} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
