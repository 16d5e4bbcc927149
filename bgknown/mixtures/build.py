"""From a recipe to the dataset on disk: in parallel, resumable, atomic."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.corpora.pair import Corpora
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.jobs.files import hash_bytes, list_state, make_folder, sync_folder, write_whole
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.problems import Problem, is_problem, list_problems, refuse_broken
from bgknown.jobs.workspace import Workspace
from bgknown.mixtures import crop_levels as levels
from bgknown.mixtures import dataset
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.draw import Draw, DrawOptions, check_min_level, draw_recipe
from bgknown.mixtures.options import BuildOptions, describe_build, describe_outcome
from bgknown.mixtures.worker import AMPLITUDES, RowTask, build_row
from bgknown.render import scaper
from bgknown.tables import list_records
from bgknown.userpath import user_path

log = logging.getLogger(__name__)

ROWS = 2
"""Number of how a recipe is drawn and a row is rendered and described; raised when either changes.

Unfinished work of another number is made again, and so is that of 0.1.0, which put the version in its place: its rows
do not round the scale.
"""
ROW_BYTES = len(dataset.SIGNALS) * (44 + 2 * recipes.CLIP_FRAMES) + 6_000
"""Space that a row of WAV files and its JAMS take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did."""

    table: pd.DataFrame
    """The manifest; in a dry run the recipe."""
    rendered: int
    """Rows rendered in this run."""
    kept: int
    """Rows that were there already."""
    problems: list[Problem]
    """What was left out (--skip-broken)."""
    was_finished: bool = False
    """Whether the dataset was complete before this run."""


def plan(corpora: Corpora, options: DrawOptions, *, jobs: int) -> Draw:
    """Draw a recipe, listening to every crop (a) it takes.

    Raises:
        BrokenInputError: a split has no usable recording.
    """
    listen = partial(levels.listen, root=corpora.fsd50k.root, min_level_lufs=options.min_level_lufs, jobs=jobs)
    drawn = draw_recipe(corpora.esc50, corpora.fsd50k, options, listen)
    if drawn.too_quiet:
        log.warning(
            "%d FSD50K recordings have no crop of %g LUFS and were not used (the first: %s)",
            len(drawn.too_quiet),
            options.min_level_lufs,
            drawn.too_quiet[0],
        )
    return drawn


def dry_run(corpora: Corpora, options: BuildOptions, out: Path) -> BuildReport:
    """What ``build`` would do; writes nothing but the cache.

    Raises:
        BgknownError: everything that ``build`` would refuse before it renders.
    """
    given = _given_recipe(corpora, options)
    _check_engine(options, out)
    workspace = open_workspace(out)
    done = workspace.is_finished(describe_build(corpora, options, given))
    drawn = _plan_or_remember(workspace, corpora, options, given, _stamp(corpora, options))
    recipe = recipes.take_rows(drawn.recipe, options.limit)
    clips = {file: clip_id for clip_id, file in corpora.esc50.table[["clip_id", "file"]].to_numpy()}
    taken = set(recipe["clip_id"])
    broken = [problem for problem in corpora.esc50.problems() if clips[problem.where] in taken]
    return BuildReport(table=recipe, rendered=0, kept=0, problems=[*drawn.problems, *broken], was_finished=done)


def build(corpora: Corpora, options: BuildOptions, out: Path) -> BuildReport:
    """Make BgKnown ESC-50 in a folder, or go on with it where an earlier run stopped.

    Args:
        corpora: the two corpora.
        options: what to make.
        out: the dataset's folder; new, empty, or holding the same build.

    Raises:
        BrokenInputError: some inputs are broken, or no recording can be used; lists them. Good rows are kept, no
            manifest is written.
        StorageError: the folder holds something else, is locked, or the disk is full.
        InvalidInputError: the recipe breaks rules.
        NotFoundError: Scaper is to render and is not installed.
    """
    out = user_path(out)
    _check_engine(options, out)
    given = _given_recipe(corpora, options)
    description = describe_build(corpora, options, given)
    workspace = open_workspace(out)
    if workspace.is_finished(description):  # a finished dataset may lie where nothing can be written
        if workspace.folder.exists():  # a kill came between the manifest and the removal of the workspace
            with contextlib.suppress(StorageError), workspace.claim(description):
                pass
        return _finished_report(out)
    with workspace.claim(description) as finished:
        if finished:  # by another process, just now
            return _finished_report(out)
        stamp = _stamp(corpora, options)
        drawn = _plan_or_remember(workspace, corpora, options, given, stamp)
        workspace.write_plan(_plan_record(drawn, stamp))
        recipe = recipes.take_rows(drawn.recipe, options.limit)
        tasks = _tasks(recipe, corpora, options, workspace)
        rows, row_problems, kept = _render(tasks, workspace, options.jobs)
        problems = [*drawn.problems, *row_problems]
        refuse_broken(problems, skip=options.skip_broken, kept=f"{len(rows)} of {len(recipe)} rows are kept in {out}")
        if not rows:
            raise BrokenInputError(
                f"nothing is left to build: all {len(recipe)} rows are broken:\n{list_problems(problems)}"
            )
        table = pd.DataFrame(rows, columns=dataset.MANIFEST_COLUMNS).sort_values("clip_id", ignore_index=True)
        found = describe_outcome(recipe, rows, problems)
        _finish(out, workspace, recipe, table, {**description, **found})
    _warn(found.get("notes", []))
    return BuildReport(table=table, rendered=len(rows) - kept, kept=kept, problems=problems)


def open_workspace(out: Path) -> Workspace:
    """The state of a dataset's folder."""
    return Workspace(out, read=dataset.read_description, manifest=dataset.MANIFEST, description=dataset.DESCRIPTION)


def _finished_report(out: Path) -> BuildReport:
    table = _check_complete(out)
    description = dataset.read_description(out)
    skipped = [Problem(**problem) for problem in description["skipped"]]
    _warn(description.get("notes", []))
    return BuildReport(table=table, rendered=0, kept=len(table), problems=skipped, was_finished=True)


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        log.warning("%s", note)


def _check_engine(options: BuildOptions, out: Path) -> None:
    if options.engine == "scaper" and not (out / dataset.MANIFEST).is_file():
        scaper.check_installed()


def _given_recipe(corpora: Corpora, options: BuildOptions) -> pd.DataFrame | None:
    if options.recipe is None:
        return None
    check_min_level(options.draw.min_level_lufs)
    given = recipes.read_recipe(options.recipe)
    recipes.check_recipe(given, corpora.esc50, corpora.fsd50k)
    return given


def _plan_or_remember(
    workspace: Workspace, corpora: Corpora, options: BuildOptions, given: pd.DataFrame | None, stamp: str
) -> Draw:
    if given is not None:
        return Draw(recipe=given, problems=[], too_quiet=[])
    remembered = workspace.read_plan()
    if remembered is not None and remembered.get("stamp") == stamp and _is_plan(remembered):
        drawn = Draw(
            recipe=pd.DataFrame(remembered["recipe"], columns=recipes.COLUMNS),
            problems=[Problem(**problem) for problem in remembered["problems"]],
            too_quiet=remembered["too_quiet"],
        )
        with contextlib.suppress(InvalidInputError):  # somebody has changed it: it is drawn again
            recipes.check_recipe(drawn.recipe, corpora.esc50, corpora.fsd50k)
            return drawn
    return plan(corpora, options.draw, jobs=options.jobs)


def _is_plan(plan: dict[str, Any]) -> bool:
    """Whether a stored plan holds what ``_plan_record`` gives, in its types."""
    kinds: dict[str, tuple[type, ...]] = {
        name: (int,) if name in recipes.INTEGERS else (str,) for name in recipes.COLUMNS
    }
    kinds |= dict.fromkeys(recipes.FLOATS, (int, float))
    rows, problems, quiet = (plan.get(name) for name in ("recipe", "problems", "too_quiet"))
    if not all(isinstance(part, list) for part in (rows, problems, quiet)):
        return False
    return all(map(is_problem, problems or [])) and all(
        isinstance(row, dict) and set(row) == set(kinds) and all(type(row[name]) in kinds[name] for name in kinds)
        for row in rows or []
    )


def _plan_record(drawn: Draw, stamp: str) -> dict[str, Any]:
    return {
        "stamp": stamp,
        "recipe": list_records(drawn.recipe),
        "problems": [asdict(problem) for problem in drawn.problems],
        "too_quiet": drawn.too_quiet,
    }


def _stamp(corpora: Corpora, options: BuildOptions) -> str:
    """Fingerprint of everything the draw depends on and saw on this machine, times of change included."""
    fsd50k = corpora.fsd50k
    states = json.dumps([list_state(fsd50k.root / file) for file in fsd50k.table["file"]])
    told = [fsd50k.table.to_csv(index=False), states, corpora.esc50.listing_sha256(), repr(options.draw), str(ROWS)]
    return hash_bytes("\n".join(told).encode())


def _tasks(recipe: pd.DataFrame, corpora: Corpora, options: BuildOptions, workspace: Workspace) -> list[RowTask]:
    configuration = (
        options.reference_gain,
        options.container,
        options.draw.min_level_lufs,
        options.engine,
        scaper.VERSION,
        ROWS,
    )
    tasks = []
    for row, clip, recording in recipes.resolve_sources(recipe, corpora.esc50, corpora.fsd50k):
        clip_path, recording_path = corpora.esc50.root / clip["file"], corpora.fsd50k.root / recording["file"]
        facts = [[clip["file"], *list_state(clip_path)], [recording["file"], *list_state(recording_path)]]
        digest = hash_bytes(json.dumps([row, facts, configuration]).encode())
        tasks.append(
            RowTask(
                row=row,
                clip_path=clip_path,
                recording_path=recording_path,
                background_label=recording["label"],
                reference_gain=options.reference_gain,
                container=options.container,
                min_level_lufs=options.draw.min_level_lufs,
                engine=options.engine,
                out=workspace.out,
                scratch=workspace.scratch,
                journal=workspace.journal,
                digest=digest,
            )
        )
    return tasks


def _render(
    tasks: Sequence[RowTask], workspace: Workspace, jobs: int
) -> tuple[list[dict[str, Any]], list[Problem], int]:
    """Render what the journal does not have; returns records, problems, and how many rows were there already."""
    known = {entry["digest"]: entry["record"] for entry in workspace.finished().values()}
    done = [known[task.digest] for task in tasks if task.digest in known and _is_there(task, known[task.digest])]
    there = {record["clip_id"] for record in done}
    # rows of one recording side by side: a worker then converts it once
    rest = sorted(
        (task for task in tasks if task.row["clip_id"] not in there), key=lambda task: str(task.recording_path)
    )
    _check_space(workspace.out, rest)
    for name in dataset.SIGNALS:
        make_folder(workspace.out / "audio" / name)
    make_folder(workspace.out / "jams")
    rows, problems = list(done), []
    for result in in_processes(build_row, rest, jobs=jobs, title="mixtures", unit="clip", batch=4):
        if result.record is not None:
            rows.append(result.record)
        elif result.problem is not None:
            problems.append(result.problem)
    return rows, problems, len(done)


def _is_there(task: RowTask, record: dict[str, Any]) -> bool:
    """Whether a record of the journal is that of a row, and its files are there."""
    paths = dataset.list_paths(task.row["clip_id"], task.container)
    wanted = {**task.row, **{f"{name}_file": path for name, path in paths.items()}}
    columns = {*dataset.MANIFEST_COLUMNS, *AMPLITUDES}
    whole = set(record) == columns and all(record[name] == wanted[name] for name in wanted)
    files = all(isinstance(record.get(name), list) for name in AMPLITUDES)
    return whole and files and all((task.out / path).is_file() for path in paths.values())


def _check_space(out: Path, tasks: Sequence[RowTask]) -> None:
    if not tasks or tasks[0].container != "wav":
        return
    needed, free = len(tasks) * ROW_BYTES, shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(
            f"{out}: the disk has {free / 1e9:.2f} GB free, {len(tasks)} rows need {needed / 1e9:.2f} GB; "
            "free some space, or give an --out elsewhere"
        )


def _check_complete(out: Path) -> pd.DataFrame:
    """The manifest of a finished dataset, all of whose files are there.

    Raises:
        StorageError: files are missing.
    """
    table = dataset.open_dataset(out).table.reset_index(drop=True)
    missing = [
        row[f"{name}_file"]
        for row in list_records(table)
        for name in dataset.FILES
        if not (out / row[f"{name}_file"]).is_file()
    ]
    if missing:
        raise StorageError(
            f"{out}: the finished dataset lacks {len(missing)} of its files (the first: {missing[0]}); "
            "delete the folder and build again to get the same bytes"
        )
    return table


def _finish(
    out: Path, workspace: Workspace, recipe: pd.DataFrame, table: pd.DataFrame, description: dict[str, Any]
) -> None:
    kept = set(table["clip_id"])
    for row in list_records(recipe):
        if row["clip_id"] not in kept:  # may be there from a run in which its sources were still whole
            for path in dataset.list_paths(row["clip_id"], description["configuration"]["container"]).values():
                (out / path).unlink(missing_ok=True)
    for folder in (*(out / "audio" / name for name in dataset.SIGNALS), out / "jams"):
        sync_folder(folder)
    write_whole(out / dataset.RECIPE, recipes.format_recipe(recipe), aside=workspace.scratch)
    write_whole(out / dataset.DESCRIPTION, dataset.format_description(description), aside=workspace.scratch)
    sync_folder(out)
    write_whole(out / dataset.MANIFEST, dataset.format_manifest(table), aside=workspace.scratch)
    sync_folder(out)
