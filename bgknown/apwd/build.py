"""From JAMS pairs to a set on disk: manifest, texts and audio, in parallel, resumable, atomic."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.manifest import (
    COLUMNS,
    FORMAT,
    TEXTS,
    derive_pair_set_id,
    format_pair_manifest,
    read_manifest,
    read_pair_description,
)
from bgknown.apwd.pairs import SIDES, PairFiles, find_pairs
from bgknown.apwd.scenes import Scenes, read_published_scenes
from bgknown.apwd.text import TEMPLATES
from bgknown.apwd.text_table import read_text_tables
from bgknown.apwd.worker import AudioTarget, Bits, Container, PairResult, PairTask, build_pairs
from bgknown.audio.files import RATE_HZ
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.files import hash_bytes, make_folder, sync_folder, write_whole
from bgknown.jobs.parallel import check_jobs, count_cores, in_batches
from bgknown.jobs.problems import Problem, list_problems, refuse_broken
from bgknown.jobs.workspace import Workspace
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST, PAIRS, format_description
from bgknown.render import scaper
from bgknown.render.layers import Engine
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

log = logging.getLogger(__name__)

ROWS = 2
"""Number of how a pair is rendered; raised when its bytes change. Unfinished work of another number is made again."""
DURATION_S = 10.0
"""Length of a published soundscape, for the estimate of the space that is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBuildOptions:
    """What a build of pairs depends on."""

    jams: Path
    """Folder of the JAMS; they are looked for in all folders below it."""
    out: Path
    """Folder of the set; new, empty, or holding the same build."""
    source: Path | None = None
    """The source tree that the JAMS name (the folder called ``source``); None makes manifest and texts alone."""
    text_tables: tuple[Path, ...] = ()
    """CSV files of texts that stand instead of those made from the JAMS."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes, and the words for their classes."""
    engine: Engine = "direct"
    """What renders: the direct renderer, or Scaper itself."""
    container: Container = "wav"
    """File type of the audio."""
    bits: Bits = 16
    """Bits of a sample: 16, or 32 as Scaper writes them."""
    limit: int | None = None
    """Only the first pairs, in the order of their names, as many of each split as there are."""
    skip_broken: bool = False
    """Go on without pairs that are broken."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""

    def __post_init__(self) -> None:
        expand_fields(self, "jams", "source", "out")
        check_jobs(self.jobs)
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1 pair")
        if self.container == "flac" and self.bits == 32:
            raise InvalidInputError("FLAC holds no 32 bits; give --format wav or --bits 16")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What a build did."""

    table: pd.DataFrame
    """The manifest."""
    rendered: int
    """Pairs rendered, or described, in this run."""
    kept: int
    """Pairs that were there already."""
    problems: list[Problem]
    """What was left out (--skip-broken)."""
    was_finished: bool = False
    """Whether the set was complete before this run."""


def build(options: PairBuildOptions) -> PairReport:
    """Make a set of pairs, or go on with it where an earlier run stopped.

    Raises:
        BrokenInputError: some pairs are broken; lists them. Good pairs are kept, no manifest is written.
        StorageError: the folder holds something else, is locked, or the disk is full.
        InvalidInputError: the JAMS do not make pairs, or a table of texts breaks a rule.
        NotFoundError: a folder is missing, or Scaper is not installed where it is to render.
    """
    if options.source is not None:
        _check_source(options.source)
        if options.engine == "scaper":
            scaper.check_installed()
    texts = read_text_tables(options.text_tables)
    files = _taken(find_pairs(options.jams), options.limit)
    _check_texts(texts, files, options.text_tables)
    description = describe_set(options, files, texts)
    workspace = Workspace(options.out, read=read_pair_description, manifest=MANIFEST, description=DESCRIPTION)
    with workspace.claim(description) as finished:
        if finished:
            return _finished_report(options.out)
        results = _work(options, files, texts, workspace)
        problems = [result.problem for result in results if result.problem is not None]
        good = [result for result in results if result.record is not None]
        kept = (
            f"{len(good)} of {len(files)} pairs are kept in {options.out}" if options.source else "nothing was written"
        )
        refuse_broken(problems, skip=options.skip_broken, kept=kept)
        if not good:
            raise BrokenInputError(
                f"nothing is left to build: all {len(files)} pairs are broken:\n{list_problems(problems)}"
            )
        table = _table(good)
        _finish(options, workspace, table, texts, {**description, **_outcome(table, problems)})
    _warn(good, table)
    already = sum(result.kept for result in good)
    return PairReport(table=table, rendered=len(good) - already, kept=already, problems=problems)


def describe_pairs(options: PairBuildOptions) -> pd.DataFrame:
    """The manifest of all pairs without audio; writes nothing.

    Raises:
        BrokenInputError, InvalidInputError, NotFoundError: as ``build``.
    """
    texts = read_text_tables(options.text_tables)
    files = _taken(find_pairs(options.jams), options.limit)
    _check_texts(texts, files, options.text_tables)
    results = list(_described(options, files, texts))
    problems = [result.problem for result in results if result.problem is not None]
    refuse_broken(problems, skip=options.skip_broken, kept="nothing was written")
    return _table([result for result in results if result.record is not None])


def _table(results: Sequence[PairResult]) -> pd.DataFrame:
    rows = [{name: (result.record or {}).get(name, "") for name in COLUMNS} for result in results]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("pair", ignore_index=True)


def _check_source(source: Path) -> None:
    if not any((source / split).is_dir() for split in ("dev", "eval")):
        hint = f"; did you mean {source / 'source'}?" if (source / "source").is_dir() else ""
        raise NotFoundError(
            f"{source}: no source tree (no folder dev or eval in it){hint}; `bgknown apwd prepare` makes one, "
            "and --manifest-only needs none"
        )


def _taken(files: list[PairFiles], limit: int | None) -> list[PairFiles]:
    """The first pairs of each folder in turn, so that every scene and split has some."""
    if limit is None or limit >= len(files):
        return files
    folders: dict[str, list[PairFiles]] = {}
    for pair in files:
        folders.setdefault(str(Path(pair.s1).parent), []).append(pair)
    ranked = sorted((number, pair.pair, pair) for group in folders.values() for number, pair in enumerate(group))
    return sorted((pair for _, _, pair in ranked[:limit]), key=lambda pair: pair.pair)


def _check_texts(texts: dict[str, tuple[str, ...]], files: Sequence[PairFiles], tables: Sequence[Path]) -> None:
    if not tables:
        return
    missing = [pair.pair for pair in files if pair.pair not in texts]
    if missing:
        raise InvalidInputError(
            f"{', '.join(str(table) for table in tables)}: no text for {len(missing)} of {len(files)} pairs "
            f"(the first: {missing[0]}); complete the table, or leave these JAMS out"
        )


def describe_set(
    options: PairBuildOptions, files: Sequence[PairFiles], texts: dict[str, tuple[str, ...]]
) -> dict[str, Any]:
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
            "texts": f"templates {TEMPLATES}" if used is None else f"table {hash_bytes(json.dumps(used).encode())}",
            "scenes_sha256": hash_bytes(repr(options.scenes).encode()),
            "limit": options.limit,
        },
        "inputs": {"pairs": len(files), "jams_names_sha256": hash_bytes(names.encode())},
        "licence": "the audio: each source's own (FSD50K: for each clip; ESC-50: CC BY-NC, ESC-10: CC BY)",
        "citation": (
            "D. Takeuchi, Y. Ohishi, D. Niizumi, N. Harada and K. Kashino, Introducing Auxiliary Text Query-modifier "
            "to Content-based Audio Retrieval, Interspeech 2022"
        ),
    }


def _work(
    options: PairBuildOptions, files: Sequence[PairFiles], texts: dict[str, tuple[str, ...]], workspace: Workspace
) -> list[PairResult]:
    if options.source is None:
        return list(_described(options, files, texts))
    known = workspace.finished()
    _check_space(options, files, len(known))
    target = AudioTarget(
        source=options.source,
        out=options.out,
        scratch=workspace.scratch,
        journal=workspace.journal,
        container=options.container,
        bits=options.bits,
        engine=options.engine,
        stamp=json.dumps([options.engine, options.container, options.bits, ROWS]),
    )
    tasks = [
        PairTask(
            files=pair,
            jams=options.jams,
            scenes=options.scenes,
            texts=texts.get(pair.pair),
            target=target,
            known=known.get(pair.pair),
        )
        for pair in files
    ]
    return list(in_batches(build_pairs, tasks, jobs=options.jobs, title="pairs", unit="pair", batch=16))


def _described(
    options: PairBuildOptions, files: Sequence[PairFiles], texts: dict[str, tuple[str, ...]]
) -> Iterator[PairResult]:
    tasks = [
        PairTask(files=pair, jams=options.jams, scenes=options.scenes, texts=texts.get(pair.pair), target=None)
        for pair in files
    ]
    yield from in_batches(build_pairs, tasks, jobs=options.jobs, title="JAMS", unit="pair", batch=256)


def _check_space(options: PairBuildOptions, files: Sequence[PairFiles], done: int) -> None:
    """Refuse to begin what the disk cannot hold; an estimate by the length of published soundscapes."""
    make_folder(options.out)
    sides = sum(len(pair.sides()) for pair in files[done:])
    needed = int(sides * DURATION_S * RATE_HZ * options.bits // 8)
    free = shutil.disk_usage(options.out).free
    if options.container == "wav" and needed > free:
        raise StorageError(
            f"{options.out}: the disk has {free / 1e9:.2f} GB free, {sides} files need about {needed / 1e9:.2f} GB; "
            "free some space, give an --out elsewhere, or use --manifest-only and render on demand"
        )


def _outcome(table: pd.DataFrame, problems: Sequence[Problem]) -> dict[str, Any]:
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


def _finish(
    options: PairBuildOptions,
    workspace: Workspace,
    table: pd.DataFrame,
    texts: dict[str, tuple[str, ...]],
    description: dict[str, Any],
) -> None:
    out = options.out
    for folder in sorted({(out / file).parent for side in SIDES for file in table[side] if file}):
        sync_folder(folder)
    if any(len(several) > 1 for several in texts.values()):
        rows = [(pair, text) for pair in table["pair"] for text in texts[pair]]
        content = pd.DataFrame(rows, columns=["pair", "text"]).to_csv(index=False, lineterminator="\n")
        write_whole(out / TEXTS, content.encode(), aside=workspace.scratch)
    write_whole(out / DESCRIPTION, format_description(description), aside=workspace.scratch)
    sync_folder(out)
    write_whole(out / MANIFEST, format_pair_manifest(table), aside=workspace.scratch)
    sync_folder(out)


def _finished_report(out: Path) -> PairReport:
    table = read_manifest(out)
    missing = [file for side in SIDES for file in table[side] if file and not (out / file).is_file()]
    if missing:
        raise StorageError(
            f"{out}: the finished set lacks {len(missing)} of its files (the first: {missing[0]}); "
            "delete the folder and build again to get the same bytes"
        )
    skipped = [Problem(**problem) for problem in read_pair_description(out)["skipped"]]
    return PairReport(table=table, rendered=0, kept=len(table), problems=skipped, was_finished=True)


def _warn(results: Sequence[PairResult], table: pd.DataFrame) -> None:
    alike = table[(table["changes"] == "") & (table["jams_s2"] != "")]
    if len(alike):
        log.warning(
            "%d pairs have no difference that their JAMS show (the first: %s)", len(alike), alike["pair"].iloc[0]
        )
    if clipped := sum(result.clipped > 0 for result in results):
        log.warning("%d pairs clip: some of their samples are at full scale", clipped)
