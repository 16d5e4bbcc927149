"""Result rows: what was measured, in ``OUT/leaderboard.csv``, and what the paper reports.

Scores of metrics that are shares (accuracy, recall) stand in these rows, and in everything made from them, as percent
0..100 like the paper's tables; per-clip scores (``benchmark.results.run_folder``) are shares 0..1. Ranks stay as they
are.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources
import io
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bgknown
from benchmark.results.run_folder import claim
from benchmark.results.stats import bootstrap_ci, summarise
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, write_whole
from bgknown.jobs.provenance import find_commit, read_clock
from bgknown.settings import is_optional, read_text, resolve_hints, strip_optional
from bgknown.shown import escape_cell, unescape_cell
from bgknown.tables import parse_rows
from bgknown.userpath import user_path

FILE = "leaderboard.csv"
SOURCES = ("measured", "paper")
RANKS = ("mean rank", "median rank")
"""Metrics that are ranks, not shares: the smaller the better."""
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
    """Mean over seeds, percent."""
    std: float | None = None
    """Standard deviation over seeds."""
    ci95_low: float | None = None
    """Lower end of the 95 % confidence interval over seeds."""
    ci95_high: float | None = None
    """Upper end of it."""
    boot_low: float | None = None
    """Lower end of the 95 % bootstrap interval over test clips."""
    boot_high: float | None = None
    """Upper end of it."""
    seeds: int | None = None
    """Number of seeds; 0 where nothing was trained."""
    n_test: int | None = None
    """Number of test clips."""
    n_skipped: int | None = None
    """Clips left out because they are broken."""
    leak_check: str = ""
    """Outcome of looking for sources on both sides of a split."""
    lr: float | None = None
    """Learning rate of the probe."""
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
_HINTS = resolve_hints(ResultRow)
_KINDS = {name: strip_optional(hint) for name, hint in _HINTS.items()}
_OPTIONAL = {name for name, hint in _HINTS.items() if is_optional(hint)}
_NEEDED = ("encoder", "task", "setting", "metric", "protocol")


def make_row(
    *,
    encoder: str,
    checkpoint_sha256: str,
    task: str,
    setting: str,
    metric: str,
    by_seed: Sequence[float],
    by_clip: Sequence[float],
    seeds: int,
    protocol: str,
    dataset_sha256: str,
    n_test: int | None = None,
    n_skipped: int = 0,
    leak_check: str = "",
    lr: float | None = None,
    seconds: float | None = None,
    date: str | None = None,
) -> ResultRow:
    """The row of a score that was measured now by this software.

    Args:
        encoder: name of the encoder; this and what is not listed here is as in ``ResultRow``.
        by_seed: score of each seed, 0..1 or a rank; one value where nothing was trained.
        by_clip: [n] score of each test clip, the mean over its seeds; none where the metric is no mean over clips.
        seeds: number of seeds; 0 where nothing was trained.
        n_test: number of test clips (default: those of ``by_clip``).
        date: when (default: now).

    Raises:
        InvalidInputError: there are no scores, or some are not finite.
    """
    unit = 1 if metric in RANKS else 100
    over_seeds = summarise([unit * float(score) for score in by_seed])
    clips = [unit * float(score) for score in by_clip]
    boot_low, boot_high = bootstrap_ci(clips) if len(clips) > 1 else (None, None)
    return ResultRow(
        encoder=encoder,
        checkpoint_sha256=checkpoint_sha256,
        task=task,
        setting=setting,
        metric=metric,
        mean=over_seeds.mean,
        std=over_seeds.std,
        ci95_low=over_seeds.ci95_low,
        ci95_high=over_seeds.ci95_high,
        boot_low=boot_low,
        boot_high=boot_high,
        seeds=seeds,
        n_test=n_test or len(clips) or None,
        n_skipped=n_skipped,
        leak_check=leak_check,
        lr=lr,
        protocol=protocol,
        dataset_sha256=dataset_sha256,
        version=bgknown.__version__,
        commit=find_commit(),
        date=date or read_clock(),
        seconds=seconds,
    )


def read_rows(path: Path) -> list[ResultRow]:
    """The rows of a leaderboard CSV.

    Args:
        path: the file, or the folder that holds ``leaderboard.csv``.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is damaged; names the line and the column.
        StorageError: it cannot be read.
    """
    path = user_path(path)
    file = path if path.suffix == ".csv" and not path.is_dir() else path / FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"{file}: no such file; `benchmark run --out {file.parent}` makes one") from error
    except OSError as error:
        raise describe_storage_error(error, file) from error
    return list(_parsed(data, str(file)))


def read_paper_rows() -> list[ResultRow]:
    """The results that the paper publishes.

    Raises:
        NotFoundError: the installation lacks them.

    Source: Takeuchi et al., Tables 2 and 3, and section 5.2 for the one figure of Table 1 that the text gives.
    """
    try:
        data = (importlib.resources.files("data_manifests") / "paper_results.csv").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise NotFoundError(
            "data_manifests/paper_results.csv is missing from this installation; install bgknown again"
        ) from error
    return list(_parsed(data, "paper_results.csv"))


def format_rows(rows: Iterable[ResultRow]) -> str:
    """Rows as CSV with a header; floats in the shortest form that gives the same number again, None as empty.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which reading takes off again.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(getattr(row, name)) for name in COLUMNS] for row in rows)
    return text.getvalue()


def add_rows(out: Path, rows: Iterable[ResultRow]) -> Path:
    """Add the rows of runs to ``OUT/leaderboard.csv``; earlier rows of the same runs go, all others are kept.

    Several processes may do so at once, and a kill leaves the old table or the new one.

    Returns:
        The table.

    Raises:
        InvalidInputError: the table there is damaged; it is left as it is.
        StorageError: it cannot be read or written, or another process keeps it locked.
    """
    added = {row.identity: row for row in rows}
    runs = {row.run for row in added.values()}
    with claim(out):
        path = out / FILE
        kept = read_rows(path) if path.exists() else []
        merged = [row for row in kept if row.run not in runs] + list(added.values())
        # settings and metrics stay in the order in which the task gave them
        merged.sort(key=lambda row: (row.task, row.dataset_sha256, row.protocol, row.encoder, row.checkpoint_sha256))
        write_whole(path, format_rows(merged).encode())
    return path


def _fault(row: ResultRow) -> str:
    """What is wrong with a row's values; empty for nothing."""
    for name, kind in _KINDS.items():
        value = getattr(row, name)
        if kind is str:
            if not isinstance(value, str) or len(value.splitlines()) > 1 or value != value.strip():
                return f"{name} is {value!r}, must be one line without spaces around it"
        elif value is None:
            if name not in _OPTIONAL:
                return f"{name} is missing"
        elif kind is float and not math.isfinite(value):
            return f"{name} is {value}, must be a finite number"
        elif kind is int and value < 0:
            return f"{name} is {value}, must not be negative"
        if name in _NEEDED and not value:
            return f"{name} is empty"
    return "" if row.source in SOURCES else f"source is {row.source!r}, must be {' or '.join(SOURCES)}"


def _text(value: object) -> str:
    """A value as it is written; numpy's scalars like Python's."""
    if value is None:
        return ""
    if isinstance(value, str):
        return escape_cell(value)
    return str(int(value)) if isinstance(value, numbers.Integral) else repr(float(value))  # type: ignore[arg-type]


def _parsed(data: bytes, where: str) -> Iterator[ResultRow]:
    advice = "restore it from a copy, or move it away and run the benchmarks again"
    try:
        header, rows = parse_rows(data, where)
        lines = list(rows)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}; {advice}") from error
    if tuple(header) != COLUMNS:
        missing = [name for name in COLUMNS if name not in header]
        fault = f"column {missing[0]} is missing" if missing else "the columns are not those of this version"
        raise InvalidInputError(f"{where}, line 1: {fault}; {advice}")
    seen: dict[tuple[str, ...], int] = {}
    for number, line in lines:
        if len(line) != len(COLUMNS):
            column = COLUMNS[min(len(line), len(COLUMNS) - 1)]  # the first without a value, or the last
            fault = f"{len(line)} values instead of {len(COLUMNS)}, column {column} is wrong"
            raise InvalidInputError(f"{where}, line {number}: {fault}; {advice}")
        try:
            values = {name: _value(name, text) for name, text in zip(COLUMNS, line, strict=True)}
            row = ResultRow(**values)  # type: ignore[arg-type]
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}, line {number}: {error}; {advice}") from error
        if row.identity in seen:
            raise InvalidInputError(f"{where}, line {number}: the same figure as line {seen[row.identity]}; {advice}")
        seen[row.identity] = number
        yield row


def _value(name: str, text: str) -> str | int | float | None:
    kind = _KINDS[name]
    if kind is str:
        return unescape_cell(text)
    value: int | float | None = read_text(kind, text, name) if text else None
    return value
