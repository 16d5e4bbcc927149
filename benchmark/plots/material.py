"""What figures are drawn from: rows of results grouped by what may share an axis, and the files of their runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.results.clip_scores import ClipScores
from benchmark.results.key_figures import METRICS, ORDER, find_family, is_gain
from benchmark.results.merge import read_results
from benchmark.results.row import RANKS, UNSCALED, ResultRow
from benchmark.results.runs import find_folder
from benchmark.results.sides import check_known
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.figures.saving import FIGURE_FORMATS
from bgknown.userpath import expand_fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_COLUMNS = (
    *("task", "protocol", "dataset_sha256", "encoder", "checkpoint_sha256", "setting", "metric"),
    *("mean", "low", "high", "n_test", "n_groups"),
)
"""Columns that the tables of most figures begin with: those of ``leaderboard.csv``, with display names of encoders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotOptions:
    """What is drawn, and how it is written."""

    outs: tuple[Path, ...]
    """Folders of results."""
    to: Path | None = None
    """Folder of the figures; None for ``plots`` in the first folder of results."""
    formats: tuple[str, ...] = FIGURE_FORMATS
    """Formats of the figures."""
    task: str | None = None
    """Only this task."""
    metric: str | None = None
    """This metric in place of the task's first."""
    setting: str | None = None
    """The setting of figures that show one; None for the one that ranks encoders."""
    encoders: tuple[str, ...] = ()
    """Only these encoders; none for all."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Display names of encoders."""

    def __post_init__(self) -> None:
        expand_fields(self, "outs", "to")
        if not self.outs:
            raise InvalidInputError("no folder of results is given")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """One figure that can be made."""

    stem: str
    """Name of its files without their ends."""
    table: pd.DataFrame
    """What it is drawn from, and nothing else."""
    draw: Callable[[pd.DataFrame], Figure]
    """Draws the table, in the style of ``bgknown.figures``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredEncoder:
    """One encoder of a group."""

    name: str
    """Its display name; with its checkpoint where others have the same name."""
    rows: dict[tuple[str, str], ResultRow]
    """Its rows by setting and metric, in the order in which they were measured."""
    folder: Path | None
    """The folder of its run; None if the predictions are missing."""

    @property
    def row(self) -> ResultRow:
        """The first of its rows, for what all of them share."""
        return next(iter(self.rows.values()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparableGroup:
    """Encoders that were measured on the same task and dataset by the same protocol, the best first."""

    task: str
    """The task."""
    protocol: str
    """The protocol."""
    dataset_sha256: str
    """The dataset."""
    metric: str
    """The metric of figures that show one."""
    setting: str
    """The setting of figures that show one."""
    encoders: list[MeasuredEncoder]
    """The encoders, at least one."""

    @property
    def settings(self) -> list[str]:
        """The settings that have the metric, without gains, in the order in which they were measured."""
        known = dict.fromkeys(key for encoder in self.encoders for key in encoder.rows)
        return [setting for setting, metric in known if metric == self.metric and not is_gain(setting)]

    @property
    def gains(self) -> list[str]:
        """The gains that have the metric."""
        known = dict.fromkeys(key for encoder in self.encoders for key in encoder.rows)
        return [setting for setting, metric in known if metric == self.metric and is_gain(setting)]

    def tabulate(self, settings: Iterable[str]) -> pd.DataFrame:
        """The figures of some settings, with ``ROW_COLUMNS``, encoder by encoder."""
        found = [
            (encoder, encoder.rows[setting, self.metric])
            for encoder in self.encoders
            for setting in settings
            if (setting, self.metric) in encoder.rows
        ]
        return tabulate_rows(found)

    def title(self, what: str) -> str:
        """A title: what is shown, and of what."""
        where = f", dataset {self.dataset_sha256[:8]}" if self.dataset_sha256 else ""
        return f"{self.task}: {what}, protocol {self.protocol}{where}"

    def stem(self, kind: str, *more: str) -> str:
        """The name of a figure's files, of letters, digits, ``_`` and ``-`` only."""
        parts = [kind, *more, self.task, self.protocol, self.dataset_sha256[:8]]
        clean = [re.sub(r"[^A-Za-z0-9_.]+", "-", part)[-40:].strip("-_.") for part in parts]
        return "-".join(part for part in clean if part)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The results that figures are drawn from."""

    options: PlotOptions
    """What is drawn."""
    groups: list[ComparableGroup]
    """The results, at least one group."""
    clips: ClipScores
    """Scores of clips, from the predictions."""
    notes: list[str] = field(default_factory=list)
    """What is missing in figures that are drawn all the same."""

    def read_tables(
        self, group: ComparableGroup, file: str, read: Callable[[Path], pd.DataFrame], *, kind: str
    ) -> pd.DataFrame:
        """The tables of one name in the folders of a group's runs, joined, with what identifies each run in front.

        Runs without the table are named in the notes; the result is empty if there is none at all.

        Args:
            group: the runs.
            file: the name of the table.
            read: reads one.
            kind: the figure, for the notes.
        """
        paths = [None if one.folder is None else one.folder / file for one in group.encoders]
        found = [(one, path) for one, path in zip(group.encoders, paths, strict=True) if path and path.is_file()]
        if not found:
            return pd.DataFrame()
        without = [one for one in group.encoders if one not in [encoder for encoder, _ in found]]
        if without:
            self.notes.append(f"{kind}: {list_names(without)}: {file} is missing; `benchmark run --again` writes it")
        tables = []
        for encoder, path in found:
            table = read(path)
            for place, name in enumerate(ROW_COLUMNS[:5]):
                table.insert(place, name, encoder.name if name == "encoder" else getattr(encoder.row, name))
            tables.append(table)
        return pd.concat(tables, ignore_index=True)


def read_material(options: PlotOptions) -> Material:
    """Read results.

    Raises:
        NotFoundError: there are no results, or a name is unknown; says which are close.
        InvalidInputError: two encoders have the same display name, or a file is damaged.
    """
    rows = [row for row in read_results(options.outs) if row.source == "measured"]
    for what, value in (("task", options.task), ("metric", options.metric), ("setting", options.setting)):
        if value is not None:
            check_known(what, value, dict.fromkeys(str(getattr(row, what)) for row in rows))
    for name in (*options.encoders, *options.names):
        check_known("encoder", name, dict.fromkeys(row.encoder for row in rows))
    runs: dict[tuple[str, str, str], dict[tuple[str, str], list[ResultRow]]] = {}
    for row in rows:
        if options.task in {None, row.task} and (not options.encoders or row.encoder in options.encoders):
            members = runs.setdefault((row.task, row.protocol, row.dataset_sha256), {})
            members.setdefault((row.encoder, row.checkpoint_sha256), []).append(row)
    groups = [group for key, found in runs.items() if (group := _make_group(key, found, options)) is not None]
    if not groups:
        raise NotFoundError(f"{options.outs[0]}: no results of these encoders, task and metric; choose others")
    return Material(options=options, groups=groups, clips=ClipScores(options.outs))


def _make_group(
    key: tuple[str, str, str], runs: Mapping[tuple[str, str], list[ResultRow]], options: PlotOptions
) -> ComparableGroup | None:
    """A group with its encoders in order; None if it lacks the metric."""
    task, protocol, dataset = key
    known = [(row.setting, row.metric) for rows in runs.values() for row in rows]
    metrics = list(dict.fromkeys(metric for _, metric in known))
    metric = options.metric or next((name for name in METRICS if name in metrics), metrics[0])
    settings = list(dict.fromkeys(setting for setting, name in known if name == metric))
    if not settings:
        return None
    wanted = (options.setting, ORDER.get(find_family(task)))
    setting = next((name for name in wanted if name in settings), settings[0])
    names = _name_encoders(list(runs), options.names)
    encoders = [
        MeasuredEncoder(
            name=names[run],
            rows={(row.setting, row.metric): row for row in rows},
            folder=find_folder(rows[0], options.outs),
        )
        for run, rows in runs.items()
    ]
    sign = 1.0 if metric in RANKS else -1.0
    encoders.sort(key=lambda one: sign * one.rows[setting, metric].mean if (setting, metric) in one.rows else 0.0)
    encoders.sort(key=lambda one: (setting, metric) not in one.rows)
    return ComparableGroup(
        task=task, protocol=protocol, dataset_sha256=dataset, metric=metric, setting=setting, encoders=encoders
    )


def _name_encoders(runs: Sequence[tuple[str, str]], names: Mapping[str, str]) -> dict[tuple[str, str], str]:
    counts = [encoder for encoder, _ in runs]
    shown = {
        (encoder, checkpoint): names.get(encoder, encoder)
        + (f" [{checkpoint[:8] or 'no weights'}]" if counts.count(encoder) > 1 else "")
        for encoder, checkpoint in runs
    }
    texts = list(shown.values())
    repeated = next((text for text in texts if texts.count(text) > 1), None)
    if repeated is not None:
        raise InvalidInputError(f"two encoders are both called {repeated!r} in one figure; give them different names")
    return shown


def tabulate_rows(found: Sequence[tuple[MeasuredEncoder, ResultRow]]) -> pd.DataFrame:
    """Rows of encoders as a table with ``ROW_COLUMNS``."""
    table = pd.DataFrame(
        [
            [encoder.name if column == "encoder" else getattr(row, column) for column in ROW_COLUMNS]
            for encoder, row in found
        ],
        columns=list(ROW_COLUMNS),
    )
    numbers = {name: table[name].astype("float64") for name in ("mean", "low", "high")}
    counts = {name: table[name].astype("Int64") for name in ("n_test", "n_groups")}
    return table.assign(**numbers, **counts)


def name_unit(metric: str) -> str:
    """A metric with its unit, for an axis."""
    return metric if metric in UNSCALED else f"{metric} (%)"


def name_gain_unit(metric: str) -> str:
    """The unit of a difference of two values of a metric."""
    return f"difference in {metric}" + ("" if metric in UNSCALED else " (percentage points)")


def list_names(encoders: Iterable[MeasuredEncoder], most: int = 3) -> str:
    """The first few names of encoders, and how many more there are."""
    names = [encoder.name for encoder in encoders]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
