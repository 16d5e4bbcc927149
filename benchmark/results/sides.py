"""The two sides of a comparison: which runs and setting a name means, and which runs are comparable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.predictions import PREDICTIONS
from benchmark.results.rows import read_rows
from benchmark.results.runs import MeasuredRun, list_runs
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import suggest


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one of the two names means."""

    name: str
    """The name."""
    runs: list[MeasuredRun]
    """Its runs."""
    setting: str
    """Its setting; empty for all."""
    is_run: bool
    """Whether the name is that of one run, not of an encoder."""


def find_side(out: Path, name: str) -> Side:
    """What a name means: all of it is a name, or the part before its last colon is, with a setting after it.

    Args:
        out: folder of results.
        name: an encoder, ``encoder:setting``, or the folder of a run, also with ``:setting``.

    Raises:
        NotFoundError: there is nothing of this name; says which names are close.
    """
    stem, colon, setting = name.rpartition(":")
    for candidate, chosen in ((name, ""), (stem, setting)):
        if candidate and (colon or candidate == name):
            runs, is_run = _find_runs(out, candidate)
            if runs:
                if chosen:
                    check_known(f"setting of {candidate}", chosen, list_compared_settings(runs))
                return Side(name=name, runs=runs, setting=chosen, is_run=is_run)
    known = [row.encoder for row in read_rows(out)] + [run.folder.name for run in list_runs(out)]
    check_known("encoder or run", stem if stem in known else name, dict.fromkeys(known))
    raise NotFoundError(f"{name}: its folder of predictions is missing below {out / 'runs'}; run the benchmark again")


def _find_runs(out: Path, name: str) -> tuple[list[MeasuredRun], bool]:
    """Runs of an encoder, or the one run whose folder this is, and whether it is the latter."""
    runs = list_runs(out)
    found = [run for run in runs if run.row.encoder == name]
    if found:
        return found, False
    folder = Path(name)
    if not (folder / PREDICTIONS).is_file():
        return [run for run in runs if run.folder.name == name], True
    folder = folder.resolve()
    found = [run for run in list_runs(folder.parent.parent) if run.folder.name == folder.name]
    if not found:
        raise NotFoundError(f"{folder}: no row of {folder.parent.parent / 'leaderboard.csv'} belongs to this run")
    return found, True


def pair_runs(a: Side, b: Side, task: str | None) -> list[tuple[MeasuredRun, MeasuredRun]]:
    """Runs of the same task and dataset, and of the same protocol unless both sides name a run.

    Args:
        a, b: the sides.
        task: only this task.

    Raises:
        NotFoundError: they have no task in common.
        InvalidInputError: datasets or protocols differ, or a name means several checkpoints.
    """
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
        raise InvalidInputError(
            _explain_no_pair(a, b, [pair for pair in same_task if task in {None, pair[0].row.task}])
        )
    keys = [(one.row.task, one.row.dataset_sha256, one.row.protocol) for one, _ in pairs]
    for key in keys:
        for side, place in ((a, 0), (b, 1)):
            folders = sorted({pair[place].folder.name for pair, other in zip(pairs, keys, strict=True) if other == key})
            if len(folders) > 1:
                raise InvalidInputError(
                    f"{side.name} names {len(folders)} checkpoints on task {key[0]}; give one run: {', '.join(folders)}"
                )
    return pairs


def _explain_no_pair(a: Side, b: Side, pairs: Sequence[tuple[MeasuredRun, MeasuredRun]]) -> str:
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


def list_compared_settings(runs: Iterable[MeasuredRun]) -> list[str]:
    """The settings of runs, each once, in their order."""
    return list(dict.fromkeys(row.setting for run in runs for row in run.rows))


def check_known(what: str, name: str, names: Iterable[str]) -> None:
    """Refuse an unknown name.

    Raises:
        NotFoundError: says which is close.
    """
    names = list(names)
    if name not in names:
        raise NotFoundError(f"no {what} {name!r}; {suggest(name, names)}")
