"""Result rows: what was measured, in ``OUT/leaderboard.csv``, and what the paper reports."""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources
import io
import math
import numbers
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import bgknown
from benchmark.predictions import COSINE
from benchmark.protocol import name_in_results, name_when_measured
from benchmark.results.key_figures import CHANCE, is_gain
from benchmark.results.row import COLUMNS, COLUMNS_OF_0_1_0, KINDS, OF_ITS_TASKS, RANKS, UNSCALED, ResultRow
from benchmark.results.run_folder import claim
from benchmark.results.stats import estimate_mean, estimate_share, summarise
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, write_whole
from bgknown.jobs.provenance import find_commit, read_clock
from bgknown.settings import read_text
from bgknown.shown import escape_cell, unescape_cell
from bgknown.tables import parse_rows
from bgknown.userpath import user_path

if TYPE_CHECKING:
    from benchmark.scores import Score

__all__ = [
    "COLUMNS",
    "FILE",
    "OF_ITS_TASKS",
    "RANKS",
    "ResultRow",
    "add_rows",
    "format_rows",
    "make_row",
    "read_paper_rows",
    "read_rows",
]

FILE = "leaderboard.csv"
_OF_SCORE = ("setting", "metric", "seeds", "alpha", "strength", "lr", "converged")
"""Fields of ``Score`` that are fields of a row."""


def make_row(
    score: Score,
    *,
    encoder: str,
    checkpoint_sha256: str,
    task: str,
    protocol: str,
    dataset_sha256: str,
    n_skipped: int = 0,
    leak_check: str = "",
    seconds: float | None = None,
    date: str | None = None,
) -> ResultRow:
    """The row of a score that this version has just measured.

    Args:
        score: the score, whose values are from 0 to 1, or ranks (of a gain from -1 to 1).
        encoder: name of the encoder; this and other arguments are fields of ``ResultRow``.
        date: when (default: now).

    Raises:
        InvalidInputError: there are no scores, or some are not finite.
    """
    unit = 1 if score.metric in UNSCALED else 100
    over_seeds = summarise([unit * float(value) for value in score.by_seed])
    low, high, n_groups = _find_interval(score)
    if low is not None and high is not None:
        # with folds of uneven size the mean over folds may differ from that over clips
        low, high = min(unit * low, over_seeds.mean), max(unit * high, over_seeds.mean)
    return ResultRow(
        encoder=encoder,
        checkpoint_sha256=checkpoint_sha256,
        task=task,
        **{name: getattr(score, name) for name in _OF_SCORE},
        mean=over_seeds.mean,
        low=low,
        high=high,
        std=over_seeds.std,
        n_test=score.n_test or len(score.by_clip) or None,
        n_groups=n_groups,
        n_skipped=n_skipped,
        leak_check=leak_check,
        protocol=protocol,
        dataset_sha256=dataset_sha256,
        version=bgknown.__version__,
        commit=find_commit(),
        date=date or read_clock(),
        seconds=seconds,
    )


def _find_interval(score: Score) -> tuple[float | None, float | None, int | None]:
    """Lower and upper end, in the unit of the score's clips, and the number of groups.

    None where there are no clips, and for chance, which is computed exactly for these clips.
    """
    by_clip, groupings = score.by_clip, [names.tolist() for names in score.groupings]
    if not len(by_clip) or score.setting == CHANCE:
        return None, None, None
    if score.metric in RANKS:
        estimate = estimate_mean(by_clip, groupings, bounds=(1.0, math.inf))
    elif is_gain(score.setting) or score.metric == COSINE:
        estimate = estimate_mean(by_clip, groupings, bounds=(-1.0, 1.0))
    else:
        estimate = estimate_share(by_clip.clip(0.0, 1.0), groupings)  # uneven folds weigh clips by more than 1
    return estimate.low, estimate.high, estimate.n_groups


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
    return list(_parse(data, str(file)))


def read_paper_rows() -> list[ResultRow]:
    """The results that the paper reports.

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
    return list(_parse(data, "paper_results.csv"))


def format_rows(rows: Iterable[ResultRow]) -> str:
    """Rows as CSV with a header; floats in the shortest form that gives the same number again, None as empty.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which ``read_rows`` removes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(getattr(row, name)) for name in COLUMNS] for row in rows)
    return text.getvalue()


def add_rows(out: Path, rows: Iterable[ResultRow]) -> Path:
    """Add the rows of runs to ``OUT/leaderboard.csv``; earlier rows of the same runs are removed, all others are kept.

    Several processes may do so at once. A process that is killed leaves either the old table or the new one.

    Returns:
        The path of the table.

    Raises:
        InvalidInputError: the existing table is damaged; it stays unchanged.
        StorageError: it cannot be read or written, or another process keeps it locked.
    """
    added = {row.identity: row for row in rows}
    runs = {row.run for row in added.values()}
    with claim(out):
        path = out / FILE
        kept = read_rows(path) if path.exists() else []
        merged = [row for row in kept if _replaced(row).run not in runs] + list(added.values())
        # settings and metrics stay in the order in which the task gave them
        merged.sort(key=lambda row: (row.task, row.dataset_sha256, row.protocol, row.encoder, row.checkpoint_sha256))
        write_whole(path, format_rows(merged).encode())
    return path


def _replaced(row: ResultRow) -> ResultRow:
    """The row as it was called when it was measured: a later run of that name has taken its folder."""
    return dataclasses.replace(row, protocol=name_when_measured(row.protocol))


def _text(value: object) -> str:
    """A value as it is written; numpy's scalars like Python's."""
    if value is None:
        return ""
    if isinstance(value, str):
        return escape_cell(value)
    return str(int(value)) if isinstance(value, numbers.Integral) else repr(float(value))  # type: ignore[arg-type]


def _parse(data: bytes, where: str) -> Iterator[ResultRow]:
    advice = "restore it from a copy, or move it away and run the benchmarks again"
    try:
        header, rows = parse_rows(data, where)
        lines = list(rows)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}; {advice}") from error
    columns = COLUMNS_OF_0_1_0 if tuple(header) == COLUMNS_OF_0_1_0 else COLUMNS
    if tuple(header) != columns:
        missing = [name for name in COLUMNS if name not in header]
        fault = f"column {missing[0]} is missing" if missing else "the columns are not those of this version"
        raise InvalidInputError(f"{where}, line 1: {fault}; {advice}")
    seen: dict[tuple[str, ...], int] = {}
    for number, line in lines:
        if len(line) != len(columns):
            column = columns[min(len(line), len(columns) - 1)]  # the first without a value, or the last
            fault = f"{len(line)} values instead of {len(columns)}, column {column} is wrong"
            raise InvalidInputError(f"{where}, line {number}: {fault}; {advice}")
        try:
            texts = _convert_columns(dict(zip(columns, line, strict=True)))
            values = {name: _value(name, text) for name, text in texts.items()}
            values["protocol"] = name_in_results(str(values["protocol"]), str(values["version"]))
            row = ResultRow(**values)  # type: ignore[arg-type]
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}, line {number}: {error}; {advice}") from error
        if row.identity in seen:
            raise InvalidInputError(f"{where}, line {number}: the same figure as line {seen[row.identity]}; {advice}")
        seen[row.identity] = number
        yield row


def _convert_columns(texts: dict[str, str]) -> dict[str, str]:
    """The values of a row of an earlier version under the names of today; a row of today as it is.

    The interval over clips becomes ``low`` and ``high``; for the paper's rows that over seeds does, as it has no other.
    """
    if "ci95_low" not in texts:
        return texts
    over_seeds = [texts.pop(f"ci95_{end}") for end in ("low", "high")]
    over_clips = [texts.pop(f"boot_{end}") for end in ("low", "high")]
    low, high = over_seeds if texts["source"] == "paper" else over_clips
    return {**texts, "low": low, "high": high}


def _value(name: str, text: str) -> str | int | float | None:
    kind = KINDS[name]
    if kind is str:
        return unescape_cell(text)
    value: int | float | None = read_text(kind, text, name) if text else None
    return value
