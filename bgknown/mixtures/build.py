"""From a recipe to the dataset on disk: in parallel, resumable, atomic."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.corpora.credits import list_credits
from bgknown.corpora.headers import default_cache
from bgknown.corpora.identical import find_identical
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes, list_state
from bgknown.jobs.problems import Problem
from bgknown.jobs.resumable import Job, JobOutcome
from bgknown.jobs.shards import Shard
from bgknown.jobs.workspace import Workspace
from bgknown.mixtures import crop_levels as levels
from bgknown.mixtures import dataset
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.attribution import (
    ATTRIBUTION,
    describe_sources,
    format_attribution,
    gather_source_facts,
    warn_of_changed_sources,
)
from bgknown.mixtures.draw import Draw, DrawOptions, check_min_level, draw_recipe
from bgknown.mixtures.heard_rows import HeardRows
from bgknown.mixtures.hearing import Listener
from bgknown.mixtures.left_out import count_same_class, describe_backgrounds, describe_pools, mark_same_class
from bgknown.mixtures.manifest import SAME_CLASS, SIGNALS, format_manifest, list_paths, make_manifest
from bgknown.mixtures.naming import list_clip_names
from bgknown.mixtures.options import BuildOptions, describe_build, describe_outcome
from bgknown.mixtures.pool import PoolCounts, warn_of_crossing_sources, warn_of_short_recordings
from bgknown.mixtures.rules import check_recipe, resolve_sources
from bgknown.mixtures.selection import take_rows
from bgknown.mixtures.units import ROWS, describe_rows
from bgknown.mixtures.worker import BuiltRow, RowUnit, build_rows
from bgknown.render import scaper
from bgknown.render.layers import Container
from bgknown.tables import list_records
from bgknown.userpath import user_path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did."""

    table: pd.DataFrame
    """The manifest; in a dry run the recipe."""
    rendered: int
    """Rows rendered in this run."""
    kept: int
    """Rows that an earlier run had made."""
    problems: list[Problem]
    """What was left out (--skip-broken)."""
    was_finished: bool = False
    """Whether the dataset was complete before this run."""
    notes: tuple[str, ...] = ()
    """A sentence on silent sources and one on clipped ones, if there are any."""
    summary: tuple[str, ...] = ()
    """Sentences on the recordings that could be backgrounds, and on classes that are in both clip and background."""
    shard: Shard | None = None
    """The share that was made, of which ``table`` holds the rows; None for a whole dataset."""


def count_row_bytes(clip_frames: int) -> int:
    """Space that the WAV files and the JAMS of a row take."""
    return len(SIGNALS) * (44 + 2 * clip_frames) + 6_000


def plan(
    corpora: Corpora, options: DrawOptions, *, jobs: int, cache: Path | None = None, listen: Listener | None = None
) -> Draw:
    """Draw a recipe, measuring every crop (a) that it takes.

    Args:
        corpora: the corpora.
        options: the options of the draw.
        jobs: number of processes.
        cache: cache folder, where hashes of audio are remembered; by default the user's.
        listen: measures crops; by default in processes that do nothing else.

    Raises:
        BrokenInputError: a split has no usable recording.
        InvalidInputError: a rule leaves no recording.
    """
    listen = listen or partial(
        levels.measure_crop_levels, corpus=corpora.background, min_level_lufs=options.min_level_lufs, jobs=jobs
    )
    compare = partial(find_identical, root=corpora.background.root, cache=cache or default_cache())
    warn_of_short_recordings(corpora.background, options.clip_frames)
    draw = draw_recipe(corpora, options, listen, compare)
    warn_of_crossing_sources(corpora.foreground)
    for file, other in sorted(draw.twins.items()):
        log.warning("%s is the same audio as %s, a background of the test set, and was not used", file, other)
    if draw.too_quiet:
        log.warning(
            "%d %s recordings have no crop of %g LUFS and were not used (the first: %s)",
            len(draw.too_quiet),
            corpora.background.facts.name,
            options.min_level_lufs,
            draw.too_quiet[0],
        )
    return draw


def dry_run(corpora: Corpora, options: BuildOptions, out: Path) -> BuildReport:
    """Report what ``build`` would do; writes nothing but the cache.

    Raises:
        BgknownError: everything that ``build`` would refuse before it renders.
    """
    given = _read_given_recipe(corpora, options)
    _check_engine(options, out)
    workspace = open_workspace(out)
    finished = workspace.is_finished(describe_build(corpora, options, given))
    draw = _plan_or_recall(workspace, corpora, options, given, _make_stamp(corpora, options))
    recipe = take_rows(draw.recipe, options.limit)
    clips = {file: clip_id for clip_id, file in corpora.foreground.table[["clip_id", "file"]].to_numpy()}
    taken = set(list_clip_names(recipe))
    broken = [problem for problem in corpora.foreground.problems() if clips[problem.where] in taken]
    return BuildReport(
        table=recipe,
        rendered=0,
        kept=0,
        problems=[*draw.problems, *broken],
        was_finished=finished,
        summary=summarise_draw(draw, recipe, corpora),
    )


def summarise_draw(draw: Draw, recipe: pd.DataFrame, corpora: Corpora) -> tuple[str, ...]:
    """Sentences on the backgrounds of a recipe that is not built."""
    return tuple(
        describe_backgrounds({**describe_pools(draw), "counts": count_same_class(mark_same_class(recipe, corpora))})
    )


def build(corpora: Corpora, options: BuildOptions, out: Path) -> BuildReport:
    """Make a dataset in a folder, or resume where an earlier run stopped.

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
    given = _read_given_recipe(corpora, options)
    job = Job(
        workspace=open_workspace(out, options.shard),
        description=describe_build(corpora, options, given),
        noun="row",
        jobs=options.jobs,
        skip_broken=options.skip_broken,
    )
    report = job.run(lambda: _make_rows(job, corpora, options, given), lambda: _report_finished_dataset(job, corpora))
    for note in report.notes:
        log.warning("%s", note)
    return report


def _make_rows(job: Job, corpora: Corpora, options: BuildOptions, given: pd.DataFrame | None) -> BuildReport:
    """Make what is missing."""
    stamp = _make_stamp(corpora, options)
    heard = _begin_heard_rows(job, corpora, options) if given is None else None
    listen = None if heard is None else heard.listen
    draw = _plan_or_recall(job.workspace, corpora, options, given, stamp, listen=listen)
    job.workspace.write_plan(_format_plan(draw, stamp))
    recipe = take_rows(draw.recipe, options.limit)
    units = job.take_share(_list_units(job, recipe, corpora, options))
    made, left = ([], units) if heard is None else heard.take(units)
    _check_space(job, options, sum(unit.known is None for unit in left))
    results = job.run_units(build_rows, left, title="mixtures", batch=4)
    outcome = JobOutcome[BuiltRow](problems=list(draw.problems)).add(made).add(results)
    job.check(outcome, len(units))
    foreground, background = gather_source_facts(corpora.foreground), gather_source_facts(corpora.background)
    rows = describe_sources([built.manifest for built in outcome.records], corpora, foreground, background)
    table = make_manifest(rows, corpora.prefixes)
    if job.shard is not None:
        rendered = len(rows) - outcome.kept
        return BuildReport(
            table=table, rendered=rendered, kept=outcome.kept, problems=outcome.problems, shard=job.shard
        )
    found = describe_outcome(draw, recipe, outcome.records, table, outcome.problems)
    attribution = format_attribution(rows, foreground, background)
    _write_tables(job, recipe, table, found, attribution, container=options.container)
    return BuildReport(
        table=table,
        rendered=len(rows) - outcome.kept,
        kept=outcome.kept,
        problems=outcome.problems,
        notes=tuple(found.get("notes", ())),
        summary=tuple(describe_backgrounds(found)),
    )


def _begin_heard_rows(job: Job, corpora: Corpora, options: BuildOptions) -> HeardRows | None:
    """What makes rows while the draw listens; None if not all rows are to be made, or some have been made.

    Raises:
        StorageError: the disk cannot hold the rows.
    """
    if job.shard is not None or options.limit is not None or job.find_known():
        return None
    rows_of_clip = options.draw.draws * max(len(options.draw.snr_grid_db), 1)
    _check_space(job, options, rows_of_clip * len(corpora.foreground.table))
    return HeardRows.begin(job, corpora, options)


def _check_space(job: Job, options: BuildOptions, rows: int) -> None:
    if options.container == "wav":
        job.check_space(count_row_bytes(options.draw.clip_frames) * rows)


def open_workspace(out: Path, shard: Shard | None = None) -> Workspace:
    """The state of a dataset's folder."""
    return Workspace(
        out, read=dataset.read_description, manifest=dataset.MANIFEST, description=dataset.DESCRIPTION, shard=shard
    )


def _report_finished_dataset(job: Job, corpora: Corpora) -> BuildReport:
    data = dataset.open_dataset(job.workspace.out)
    tables = [dataset.RECIPE, *([ATTRIBUTION] if SAME_CLASS in data.table else [])]
    job.check_finished_files({path: None for row in data.rows() for path in row.files.values()} | dict.fromkeys(tables))
    warn_of_changed_sources(data, corpora)
    return BuildReport(
        table=data.table.reset_index(drop=True),
        rendered=0,
        kept=len(data),
        problems=[Problem(**problem) for problem in data.description["skipped"]],
        was_finished=True,
        notes=tuple(data.description.get("notes", ())),
        summary=tuple(describe_backgrounds(data.description)),
    )


def _check_engine(options: BuildOptions, out: Path) -> None:
    if options.engine == "scaper" and not (out / dataset.MANIFEST).is_file():
        scaper.check_installed()


def _read_given_recipe(corpora: Corpora, options: BuildOptions) -> pd.DataFrame | None:
    if options.recipe is None:
        return None
    check_min_level(options.draw.min_level_lufs)
    given = recipes.set_prefixes(recipes.read_recipe(options.recipe), corpora.prefixes)
    compare = partial(find_identical, root=corpora.background.root, cache=options.cache)
    check_recipe(given, corpora, options.draw.pool_rules, compare)
    warn_of_crossing_sources(corpora.foreground)
    return given


def _plan_or_recall(
    workspace: Workspace,
    corpora: Corpora,
    options: BuildOptions,
    given: pd.DataFrame | None,
    stamp: str,
    *,
    listen: Listener | None = None,
) -> Draw:
    if given is not None:
        return Draw(recipe=given, problems=[], too_quiet=[])
    stored = workspace.read_plan()
    if stored is not None and stored.get("stamp") == stamp:
        with contextlib.suppress(InvalidInputError):  # somebody has changed it: it is drawn again
            recipe = pd.DataFrame(stored["recipe"])
            recipe = recipe[recipes.list_columns(recipe.columns)]
            check_recipe(recipe, corpora, options.draw.pool_rules)
            return Draw(
                recipe=recipe,
                problems=[Problem(**problem) for problem in stored["problems"]],
                too_quiet=stored["too_quiet"],
                pools={split: PoolCounts(**counts) for split, counts in stored["pools"].items()},
                twins=stored["twins"],
            )
    return plan(corpora, options.draw, jobs=options.jobs, cache=options.cache, listen=listen)


def _format_plan(draw: Draw, stamp: str) -> dict[str, Any]:
    """The plan for the workspace, whose checksum protects its types."""
    return {
        "stamp": stamp,
        "recipe": list_records(draw.recipe),
        "problems": [asdict(problem) for problem in draw.problems],
        "too_quiet": draw.too_quiet,
        "pools": {split: asdict(counts) for split, counts in draw.pools.items()},
        "twins": dict(draw.twins),
    }


def _make_stamp(corpora: Corpora, options: BuildOptions) -> str:
    """Fingerprint of everything that the draw depends on and saw on this machine, times of change included."""
    background, clips = corpora.background, corpora.foreground
    states = json.dumps([list_state(background.root / file) for file in background.table["file"]])
    facts = [background.table.to_csv(index=False), states, clips.listing_sha256(), repr(options.draw), str(ROWS)]
    if options.draw.licences:
        facts += [credit.licence for credit in list_credits(background).values()]
    return hash_bytes("\n".join(facts).encode())


def _list_units(job: Job, recipe: pd.DataFrame, corpora: Corpora, options: BuildOptions) -> list[RowUnit]:
    """The rows as workers get them; those of one recording next to each other, so that it is converted once."""
    known = job.find_known()
    form = describe_rows(corpora, options, job.folder)
    units = [form.make_unit(sources, known.get(sources.row.clip_id)) for sources in resolve_sources(recipe, corpora)]
    return sorted(units, key=lambda unit: str(unit.task.recording_path))


def _write_tables(
    job: Job,
    recipe: pd.DataFrame,
    table: pd.DataFrame,
    found: Mapping[str, Any],
    attribution: bytes,
    *,
    container: Container,
) -> None:
    out = job.workspace.out
    for clip_id in set(recipe["clip_id"]) - set(table["clip_id"]):  # made by a run in which its sources were whole
        for path in list_paths(clip_id, container).values():
            (out / path).unlink(missing_ok=True)
    tables = {
        dataset.RECIPE: recipes.format_recipe(recipe),
        ATTRIBUTION: attribution,
        dataset.MANIFEST: format_manifest(table),
    }
    job.finish_described(found, tables, folders=[*(out / "audio" / name for name in SIGNALS), out / "jams"])
