"""The leaderboard: result rows arranged in tables of comparable figures.

A task with several settings has one table for each metric, dataset and protocol, with a column for each setting. Tasks
with one setting share a table for each metric and protocol, with a column for each task; a task that was measured on
several datasets has a table for each instead. The paper's rows are in the tables of its own protocol, with any text
encoder. They come from the paper's own data, which nobody else has, and are marked.

By default a table has the key figures of its task (``benchmark.results.key_figures``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from benchmark.protocol import PLAIN_SETTING, TEXT_ENCODER, TEXT_MARK
from benchmark.results.board import BoardOptions, Cell, Leaderboard, Line, Table
from benchmark.results.clip_scores import ClipScores
from benchmark.results.key_figures import METRICS, ORDER, SETTINGS, find_family, is_control
from benchmark.results.leak_check import list_leaks
from benchmark.results.row import UNSCALED
from benchmark.results.rows import RANKS, ResultRow, read_paper_rows
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import suggest

MOST_NAMES = 3
"""Number of figures that a note names before it only counts them."""


def arrange(
    rows: Sequence[ResultRow],
    options: BoardOptions | None = None,
    *,
    outs: Sequence[Path] = (),
    clips: ClipScores | None = None,
) -> Leaderboard:
    """Arrange result rows.

    Args:
        rows: the measured rows.
        options: which figures are shown, and how.
        outs: the folders of results that hold the predictions of the rows, for ranks and best marks.
        clips: scores from these folders that an earlier call has read.

    Raises:
        NotFoundError: nothing is left; or there is no such task, metric, column or name; says which are close.
        InvalidInputError: two encoders of a table have the same display name.
    """
    options = options or BoardOptions()
    found = _choose_rows(rows, options)
    shown = found if options.everything or options.columns else _choose_key_figures(found, options.metric)
    clips = clips or ClipScores(outs)
    tables = [_make_table(key, group, options, clips) for key, group in _group_rows(shown).items()]
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    for column in (*options.columns, *([] if options.sort is None else [options.sort])):
        if column not in columns:
            raise NotFoundError(f"no column {column!r}; {suggest(column, columns)}")
    encoders = dict.fromkeys(row.encoder for row in found)
    for name in options.names:
        if name not in encoders and name not in columns:
            raise NotFoundError(f"no encoder or column {name!r} to rename; {suggest(name, [*encoders, *columns])}")
    tables = [
        _choose_columns(table, options)
        for table in tables
        if not options.columns or set(options.columns) & set(table.columns)
    ]
    notes = [clips.note] * bool(clips.note)
    if len(shown) < len(found):
        notes.append(f"{len(found) - len(shown)} more figures (other settings, controls, metrics): --all")
    return Leaderboard(tables=tables, rows=found, notes=notes, with_std=options.everything)


def _choose_rows(rows: Sequence[ResultRow], options: BoardOptions) -> list[ResultRow]:
    """The measured and published rows of a task and metric."""
    known = {row.task for row in rows} | ({options.task} if options.task else set())
    published = [row for row in read_paper_rows() if row.task in known] if options.paper else []
    found = [*rows, *published]
    # an unknown task is reported before an unknown metric of it
    for what, chosen in (("task", options.task), ("metric", options.metric)):
        if chosen is not None:
            names = list(dict.fromkeys(str(getattr(row, what)) for row in found))
            if chosen not in names:
                raise NotFoundError(f"no result of {what} {chosen!r}; {suggest(chosen, names)}")
            found = [row for row in found if getattr(row, what) == chosen]
    if not found:
        raise NotFoundError("there are no results yet; `benchmark run` makes some")
    return found


def _choose_key_figures(rows: Sequence[ResultRow], metric: str | None) -> list[ResultRow]:
    """The rows of the key settings and metrics of each task; all of a task that has none of them."""
    chosen = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        if metric is None:
            of_task = [row for row in of_task if row.metric in METRICS] or of_task
        chosen += [row for row in of_task if row.setting in SETTINGS.get(find_family(task), (row.setting,))] or of_task
    return chosen


def _group_rows(rows: Sequence[ResultRow]) -> dict[tuple[str, str, str, str], list[ResultRow]]:
    """Rows by task, protocol, dataset and metric of their table, in the order in which these first appear.

    Task and dataset are empty for a table of several tasks.
    """
    settings: dict[str, set[str]] = {}
    datasets: dict[str, dict[tuple[str, str], None]] = {}
    for row in rows:
        settings.setdefault(row.task, set()).add(row.setting)
        if row.source == "measured":
            datasets.setdefault(row.task, {})[row.dataset_sha256, row.protocol] = None
    groups: dict[tuple[str, str, str, str], list[ResultRow]] = {}
    for row in rows:
        measured = list(datasets.get(row.task, {}))
        several = find_family(row.task) in SETTINGS or len(settings[row.task]) > 1
        if not several and len({data for data, _ in measured}) <= 1:
            groups.setdefault(("", row.protocol, "", row.metric), []).append(row)
            continue
        # the paper's figures join every dataset that was measured by its protocol
        same = [key for key in measured if _drop_text_encoder(key[1]) == row.protocol]
        for data, protocol in same if row.source == "paper" and same else [(row.dataset_sha256, row.protocol)]:
            groups.setdefault((row.task, protocol, data, row.metric), []).append(row)
    return groups


def _drop_text_encoder(protocol: str) -> str:
    """The name of a protocol without a text encoder other than the paper's."""
    return ", ".join(part for part in protocol.split(", ") if not part.startswith(TEXT_MARK))


def _make_table(
    key: tuple[str, str, str, str], rows: Sequence[ResultRow], options: BoardOptions, clips: ClipScores
) -> Table:
    task, protocol, data, metric = key
    names = {row.identity: row.setting if task and row.setting != PLAIN_SETTING else _name_column(row) for row in rows}
    columns = list(
        dict.fromkeys(names[row.identity] for row in (_sort_settings(task, rows) if task else _sort_tasks(rows)))
    )
    cells: dict[tuple[str, str, str], dict[str, ResultRow]] = {}
    for row in rows:
        cells.setdefault((row.source, row.encoder, row.checkpoint_sha256), {})[names[row.identity]] = row
    order = options.sort if options.sort in columns else ORDER.get(find_family(task), "")
    order = order if order in columns else columns[0]
    sign = 1.0 if metric in RANKS else -1.0
    keys = sorted(cells, key=lambda line: (sign * cells[line][order].mean if order in cells[line] else 0.0, line))
    keys.sort(key=lambda line: order not in cells[line])
    chosen = [column for column in columns if not options.columns or column in options.columns or column == order]
    ranks = clips.rank([line[order] for line in cells.values() if order in line])
    best = {
        column: set()
        if _is_control_column(column, rows, names)
        else clips.find_best([line[column] for line in cells.values() if column in line])
        for column in chosen
    }
    lines = [
        Line(
            encoder=_name_encoder(line, list(cells), options.names),
            cells=[_make_cell(cells[line].get(column), best.get(column, set())) for column in columns],
            rank=ranks.get(cells[line][order].identity) if order in cells[line] else None,
        )
        for line in keys
    ]
    _check_names(lines)
    where = f", dataset {data[:8]}" if data else ""
    unit = "" if metric in UNSCALED else " (%)"
    title = f"{task}: {metric}{unit}, protocol {protocol}{where}" if task else f"{metric}{unit}, protocol {protocol}"
    return Table(
        title=title,
        columns=columns,
        lines=lines,
        order=order,
        notes=_list_notes(protocol, rows),
        task=task,
        protocol=protocol,
        dataset_sha256=data,
        metric=metric,
    )


def _list_notes(protocol: str, rows: Sequence[ResultRow]) -> list[str]:
    notes = list_leaks(rows)
    if _drop_text_encoder(protocol) != protocol and any(row.source == "paper" for row in rows):
        notes.append(f"the paper's text encoder is {TEXT_ENCODER}")
    cut = [f"{row.encoder} {row.setting} {row.converged:.0%}" for row in rows if Cell(row=row).is_cut]
    if cut:
        more = f" and {len(cut) - MOST_NAMES} more" if len(cut) > MOST_NAMES else ""
        notes.append(
            f"†: some probes were cut before they converged (share that converged: {', '.join(cut[:MOST_NAMES])}{more})"
        )
    return notes


def _is_control_column(column: str, rows: Sequence[ResultRow], names: Mapping[tuple[str, ...], str]) -> bool:
    return any(is_control(row.setting) for row in rows if names[row.identity] == column)


def _sort_settings(task: str, rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of one task, those of its key settings first."""
    key = SETTINGS.get(find_family(task), ())
    return sorted(rows, key=lambda row: key.index(row.setting) if row.setting in key else len(key))


def _sort_tasks(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of several tasks, those of the paper's tasks first and in the paper's order."""
    order = {name: place for place, name in enumerate(dict.fromkeys(row.task for row in read_paper_rows()))}
    return sorted(rows, key=lambda row: order.get(row.task, len(order)))


def _name_column(row: ResultRow) -> str:
    """The name of a column in a table of several tasks."""
    return row.task if row.setting == PLAIN_SETTING else f"{row.task} {row.setting}"


def _make_cell(row: ResultRow | None, best: Collection[tuple[str, ...]]) -> Cell | None:
    return None if row is None else Cell(row=row, is_best=row.identity in best)


def _name_encoder(line: tuple[str, str, str], lines: Iterable[tuple[str, str, str]], names: Mapping[str, str]) -> str:
    source, encoder, checkpoint = line
    same = [other for other in lines if other[:2] == line[:2]]
    name = names.get(encoder, encoder)
    name = f"{name} [{checkpoint[:8] or 'no weights'}]" if len(same) > 1 else name
    return f"{name} (paper)" if source == "paper" else name


def _check_names(lines: Sequence[Line]) -> None:
    names = [line.encoder for line in lines]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidInputError(f"two encoders are both called {repeated!r} in one table; give them different names")


def _choose_columns(table: Table, options: BoardOptions) -> Table:
    """A table with the chosen columns, in their order, under their display names."""
    chosen = [column for column in options.columns or table.columns if column in table.columns]
    places = [table.columns.index(column) for column in chosen]
    return dataclasses.replace(
        table,
        columns=[options.names.get(column, column) for column in chosen],
        lines=[
            Line(encoder=line.encoder, cells=[line.cells[place] for place in places], rank=line.rank)
            for line in table.lines
        ],
        order=options.names.get(table.order, table.order),
    )
