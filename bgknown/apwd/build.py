"""From JAMS pairs to a set on disk: manifest, texts and audio, in parallel, resumable, atomic."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.manifest import (
    FORMAT,
    TEXTS,
    derive_pair_set_id,
    format_pair_manifest,
    make_table,
    read_manifest,
    read_pair_description,
)
from bgknown.apwd.pairs import SIDES, PairFiles, find_pairs
from bgknown.apwd.scenes import Scenes, read_published_scenes
from bgknown.apwd.sources.tree import check_tree
from bgknown.apwd.text_style import DEFAULT_STYLE, TextStyle, describe_style, find_style
from bgknown.apwd.text_table import read_text_tables
from bgknown.apwd.worker import AudioTarget, Bits, BuiltPair, PairTask, build_pairs
from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.parallel import check_jobs, count_cores, in_batches
from bgknown.jobs.problems import Problem, refuse_broken
from bgknown.jobs.resumable import Job, JobOutcome
from bgknown.jobs.shards import Shard
from bgknown.jobs.workspace import Workspace
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST, PAIRS
from bgknown.render import scaper
from bgknown.render.layers import Container, Engine
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

log = logging.getLogger(__name__)

DURATION_S = 10.0
"""Length of a published soundscape, to estimate the space that is needed."""
Texts = dict[str, tuple[str, ...]]
"""Texts from tables, by pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBuildOptions:
    """The options of a build of pairs."""

    jams: Path
    """Folder of the JAMS, at any depth."""
    out: Path
    """Folder of the set; new, empty, or holding the same build."""
    source: Path | None = None
    """The source tree that the JAMS name (the folder called ``source``); None makes only manifest and texts."""
    text_tables: tuple[Path, ...] = ()
    """CSV files of texts that replace those made from the JAMS."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes, and the words for their classes."""
    text_style: TextStyle | None = None
    """Style of the texts, and rule of the changes; None keeps that of the folder, and means 2 in a new one."""
    engine: Engine = "direct"
    """What renders: the direct renderer, or Scaper itself."""
    container: Container = "wav"
    """File type of the audio."""
    bits: Bits = 16
    """Bits of a sample: 16, or 32 as Scaper writes them."""
    limit: int | None = None
    """Build only this many pairs, of every scene and split."""
    skip_broken: bool = False
    """Leave out broken pairs."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""
    shard: Shard | None = None
    """Make only this share of the pairs, and no tables."""

    def __post_init__(self) -> None:
        expand_fields(self, "jams", "source", "out")
        check_jobs(self.jobs)
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1 pair")
        if self.container == "flac" and self.bits == 32:
            raise InvalidInputError("FLAC cannot hold 32 bits; give --format wav or --bits 16")
        if self.shard is not None and self.source is None:
            raise InvalidInputError("a manifest without audio has no shards; leave --shard out")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What a build did."""

    table: pd.DataFrame
    """The manifest."""
    rendered: int
    """Pairs rendered, or described, in this run."""
    kept: int
    """Pairs that an earlier run had made."""
    problems: list[Problem]
    """What was left out (--skip-broken)."""
    was_finished: bool = False
    """Whether the set was complete before this run."""
    shard: Shard | None = None
    """The share that was made, of which ``table`` has the rows; None for the whole set."""


def build(options: PairBuildOptions) -> PairReport:
    """Make a set of pairs, or resume where an earlier run stopped.

    Raises:
        BrokenInputError: some pairs are broken; lists them. Good pairs are kept, no manifest is written.
        StorageError: the folder holds something else, is locked, or the disk is full.
        InvalidInputError: the JAMS do not make pairs, or a table of texts breaks a rule.
        NotFoundError: a folder is missing, or Scaper is to render and is not installed.
    """
    if options.source is not None:
        check_tree(options.source)
        if options.engine == "scaper":
            scaper.check_installed()
    texts = read_text_tables(options.text_tables)
    files = _take_first(find_pairs(options.jams), options.limit)
    _check_texts(texts, files, options.text_tables)
    workspace = Workspace(
        options.out, read=read_pair_description, manifest=MANIFEST, description=DESCRIPTION, shard=options.shard
    )
    if options.text_style is None:
        options = replace(options, text_style=find_style(workspace.read_begun()))
    job = Job(
        workspace=workspace,
        description=describe_set(options, files, texts),
        noun="pair",
        jobs=options.jobs,
        skip_broken=options.skip_broken,
    )
    return job.run(lambda: _make_pairs(job, options, files, texts), lambda: _report_finished_pairs(job))


def _make_pairs(job: Job, options: PairBuildOptions, files: Sequence[PairFiles], texts: Texts) -> PairReport:
    """Make what is missing."""
    tasks = job.take_share(_list_tasks(job, options, files, texts))
    missing = sum(len(task.files.sides()) for task in tasks if task.target is not None and task.known is None)
    if options.container == "wav":
        hint = ", or use --manifest-only and render on demand"
        job.check_space(int(missing * DURATION_S * RATE_HZ * options.bits // 8), hint=hint)
    results = job.run_units(build_pairs, tasks, title="pairs", batch=_choose_batch(options, len(tasks)))
    outcome = JobOutcome[BuiltPair]().add(results)
    job.check(outcome, len(tasks), stored=options.source is not None)
    table = make_table(pair.row for pair in outcome.records)
    if job.shard is not None:
        made = len(table) - outcome.kept
        return PairReport(table=table, rendered=made, kept=outcome.kept, problems=outcome.problems, shard=job.shard)
    _write_pair_tables(job, table, texts, outcome.problems)
    _warn_of_pairs(outcome.records, table, options.text_style)
    rendered = len(table) - outcome.kept
    return PairReport(table=table, rendered=rendered, kept=outcome.kept, problems=outcome.problems)


def _choose_batch(options: PairBuildOptions, pairs: int) -> int:
    """Pairs that a process gets at a time.

    At the end of a batch a process waits until the disk has all of it; at the end of the build, processes wait for the
    one with the last batch. So batches are large, but not so large that processes do not have several each.
    """
    if options.source is None:
        return 256
    most = 64 if options.engine == "direct" else 16
    return most if options.jobs == 1 else min(most, max(pairs // (4 * options.jobs), 16))


def describe_pairs(options: PairBuildOptions) -> pd.DataFrame:
    """The manifest of all pairs without audio; writes nothing.

    Raises:
        BrokenInputError, InvalidInputError, NotFoundError: as ``build``.
    """
    texts = read_text_tables(options.text_tables)
    files = _take_first(find_pairs(options.jams), options.limit)
    _check_texts(texts, files, options.text_tables)
    tasks = _list_tasks(None, options, files, texts)
    results = in_batches(build_pairs, tasks, jobs=options.jobs, title="JAMS", unit="pair", batch=256)
    outcome = JobOutcome[BuiltPair]().add(results)
    refuse_broken(outcome.problems, skip=options.skip_broken, kept="nothing was written")
    return make_table(pair.row for pair in outcome.records)


def _take_first(files: list[PairFiles], limit: int | None) -> list[PairFiles]:
    """The first pairs of each folder in turn, so that every scene and split has some."""
    if limit is None or limit >= len(files):
        return files
    folders: dict[str, list[PairFiles]] = {}
    for pair in files:
        folders.setdefault(pair.s1.rpartition("/")[0], []).append(pair)
    ranked = sorted((number, pair.pair, pair) for group in folders.values() for number, pair in enumerate(group))
    return sorted((pair for _, _, pair in ranked[:limit]), key=lambda pair: pair.pair)


def _check_texts(texts: Texts, files: Sequence[PairFiles], tables: Sequence[Path]) -> None:
    if not tables:
        return
    missing = [pair.pair for pair in files if pair.pair not in texts]
    if missing:
        raise InvalidInputError(
            f"{', '.join(str(table) for table in tables)}: no text for {len(missing)} of {len(files)} pairs "
            f"(the first: {missing[0]}); complete the table, or leave these JAMS out"
        )


def describe_set(options: PairBuildOptions, files: Sequence[PairFiles], texts: Texts) -> dict[str, Any]:
    """The part of dataset.json that is known before the build: no times, no paths of a machine."""
    names = json.dumps([[pair.pair, pair.s1, pair.s2] for pair in files])
    audio = None
    if options.source is not None:
        audio = {
            "renderer": f"{options.engine} {scaper.VERSION}",
            "rate_hz": RATE_HZ,
            "container": options.container,
            "bits": options.bits,
        }
    used = {pair.pair: texts[pair.pair] for pair in files} if texts else None
    return {
        "name": PAIRS,
        "format": FORMAT,
        "version": VERSION,
        "configuration": {
            "audio": audio,
            **describe_style(
                options.text_style or DEFAULT_STYLE,
                options.scenes,
                None if used is None else hash_bytes(json.dumps(used).encode()),
            ),
            "limit": options.limit,
        },
        "inputs": {"pairs": len(files), "jams_names_sha256": hash_bytes(names.encode())},
        "licence": "the audio: each source's own (FSD50K: for each clip; ESC-50: CC BY-NC, ESC-10: CC BY)",
        "citation": (
            "D. Takeuchi, Y. Ohishi, D. Niizumi, N. Harada and K. Kashino, Introducing Auxiliary Text Query-modifier "
            "to Content-based Audio Retrieval, Interspeech 2022"
        ),
    }


def _list_tasks(job: Job | None, options: PairBuildOptions, files: Sequence[PairFiles], texts: Texts) -> list[PairTask]:
    """The pairs as workers get them; without a job, or without sources, they have no audio."""
    target, known = None, {}
    if job is not None and options.source is not None:
        known = job.find_known()
        target = AudioTarget(
            source=options.source,
            folder=job.folder,
            container=options.container,
            bits=options.bits,
            engine=options.engine,
        )
    return [
        PairTask(
            files=pair,
            jams=options.jams,
            scenes=options.scenes,
            texts=texts.get(pair.pair),
            target=target,
            style=options.text_style or DEFAULT_STYLE,
            known=known.get(pair.pair),
        )
        for pair in files
    ]


def _describe_pairs_outcome(table: pd.DataFrame, problems: Sequence[Problem]) -> dict[str, Any]:
    """The part of dataset.json that is known only after the build."""
    counts = Counter(zip(table["scene"], table["split"], strict=True))
    return {
        "dataset_id": derive_pair_set_id(table),
        "counts": {
            "pairs": len(table),
            **{f"{scene}/{split}": count for (scene, split), count in sorted(counts.items())},
            "skipped": len(problems),
        },
        "skipped": [asdict(problem) for problem in sorted(set(problems))],
    }


def _write_pair_tables(job: Job, table: pd.DataFrame, texts: Texts, problems: Sequence[Problem]) -> None:
    out = job.workspace.out
    tables: dict[str, bytes] = {}
    if any(len(several) > 1 for several in texts.values()):
        rows = [(pair, text) for pair in table["pair"] for text in texts[pair]]
        tables[TEXTS] = pd.DataFrame(rows, columns=["pair", "text"]).to_csv(index=False, lineterminator="\n").encode()
    tables[MANIFEST] = format_pair_manifest(table)
    folders = sorted({(out / file).parent for side in SIDES for file in table[side] if file})
    job.finish_described(_describe_pairs_outcome(table, problems), tables, folders=folders)


def _report_finished_pairs(job: Job) -> PairReport:
    table = read_manifest(job.workspace.out)
    job.check_finished_files({file: None for side in SIDES for file in table[side] if file})
    skipped = [Problem(**problem) for problem in read_pair_description(job.workspace.out)["skipped"]]
    return PairReport(table=table, rendered=0, kept=len(table), problems=skipped, was_finished=True)


def _warn_of_pairs(pairs: Sequence[BuiltPair], table: pd.DataFrame, style: TextStyle | None) -> None:
    alike = table[(table["changes"] == "") & (table["other_changes"] == "") & (table["jams_s2"] != "")]
    if len(alike):
        log.warning(
            "%d pairs have no difference that their JAMS show (the first: %s)", len(alike), alike["pair"].iloc[0]
        )
    if len(others := table[table["other_changes"] != ""]):
        log.warning(
            "%d pairs have changes that the published codes cannot express (the first: %s, %s); %s",
            len(others),
            others["pair"].iloc[0],
            others["other_changes"].iloc[0],
            "texts of style 1 do not name them, --text-style 2 does" if style == 1 else "see the column other_changes",
        )
    if clipped := sum(pair.clipped > 0 for pair in pairs):
        log.warning("%d pairs clip: some of their samples are at full scale", clipped)
