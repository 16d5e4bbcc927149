"""Make the source tree of APwD from FSD50K and ESC-50.

``bgknown.apwd.sources.selection`` chooses the files, ``bgknown.apwd.sources.trimming`` loops or trims them, and
``bgknown.apwd.sources.manifest`` describes the tree on disk.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
    format_table,
    read_source_description,
    read_table,
)
from bgknown.apwd.sources.published_lists import BACKGROUND
from bgknown.apwd.sources.selection import Choice, Labels, LocatedSource, choose, find_selected
from bgknown.apwd.sources.trimming import STYLES, Style, count_loops
from bgknown.apwd.sources.worker import PreparedSource, SourceUnit, prepare_source
from bgknown.audio.amplitude import describe_counts
from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora import CorpusIndex
from bgknown.corpora.headers import default_cache
from bgknown.corpora.pair import Corpora, open_corpora
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes, list_state
from bgknown.jobs.parallel import check_jobs, count_cores, one_by_one
from bgknown.jobs.problems import Problem
from bgknown.jobs.resumable import Job, JobOutcome
from bgknown.jobs.shards import Shard
from bgknown.jobs.units import make_digest
from bgknown.jobs.workspace import Workspace
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

log = logging.getLogger(__name__)

NAME = "APwD sources"
ROWS = 2
"""Number of how a source is prepared; raised when its bytes change, so that older ones are remade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """The options of a preparation."""

    fsd50k: Path
    """Folder of FSD50K, or of a corpus in its layout."""
    esc50: Path
    """Folder of ESC-50, or of a corpus in its layout."""
    out: Path
    """Folder of the source tree; new, empty, or holding the same preparation."""
    cache: Path = field(default_factory=default_cache)
    """Folder of the header cache."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes, and which sources a split may take."""
    scene_names: tuple[str, ...] = ()
    """The scenes to prepare; none means all of them, or only the lists and labels below if there are any."""
    lists: Path | None = None
    """Folder of published lists (org_audio_csv/ or audio_csv/), instead of all clips that have a scene's labels."""
    backgrounds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Your own backgrounds: for each label the labels of FSD50K that it is taken from."""
    events: Mapping[str, str] = field(default_factory=dict)
    """Your own events: for each label its category in ESC-50."""
    style: Style = "apwd"
    """apwd: backgrounds scaled to a peak of 0.95, events faded; audiodiffcaps: neither."""
    repeat_samples: bool = False
    """Reproduce a fault of the published AudioDiffCaps: each sample of a background is repeated instead of the whole
    recording, so that it plays several times too slowly. Only with style audiodiffcaps."""
    keep_sources: bool = False
    """Also choose recordings that ESC-50 clips were cut from, by their labels; lists are followed as they are."""
    skip_broken: bool = False
    """Leave out missing and broken inputs."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""
    shard: Shard | None = None
    """Prepare only this share of the sources, and write no tables."""

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
    """Sources that an earlier run had prepared."""
    problems: list[Problem]
    """What was left out as missing or broken (skip_broken)."""
    not_clean: int
    """Events that the published lists mark as not clean, left out."""
    sources_of_clips: int = 0
    """Recordings left out because ESC-50 clips were cut from them."""
    was_finished: bool = False
    """Whether the tree was complete before this run."""
    shard: Shard | None = None
    """The share that was prepared, of which ``table`` has the rows; None for the whole tree."""


def prepare(options: PrepareOptions) -> PrepareReport:
    """Make the source tree, or resume where an earlier run stopped.

    Raises:
        BrokenInputError: sources are missing or broken; lists them. Good ones are kept, no sources.csv is written.
        NotFoundError: a corpus, a list or a scene is missing, or a label has no sources at all.
        InvalidInputError: a list breaks a rule, or two sources would have the same name.
        StorageError: the folder holds something else, is locked, or the disk is full.
    """
    corpora = open_corpora(options.esc50, options.fsd50k, cache=options.cache)
    own = Labels(backgrounds=options.backgrounds, events=options.events)
    choice = choose(corpora, options.scenes, options.scene_names, own, options.lists, keep_sources=options.keep_sources)
    found, absent = find_selected(choice.sources, corpora, options.scenes)
    job = Job(
        workspace=Workspace(
            options.out, read=read_source_description, manifest=TABLE, description=DESCRIPTION, shard=options.shard
        ),
        description=_describe_tree(options, corpora, choice, found),
        noun="source",
        jobs=options.jobs,
        skip_broken=options.skip_broken,
    )
    return job.run(
        lambda: _make_sources(job, options, corpora, choice=choice, found=found, absent=absent),
        lambda: _report_finished_tree(job),
    )


def _make_sources(
    job: Job,
    options: PrepareOptions,
    corpora: Corpora,
    *,
    choice: Choice,
    found: Sequence[LocatedSource],
    absent: Sequence[Problem],
) -> PrepareReport:
    """Make what is missing."""
    if choice.not_clean:
        log.info("events that the lists mark as not clean, left out as published: %d", len(choice.not_clean))
    units = job.take_share(_list_source_units(job, found, corpora, options))
    job.check_space(sum(_estimate_bytes(unit) for unit in units if unit.known is None))
    results = job.run_units(one_by_one(prepare_source), units, title="sources")
    outcome = JobOutcome[PreparedSource](problems=list(absent)).add(results)
    job.check(outcome, len(choice.sources) if job.shard is None else len(units))
    rows = [asdict(row) for source in outcome.records for row in source.rows]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values("file", ignore_index=True)
    report = PrepareReport(
        table=table,
        prepared=len(outcome.records) - outcome.kept,
        kept=outcome.kept,
        problems=outcome.problems,
        not_clean=len(choice.not_clean),
        shard=job.shard,
    )
    if job.shard is not None:
        return report
    good = set(table["file"])
    for file in (file for unit in units for file in unit.spec.files if file not in good):
        (options.out / file).unlink(missing_ok=True)  # made by a run in which its source was whole
    clipped = {source.rows[0].origin for source in outcome.records if source.clipped}
    folders = sorted({(options.out / file).parent for file in good})
    facts = _describe_tree_outcome(table, choice, outcome.problems, clipped)
    job.finish_described(facts, {TABLE: format_table(table)}, folders=folders)
    for note in describe_counts(silent=(), clipped=clipped, what="sources", cut_off=True):
        log.warning("%s", note)
    return replace(report, sources_of_clips=len(choice.sources_of_clips))


def _describe_tree(
    options: PrepareOptions, corpora: Corpora, choice: Choice, found: Sequence[LocatedSource]
) -> dict[str, Any]:
    """The part of source.json that is known before the work: no times, no paths of a machine."""
    selection = [[*source.files, source.active] for source in choice.sources]
    facts = ("file", "frames", "rate_hz", "channels")
    inputs = [
        [source.spec.role, *(source.row[name] for name in facts)] for source in found if not source.row["problem"]
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
        "corpora": {
            name: _describe_corpus(index)
            for name, index in (("fsd50k", corpora.background), ("esc50", corpora.foreground))
        },
    }


def _describe_corpus(index: CorpusIndex) -> dict[str, Any]:
    facts = index.facts
    return {
        "name": facts.name,
        "clips": index.parts,
        "published_clips": facts.counts,
        "licence": facts.licence,
        "citation": facts.citation,
        "url": facts.url,
    }


def _list_source_units(
    job: Job, found: Sequence[LocatedSource], corpora: Corpora, options: PrepareOptions
) -> list[SourceUnit]:
    known = job.find_known()
    units = []
    for source in found:
        spec, row = source.spec, source.row
        index = corpora.background if spec.role == BACKGROUND else corpora.foreground
        facts = [row["file"], *list_state(index.root / row["file"])]
        made = [*spec.files, spec.active, options.style, options.repeat_samples, ROWS]
        units.append(
            SourceUnit(
                spec=spec,
                path=index.root / row["file"],
                file=row["file"],
                origin=f"{index.facts.name}:{row['file']}",
                frames_44k=int(count_frames_44k(row["frames"], row["rate_hz"] or RATE_HZ)),
                style=options.style,
                repeat_samples=options.repeat_samples,
                folder=job.folder,
                digest=make_digest(facts, made),
                known=known.get(spec.files[0]),
            )
        )
    return units


def _describe_tree_outcome(
    table: pd.DataFrame, choice: Choice, problems: Sequence[Problem], clipped: Collection[str]
) -> dict[str, Any]:
    """The part of source.json that is known only after the work."""
    skipped = [asdict(problem) for problem in sorted(set(problems))]
    sizes = table.groupby(["split", "role", "label"]).size()
    counts = {"/".join(map(str, place)): int(count) for place, count in sizes.items() if isinstance(place, tuple)}
    counts |= {"files": len(table), "not_clean": len(choice.not_clean), "skipped": len(skipped)}
    counts |= {"sources_of_clips": len(choice.sources_of_clips)}
    counts |= {"clipped": len(clipped)} if clipped else {}
    return {"counts": counts, "skipped": skipped}


def _estimate_bytes(unit: SourceUnit) -> int:
    """The space that a source takes, at most."""
    if not unit.frames_44k:
        return 0
    times = count_loops(unit.frames_44k) if unit.spec.role == BACKGROUND else 1
    return len(unit.spec.files) * (WAV_HEADER_BYTES + 2 * times * unit.frames_44k)


def _report_finished_tree(job: Job) -> PrepareReport:
    table, description = read_table(job.workspace.out), read_source_description(job.workspace.out)
    job.check_finished_files(
        {file: WAV_HEADER_BYTES + 2 * frames for file, frames in zip(table["file"], table["frames"], strict=True)}
    )
    return PrepareReport(
        table=table,
        prepared=0,
        kept=len(table.drop_duplicates(["origin", "split", "label"])),
        problems=[Problem(**problem) for problem in description["skipped"]],
        not_clean=int(description["counts"]["not_clean"]),
        sources_of_clips=int(description["counts"].get("sources_of_clips", 0)),
        was_finished=True,
    )
