"""Two encoders, or two settings, against each other, clip by clip."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.predictions import PREDICTIONS, read_predictions
from benchmark.results.rows import ResultRow, read_rows
from benchmark.results.run_folder import run_name
from benchmark.results.stats import DRAWS, PairedResult, compare_paired
from benchmark.text_tables import align_columns
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import suggest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of two sides on the same test clips; scores are percent."""

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
    """Score of the first, percent: the mean over seeds and folds, as on the leaderboard."""
    mean_b: float
    """Score of the second, percent."""
    result: PairedResult
    """Their difference, first minus second, percent, with interval, p-value and counts of clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One encoder on one task: a folder of predictions."""

    folder: Path
    rows: list[ResultRow]

    @property
    def row(self) -> ResultRow:
        """Any of its rows, for what they share."""
        return self.rows[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """What one of the two names stands for."""

    name: str
    runs: list[_Run]
    setting: str
    is_run: bool


def compare(
    out: Path, a: str, b: str, *, task: str | None = None, draws: int = DRAWS, seed: int = 0
) -> list[Comparison]:
    """Paired tests of two sides on every task, setting and metric that both have.

    Each side is an encoder (as the leaderboard calls it), ``encoder:setting``, or the folder of a run, by its name
    below ``OUT/runs`` or by its path, also with ``:setting``. With a setting on one side only, both take that setting.
    Encoders are compared where dataset and protocol are the same; runs that are named may differ in protocol.

    Args:
        out: folder of results.
        a: the first side.
        b: the second side.
        task: only this task.
        draws: resamples of the intervals, and random flips of the tests.
        seed: of both.

    Raises:
        NotFoundError: a name is unknown (says which are close), or both sides have nothing in common.
        InvalidInputError: the two are the same, a name means several checkpoints, or datasets or clips differ.
    """
    if task is not None:
        _known("task", task, dict.fromkeys(row.task for row in read_rows(out)))
    sides = [_side(out, name) for name in (a, b)]
    found = []
    for runs in _pairs(sides[0], sides[1], task):
        tables = [read_predictions(run.folder) for run in runs]
        for metric, *settings in _settings(sides, runs):
            if runs[0].folder == runs[1].folder and settings[0] == settings[1]:
                raise InvalidInputError(f"{a} and {b} are the same; name two encoders, or two settings as NAME:SETTING")
            clips = [_per_clip(table, metric, setting) for table, setting in zip(tables, settings, strict=True)]
            gone = [str(run.folder) for run, part in zip(runs, clips, strict=True) if part.empty]
            if gone:  # a later run with fewer settings has replaced the folder, but not their rows
                names = "/".join(dict.fromkeys(settings))
                log.warning("%s, %s: not compared, %s lacks it; run it again", names, metric, gone[0])
                continue
            _check_clips(clips, f"{a} and {b}, task {runs[0].row.task}, {metric}")
            result = compare_paired(clips[0].to_numpy(), clips[1].to_numpy(), draws=draws, seed=seed)
            found.append(_comparison(runs, metric, settings, [float(part.mean()) for part in clips], result))
    if not found:
        have = [f"{side.name} has {'/'.join(_settings_of(side.runs))}" for side in sides]
        raise NotFoundError(f"{a} and {b} have no setting and metric to compare; {', '.join(have)}")
    return found


def _comparison(
    runs: Sequence[_Run], metric: str, settings: Sequence[str], means: Sequence[float], result: PairedResult
) -> Comparison:
    one, two = (run.row for run in runs)
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
    )


def format_comparison(comparisons: Sequence[Comparison]) -> str:
    """Comparisons as an aligned table, with a heading for each pair of sides and task."""
    groups: dict[str, list[Comparison]] = {}
    for one in comparisons:
        where = f", dataset {one.dataset_sha256[:8]}" if one.dataset_sha256 else ""
        title = f"{one.task}: A = {one.a}, B = {one.b}, protocol {one.protocol}{where}"
        groups.setdefault(title, []).append(one)
    header = ["setting", "metric", "A %", "B %", "A - B", "95 % CI", "p", "clips", "A better", "B better", "alike"]
    parts = []
    for title, members in groups.items():
        parts.append(f"{title}\n{align_columns(header, [_line(one) for one in members], left=2)}")
    note = "A - B with its paired bootstrap interval over clips; p: sign-flip test (~: from random flips)"
    return "\n\n".join([*parts, note]) + "\n"


def _line(one: Comparison) -> list[str]:
    result = one.result
    p = "< 0.0001" if result.p < 1e-4 else f"{result.p:.4f}"
    return [
        one.setting_a if one.setting_a == one.setting_b else f"{one.setting_a} - {one.setting_b}",
        one.metric,
        f"{one.mean_a:.2f}",
        f"{one.mean_b:.2f}",
        f"{result.mean:+.2f}",
        f"{result.ci95_low:+.2f} .. {result.ci95_high:+.2f}",
        p if result.exact else f"~{p}",
        *(str(count) for count in (result.n, result.wins, result.losses, result.ties)),
    ]


def _side(out: Path, name: str) -> _Side:
    """Find a name: all of it as it stands, or what is before its last colon with a setting after it."""
    stem, colon, setting = name.rpartition(":")
    for candidate, chosen in ((name, ""), (stem, setting)):
        if candidate and (colon or candidate == name):
            runs, is_run = _named(out, candidate)
            if runs:
                if chosen:
                    _known(f"setting of {candidate}", chosen, _settings_of(runs))
                return _Side(name=name, runs=runs, setting=chosen, is_run=is_run)
    known = [row.encoder for row in read_rows(out)] + [run.folder.name for run in _runs(out)]
    _known("encoder or run", stem if stem in known else name, dict.fromkeys(known))
    raise NotFoundError(f"{name}: its folder of predictions is missing below {out / 'runs'}; run the benchmark again")


def _named(out: Path, name: str) -> tuple[list[_Run], bool]:
    """Runs of an encoder, or the one run whose folder this is, and whether it is the latter."""
    runs = _runs(out)
    found = [run for run in runs if run.row.encoder == name]
    if found:
        return found, False
    folder = Path(name)
    if not (folder / PREDICTIONS).is_file():
        return [run for run in runs if run.folder.name == name], True
    folder = folder.resolve()
    found = [run for run in _runs(folder.parent.parent) if run.folder.name == folder.name]
    if not found:
        raise NotFoundError(f"{folder}: no row of {folder.parent.parent / 'leaderboard.csv'} belongs to this run")
    return found, True


def _runs(out: Path) -> list[_Run]:
    """The runs that have rows in the leaderboard and predictions beside them."""
    runs: dict[Path, list[ResultRow]] = {}
    for row in read_rows(out):
        name = run_name(
            encoder=row.encoder,
            checkpoint_sha256=row.checkpoint_sha256,
            task=row.task,
            protocol=row.protocol,
            dataset_sha256=row.dataset_sha256,
        )
        runs.setdefault(out.resolve() / "runs" / name, []).append(row)
    return [_Run(folder=folder, rows=rows) for folder, rows in runs.items() if (folder / PREDICTIONS).is_file()]


def _pairs(a: _Side, b: _Side, task: str | None) -> list[tuple[_Run, _Run]]:
    """Runs of the same task and dataset, and of the same protocol unless both were named."""
    pairs = []
    same_task = [(one, two) for one in a.runs for two in b.runs if one.row.task == two.row.task]
    if not same_task:
        tasks = ["/".join(dict.fromkeys(run.row.task for run in side.runs)) for side in (a, b)]
        raise NotFoundError(f"{a.name} was measured on {tasks[0]}, {b.name} on {tasks[1]}: no task in common")
    for one, two in same_task:
        same_protocol = one.row.protocol == two.row.protocol or (a.is_run and b.is_run)
        if one.row.dataset_sha256 == two.row.dataset_sha256 and same_protocol and task in {None, one.row.task}:
            pairs.append((one, two))
    if not pairs:
        raise InvalidInputError(_nothing_alike(a, b, [pair for pair in same_task if task in {None, pair[0].row.task}]))
    keys = [(one.row.task, one.row.dataset_sha256, one.row.protocol) for one, _ in pairs]
    for key in keys:
        for side, place in ((a, 0), (b, 1)):
            folders = sorted({pair[place].folder.name for pair, other in zip(pairs, keys, strict=True) if other == key})
            if len(folders) > 1:
                raise InvalidInputError(
                    f"{side.name} names {len(folders)} checkpoints on task {key[0]}; give one run: {', '.join(folders)}"
                )
    return pairs


def _nothing_alike(a: _Side, b: _Side, pairs: Sequence[tuple[_Run, _Run]]) -> str:
    """Why runs of the same task cannot be compared."""
    if not pairs:
        return f"{a.name} and {b.name} were not both measured on this task; leave --task out to see what they share"
    one, two = (run.row for run in pairs[0])
    if one.dataset_sha256 != two.dataset_sha256:
        what, values = "datasets", (one.dataset_sha256[:8], two.dataset_sha256[:8])
    else:
        what, values = "protocols", (one.protocol, two.protocol)
    return (
        f"task {one.task}: {a.name} and {b.name} were measured on different {what} ({values[0]!r} and {values[1]!r}); "
        "measure both on the same"
    )


def _settings(sides: Sequence[_Side], runs: Sequence[_Run]) -> list[tuple[str, str, str]]:
    """Metric, setting of the first and setting of the second, for all that both have, in the first's order."""
    chosen = [sides[0].setting or sides[1].setting, sides[1].setting or sides[0].setting]
    wanted = [(row.metric, row.setting, chosen[1] or row.setting) for row in runs[0].rows]
    have = {(row.metric, row.setting) for row in runs[1].rows}
    return [(metric, one, two) for metric, one, two in wanted if chosen[0] in {"", one} and (metric, two) in have]


def _per_clip(table: pd.DataFrame, metric: str, setting: str) -> pd.Series:
    """Score of each clip, percent, weighted so that their mean is the mean over seeds and folds of a fold's mean."""
    part = table[(table["setting"] == setting) & (table["metric"] == metric)]
    sizes = part.groupby(["seed", "fold"])["score"].transform("size")
    cells = len(part[["seed", "fold"]].drop_duplicates())
    clips = (part["score"] / sizes).groupby(part["clip_id"]).sum()
    return clips * (100.0 * len(clips) / max(1, cells))


def _check_clips(parts: Sequence[pd.Series], what: str) -> None:
    """Refuse sides that were tested on different clips; both are sorted by clip."""
    if np.array_equal(parts[0].index, parts[1].index):
        return
    lone = sorted(set(parts[0].index) ^ set(parts[1].index))
    raise InvalidInputError(
        f"{what}: tested on {len(parts[0])} and {len(parts[1])} clips, {len(lone)} of them by one side only, the first "
        f"{lone[0]}; measure both on the same clips"
    )


def _settings_of(runs: Iterable[_Run]) -> list[str]:
    return list(dict.fromkeys(row.setting for run in runs for row in run.rows))


def _known(what: str, name: str, names: Iterable[str]) -> None:
    """Refuse a name that is not among those there are."""
    names = list(names)
    if name not in names:
        raise NotFoundError(f"no {what} {name!r}; {suggest(name, names)}")
