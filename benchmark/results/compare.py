"""Two encoders, or two settings, compared clip by clip.

A comparison of two encoders has many figures. Key figures come first, p-values are corrected for the number of tests
that are shown (Holm), and controls have no p-value: they are measured to put the others in perspective, so which
encoder has the better control is not a claim.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.predictions import list_groupings, read_predictions, score_clips
from benchmark.results.key_figures import CHANCE, is_control, order_compared
from benchmark.results.paired import PairedResult, compare_paired, correct_by_holm
from benchmark.results.row import RANKS, UNSCALED
from benchmark.results.rows import read_rows
from benchmark.results.runs import MeasuredRun
from benchmark.results.sides import Side, check_known, find_side, list_compared_settings, pair_runs
from benchmark.results.stats import DRAWS
from benchmark.text_tables import align_columns
from bgknown.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of two sides on the same test clips; scores are percent, ranks are ranks."""

    task: str
    """The task."""
    metric: str
    """The metric."""
    protocol: str
    """The protocol, or both where they differ."""
    dataset_sha256: str
    """Fingerprint of the dataset, the same for both."""
    a: str
    """The first encoder."""
    setting_a: str
    """Its setting."""
    b: str
    """The second encoder."""
    setting_b: str
    """Its setting."""
    mean_a: float
    """Score of the first: the mean over seeds and folds, as on the leaderboard."""
    mean_b: float
    """Score of the second."""
    result: PairedResult
    """Their difference, first minus second, with interval, p-value and counts of clips and groups."""
    is_control: bool = False
    """Whether both settings are controls, so that the difference is not a claim."""
    corrected_p: float | None = None
    """The p-value corrected for all that are shown; None for a control."""


def compare(
    out: Path,
    a: str,
    b: str,
    *,
    task: str | None = None,
    metric: str | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Comparison]:
    """Paired tests of two sides on every task, setting and metric that both have, key figures first.

    Each side is an encoder (by its name on the leaderboard), ``encoder:setting``, or the folder of a run, by its name
    below ``OUT/runs`` or by its path, also with ``:setting``. With a setting on one side only, both take that setting.
    Encoders are compared where dataset and protocol are the same; runs that are named may differ in protocol.

    Args:
        out: folder of results.
        a: the first side.
        b: the second side.
        task: only this task.
        metric: only this metric; p-values are then corrected for fewer tests.
        draws: number of random flips of the tests.
        seed: of the random flips.

    Raises:
        NotFoundError: a name is unknown (says which are close), or both sides have nothing in common.
        InvalidInputError: the two are the same, a name means several checkpoints, or datasets or clips differ.
    """
    if task is not None:
        check_known("task", task, dict.fromkeys(row.task for row in read_rows(out)))
    if metric is not None:
        check_known("metric", metric, dict.fromkeys(row.metric for row in read_rows(out)))
    sides = [find_side(out, name) for name in (a, b)]
    found = []
    for runs in pair_runs(sides[0], sides[1], task):
        tables = [read_predictions(run.folder) for run in runs]
        for name, *settings in _list_settings(sides, runs, metric):
            if runs[0].folder == runs[1].folder and settings[0] == settings[1]:
                raise InvalidInputError(f"{a} and {b} are the same; name two encoders, or two settings as NAME:SETTING")
            clips = [score_clips(table, setting, name) for table, setting in zip(tables, settings, strict=True)]
            gone = [str(run.folder) for run, part in zip(runs, clips, strict=True) if part.empty]
            if gone:  # a later run with fewer settings has replaced the folder, but not their rows
                shown = "/".join(dict.fromkeys(settings))
                log.warning("%s, %s: not compared, missing from %s; run it again", shown, name, gone[0])
                continue
            _check_clips(clips, f"{a} and {b}, task {runs[0].row.task}, {name}")
            groupings = max((list_groupings(table, clips[0].index) for table in tables), key=len)
            found.append(_compare(runs, name, settings, clips, groupings, draws=draws, seed=seed))
    if not found:
        have = [f"{side.name} has {'/'.join(list_compared_settings(side.runs))}" for side in sides]
        raise NotFoundError(f"{a} and {b} have no setting and metric to compare; {', '.join(have)}")
    return _correct(found)


def _compare(
    runs: Sequence[MeasuredRun],
    metric: str,
    settings: Sequence[str],
    clips: Sequence[pd.Series],
    groupings: Sequence[Sequence[str]],
    *,
    draws: int,
    seed: int,
) -> Comparison:
    one, two = (run.row for run in runs)
    is_rank = metric in RANKS
    result = compare_paired(clips[0].to_numpy(), clips[1].to_numpy(), groupings, draws=draws, seed=seed)
    if is_rank:  # the smaller rank is the better one
        result = dataclasses.replace(result, wins=result.losses, losses=result.wins)
    if metric not in UNSCALED:
        result = _convert_to_percent(result)
    means = [float(part.mean()) * (1 if metric in UNSCALED else 100) for part in clips]
    return Comparison(
        task=one.task,
        metric=metric,
        protocol=" and ".join(dict.fromkeys([one.protocol, two.protocol])),
        dataset_sha256=one.dataset_sha256,
        a=one.encoder,
        setting_a=settings[0],
        b=two.encoder,
        setting_b=settings[1],
        mean_a=means[0],
        mean_b=means[1],
        result=result,
        is_control=all(is_control(setting) for setting in settings),
    )


def _convert_to_percent(result: PairedResult) -> PairedResult:
    low, high = (None if end is None else 100 * end for end in (result.low, result.high))
    return dataclasses.replace(result, mean=100 * result.mean, low=low, high=high)


def _correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons in the order in which they are shown, with corrected p-values of all that are not controls."""
    tasks = list(dict.fromkeys(_title(one) for one in comparisons))
    ordered = sorted(
        comparisons, key=lambda one: (tasks.index(_title(one)), *order_compared(one.task, one.setting_a, one.metric))
    )
    corrected = iter(correct_by_holm([one.result.p for one in ordered if not one.is_control]))
    return [one if one.is_control else dataclasses.replace(one, corrected_p=next(corrected)) for one in ordered]


def _title(one: Comparison) -> str:
    where = f", dataset {one.dataset_sha256[:8]}" if one.dataset_sha256 else ""
    return f"{one.task}: A = {one.a}, B = {one.b}, protocol {one.protocol}{where}"


HEADER = ("setting", "metric", "A", "B", "A - B", "95 % interval", "p", "Holm's p")
COUNTS = ("groups", "clips", "A better", "B better", "equal")
COMPARISON_NOTES = (
    "scores in percent; A - B: its interval and p-value are by groups of clips (source, speaker, background)",
    "p: sign-flip test (~: from random flips); Holm's p: corrected for all {count} tests here",
    "(control): not a claim, so not tested",
)


def format_comparison(comparisons: Sequence[Comparison]) -> str:
    """Comparisons as an aligned table, with a heading for each pair of sides, task and protocol."""
    parts: dict[str, list[Comparison]] = {}
    for one in comparisons:
        parts.setdefault(_title(one), []).append(one)
    tables = [
        f"{title}\n{align_columns([*HEADER, *COUNTS], [_format_line(one) for one in members], left=2)}"
        for title, members in parts.items()
    ]
    notes = "\n".join(COMPARISON_NOTES).format(count=sum(not one.is_control for one in comparisons))
    return "\n\n".join([*tables, notes]) + "\n"


def _format_line(one: Comparison) -> list[str]:
    result = one.result
    name = one.setting_a if one.setting_a == one.setting_b else f"{one.setting_a} vs {one.setting_b}"
    interval = "" if result.low is None else f"[{result.low:+.1f}, {result.high:+.1f}]"
    return [
        f"{name} (control)" if one.is_control else name,
        one.metric,
        f"{one.mean_a:.1f}",
        f"{one.mean_b:.1f}",
        f"{result.mean:+.1f}",
        interval,
        "" if one.is_control else ("" if result.exact else "~") + _format_p(result.p),
        "" if one.corrected_p is None else _format_p(one.corrected_p),
        *(str(count) for count in (result.n_groups, result.n, result.wins, result.losses, result.ties)),
    ]


def _format_p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _list_settings(
    sides: Sequence[Side], runs: Sequence[MeasuredRun], metric: str | None
) -> list[tuple[str, str, str]]:
    """Metric, setting of the first and setting of the second, for all that both have, in the first's order."""
    rows = [[row for row in run.rows if row.setting != CHANCE and metric in {None, row.metric}] for run in runs]
    chosen = [sides[0].setting or sides[1].setting, sides[1].setting or sides[0].setting]
    of_first = [(row.metric, row.setting, chosen[1] or row.setting) for row in rows[0]]
    of_second = {(row.metric, row.setting) for row in rows[1]}
    return [(name, one, two) for name, one, two in of_first if chosen[0] in {"", one} and (name, two) in of_second]


def _check_clips(parts: Sequence[pd.Series], what: str) -> None:
    """Refuse sides that were tested on different clips; both are sorted by clip."""
    if np.array_equal(parts[0].index, parts[1].index):
        return
    lone = sorted(set(parts[0].index) ^ set(parts[1].index))
    raise InvalidInputError(
        f"{what}: tested on {len(parts[0])} and {len(parts[1])} clips, {len(lone)} of them by one side only, the first "
        f"{lone[0]}; measure both on the same clips"
    )
