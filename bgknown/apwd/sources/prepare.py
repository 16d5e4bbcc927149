"""The source tree of APwD, from FSD50K and ESC-50: chosen, converted, looped or trimmed, written.

Which files are taken is in ``bgknown.apwd.sources.published_lists``, what is done to them in
``bgknown.apwd.sources.trimming``, and how the tree is laid out on disk in ``bgknown.apwd.sources.manifest``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.scenes import Scenes, read_published_scenes
from bgknown.apwd.sources.manifest import (
    COLUMNS,
    DESCRIPTION,
    FORMAT,
    TABLE,
    WAV_HEADER_BYTES,
    finish,
    read_source_description,
    read_table,
)
from bgknown.apwd.sources.published_lists import BACKGROUND
from bgknown.apwd.sources.selection import Choice, Found, Labels, choose, find_selected
from bgknown.apwd.sources.trimming import STYLES, Style, count_loops
from bgknown.apwd.sources.worker import SourceTask, is_known, prepare_source
from bgknown.audio.amplitude import describe_counts
from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora import CorpusIndex
from bgknown.corpora.headers import default_cache
from bgknown.corpora.pair import Corpora, open_corpora
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.jobs.files import hash_bytes, list_state
from bgknown.jobs.parallel import check_jobs, count_cores, in_processes
from bgknown.jobs.problems import Problem, list_problems, refuse_broken
from bgknown.jobs.workspace import Workspace
from bgknown.tables import list_records
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

log = logging.getLogger(__name__)

NAME = "APwD sources"
ROWS = 2
"""Number of how a source is prepared; raised when its bytes change. Unfinished work of another number is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """What a preparation depends on."""

    fsd50k: Path
    """Folder of FSD50K, or of a corpus in its layout."""
    esc50: Path
    """Folder of ESC-50, or of a corpus in its layout."""
    out: Path
    """Folder of the source tree; new, empty, or holding the same preparation."""
    cache: Path = field(default_factory=default_cache)
    """Folder in which headers are remembered."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes there are, and which sources a split may take."""
    scene_names: tuple[str, ...] = ()
    """The scenes to prepare; none named means all of them, or what the lists or the labels below say."""
    lists: Path | None = None
    """Folder of published lists (org_audio_csv/ or audio_csv/), instead of everything that bears a scene's labels."""
    backgrounds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Backgrounds of your own: for each label the labels of FSD50K it is taken from."""
    events: Mapping[str, str] = field(default_factory=dict)
    """Events of your own: for each label its category in ESC-50."""
    style: Style = "apwd"
    """apwd: backgrounds scaled to a peak of 0.95, events faded; audiodiffcaps: neither."""
    repeat_samples: bool = False
    """Reproduce a fault of the published AudioDiffCaps: each sample of a background is repeated, instead of the whole
    recording, so that it plays several times too slowly. Only with style audiodiffcaps."""
    skip_broken: bool = False
    """Go on without inputs that are missing or broken."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""

    def __post_init__(self) -> None:
        expand_fields(self, "fsd50k", "esc50", "out", "cache", "lists")
        check_jobs(self.jobs)
        if self.style not in STYLES:
            raise InvalidInputError(f"style is {self.style!r}; it must be {' or '.join(STYLES)}")
        if self.repeat_samples and self.style != "audiodiffcaps":
            raise InvalidInputError(
                "repeat_samples reproduces a fault of AudioDiffCaps; it goes only with style audiodiffcaps"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """What a preparation did."""

    table: pd.DataFrame
    """sources.csv."""
    prepared: int
    """Sources prepared in this run."""
    kept: int
    """Sources that were there already."""
    problems: list[Problem]
    """What was left out as missing or broken (skip_broken)."""
    not_clean: int
    """Events that the published lists mark as not clean, left out."""
    was_finished: bool = False
    """Whether the tree was complete before this run."""


def prepare(options: PrepareOptions) -> PrepareReport:
    """Make the source tree, or go on with it where an earlier run stopped.

    Raises:
        BrokenInputError: sources are missing or broken; lists them. Good ones are kept, no sources.csv is written.
        NotFoundError: a corpus, a list or a scene is not there, or a label has no sources at all.
        InvalidInputError: a list breaks a rule, or two sources would have the same name.
        StorageError: the folder holds something else, is locked, or the disk is full.
    """
    corpora = open_corpora(options.esc50, options.fsd50k, cache=options.cache)
    own = Labels(backgrounds=options.backgrounds, events=options.events)
    choice = choose(corpora, options.scenes, options.scene_names, own, options.lists)
    found, absent = find_selected(choice.wanted, corpora, options.scenes)
    description = _describe(options, corpora, choice, found)
    state = Workspace(options.out, read=read_source_description, manifest=TABLE, description=DESCRIPTION)
    if state.is_finished(description):  # a finished tree may lie where nothing can be written
        if state.folder.exists():  # a kill came between the table and the removal of the state
            with contextlib.suppress(StorageError), state.claim(description):
                pass
        return _finished_report(options.out)
    if choice.not_clean:
        log.info("events that the lists mark as not clean, left out as published: %d", len(choice.not_clean))
    with state.claim(description) as finished:
        if finished:  # by another process, just now
            return _finished_report(options.out)
        tasks = _tasks(found, corpora, options, state)
        return _run(options, state, choice=choice, tasks=tasks, absent=absent, description=description)


def _describe(options: PrepareOptions, corpora: Corpora, choice: Choice, found: Sequence[Found]) -> dict[str, Any]:
    """The part of source.json that is known before the work: no times, no paths of a machine."""
    selection = [[*source.files, source.active] for source in choice.wanted]
    facts = ("file", "frames", "rate_hz", "channels")
    inputs = [
        [source.wanted.role, *(source.row[name] for name in facts)] for source in found if not source.row["problem"]
    ]
    return {
        "name": NAME,
        "format": FORMAT,
        "version": VERSION,
        "configuration": {
            "style": options.style,
            "repeat_samples": options.repeat_samples,
            "rate_hz": RATE_HZ,
            "lists": choice.layout,
            "backgrounds": {label: list(sought) for label, sought in sorted(choice.labels.backgrounds.items())},
            "events": dict(sorted(choice.labels.events.items())),
            "splits": {
                split.name: {"fsd50k": split.fsd50k, "esc50_folds": list(split.esc50_folds)}
                for split in options.scenes.splits.values()
            },
            "selection_sha256": hash_bytes(json.dumps(selection).encode()),
            "inputs_sha256": hash_bytes(json.dumps(inputs).encode()),
        },
        "corpora": {name: _facts(index) for name, index in (("fsd50k", corpora.fsd50k), ("esc50", corpora.esc50))},
    }


def _facts(index: CorpusIndex) -> dict[str, Any]:
    facts = index.facts
    return {
        "name": facts.name,
        "clips": index.parts,
        "published_clips": facts.counts,
        "licence": facts.licence,
        "citation": facts.citation,
        "url": facts.url,
    }


def _tasks(found: Sequence[Found], corpora: Corpora, options: PrepareOptions, state: Workspace) -> list[SourceTask]:
    entries = {entry["digest"]: entry["record"] for entry in state.finished().values()}
    tasks = []
    for source in found:
        wanted, row = source.wanted, source.row
        index = corpora.fsd50k if wanted.role == BACKGROUND else corpora.esc50
        facts = [row["file"], *list_state(index.root / row["file"])]
        made = [*wanted.files, wanted.active, options.style, options.repeat_samples, ROWS]
        digest = hash_bytes(json.dumps([facts, made]).encode())
        tasks.append(
            SourceTask(
                wanted=wanted,
                path=index.root / row["file"],
                file=row["file"],
                origin=f"{index.facts.name}:{row['file']}",
                frames_44k=int(count_frames_44k(row["frames"], row["rate_hz"] or RATE_HZ)),
                style=options.style,
                repeat_samples=options.repeat_samples,
                out=options.out,
                scratch=state.scratch,
                journal=state.journal,
                digest=digest,
                known=known if (known := entries.get(digest)) is not None and is_known(known) else None,
            )
        )
    return tasks


def _run(
    options: PrepareOptions,
    state: Workspace,
    *,
    choice: Choice,
    tasks: Sequence[SourceTask],
    absent: Sequence[Problem],
    description: Mapping[str, Any],
) -> PrepareReport:
    _check_space(options.out, tasks)
    rows: list[dict[str, Any]] = []
    problems, done, kept, clipped = list(absent), 0, 0, set[str]()
    for result in in_processes(prepare_source, tasks, jobs=options.jobs, title="sources", unit="file"):
        rows += result.rows
        done += bool(result.rows)
        kept += result.kept
        clipped |= {result.rows[0]["origin"]} if result.clipped else set()
        if result.problem is not None:
            problems.append(result.problem)
    kept_so_far = f"{done} of {len(choice.wanted)} sources are kept in {options.out}"
    refuse_broken(problems, skip=options.skip_broken, kept=kept_so_far)
    if not rows:
        raise BrokenInputError(
            f"nothing is left to prepare: every source is missing or broken:\n{list_problems(problems)}"
        )
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values("file", ignore_index=True)
    _remove_others(options.out, tasks, set(table["file"]))
    finish(state, table, {**description, **_outcome(table, choice, problems, clipped)})
    for note in describe_counts(silent=(), clipped=clipped, what="sources", cut_off=True):
        log.warning("%s", note)
    return PrepareReport(
        table=table, prepared=done - kept, kept=kept, problems=problems, not_clean=len(choice.not_clean)
    )


def _outcome(
    table: pd.DataFrame, choice: Choice, problems: Sequence[Problem], clipped: Collection[str]
) -> dict[str, Any]:
    """The part of source.json that is known only after the work."""
    skipped = [asdict(problem) for problem in sorted(set(problems))]
    sizes = table.groupby(["split", "role", "label"]).size()
    counts = {"/".join(map(str, place)): int(count) for place, count in sizes.items() if isinstance(place, tuple)}
    counts |= {"files": len(table), "not_clean": len(choice.not_clean), "skipped": len(skipped)}
    counts |= {"clipped": len(clipped)} if clipped else {}
    return {"counts": counts, "skipped": skipped}


def _remove_others(out: Path, tasks: Sequence[SourceTask], good: set[str]) -> None:
    """Files of sources that are broken now may be there from a run in which they were whole."""
    for task in tasks:
        for file in task.wanted.files:
            if file not in good:
                (out / file).unlink(missing_ok=True)


def _check_space(out: Path, tasks: Sequence[SourceTask]) -> None:
    needed = 0
    for task in tasks:
        if task.known is None and task.frames_44k:
            times = count_loops(task.frames_44k) if task.wanted.role == BACKGROUND else 1
            needed += len(task.wanted.files) * (WAV_HEADER_BYTES + 2 * times * task.frames_44k)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(
            f"{out}: the disk has {free / 1e9:.2f} GB free, the sources need up to {needed / 1e9:.2f} GB; "
            "free some space, or give an --out elsewhere"
        )


def _finished_report(out: Path) -> PrepareReport:
    """The report on a finished tree, all of whose files are there.

    Raises:
        StorageError: files are missing or cut short.
    """
    table, description = read_table(out), read_source_description(out)
    lost = [
        row["file"] for row in list_records(table) if _size(out / row["file"]) != WAV_HEADER_BYTES + 2 * row["frames"]
    ]
    if lost:
        raise StorageError(
            f"{out}: the finished source tree lacks {len(lost)} of its files, or they are cut short "
            f"(the first: {lost[0]}); delete the folder and prepare it again to get the same bytes"
        )
    return PrepareReport(
        table=table,
        prepared=0,
        kept=len(table.drop_duplicates(["origin", "split", "label"])),
        problems=[Problem(**problem) for problem in description["skipped"]],
        not_clean=int(description["counts"]["not_clean"]),
        was_finished=True,
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
