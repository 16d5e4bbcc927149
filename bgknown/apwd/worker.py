"""The work of one process of a build of pairs: from two JAMS to a row of the manifest and two files of audio."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bgknown.apwd.changes import format_codes, list_classes, list_others, list_published
from bgknown.apwd.comparison import find_changes
from bgknown.apwd.manifest import PairRow, compose_audio_path
from bgknown.apwd.pairs import Pair, PairFiles, list_layers, read_pair
from bgknown.apwd.rendering import SourceError, explain_source_problem, make_opener, render_pcm16
from bgknown.apwd.scenes import Scenes
from bgknown.apwd.text_style import DEFAULT_STYLE, TextStyle, find_changes_in_style, write_text
from bgknown.apwd.text_table import choose_text
from bgknown.audio.files import NO_SUCH_FILE, encode_parts
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes, read_state
from bgknown.jobs.problems import Problem
from bgknown.jobs.resumable import UnitResult
from bgknown.jobs.units import FinishedUnit, JobFolder, PartFile, make_digest
from bgknown.render import direct, passes, scaper
from bgknown.render.layers import Container, Engine

Bits = Literal[16, 32]

ROWS = 2
"""Number of how a pair is rendered; raised when its bytes change, so that older ones are remade."""
_STORERS = 4  # threads that store pairs
_WAITING = 8  # pairs that may be rendered and not yet stored


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTarget:
    """Where audio is written, and in which form."""

    source: Path
    """The source tree."""
    folder: JobFolder
    """The folder of the set."""
    container: Container
    """File type."""
    bits: Bits
    """Bits of a sample."""
    engine: Engine
    """What renders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """One pair for a worker."""

    files: PairFiles
    """The pair's JAMS."""
    jams: Path
    """Folder of the JAMS."""
    scenes: Scenes
    """The scenes."""
    texts: tuple[str, ...] | None
    """Texts from a table, instead of those from the JAMS."""
    target: AudioTarget | None
    """Where audio is written; None writes none."""
    style: TextStyle = DEFAULT_STYLE
    """Style of the texts and rule of the changes."""
    known: FinishedUnit | None = None
    """What an earlier run has made of it."""

    def __str__(self) -> str:
        return self.files.pair


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPair:
    """A finished pair."""

    row: PairRow
    """Its row of the manifest."""
    clipped: int = 0
    """Samples at full scale in both files."""


PairResult = UnitResult[BuiltPair]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RenderedPair:
    """A rendered pair that is not stored yet."""

    row: PairRow
    """The row of the manifest, without the hashes of the audio."""
    digest: str
    """Fingerprint of everything that the audio depends on."""
    pcm: dict[str, NDArray[np.int16] | NDArray[np.int32]]
    """[N] samples of each side."""


def build_pairs(tasks: Sequence[PairTask]) -> list[PairResult]:
    """Make rows of the manifest and, if the tasks have a target, the files under their final names.

    While pairs are rendered, threads hash and write earlier ones, and wait until the disk has them. One wait is many
    times as long as rendering, and a disk serves several of them in hardly more time than one.

    Raises:
        StorageError: the disk is full or refuses.
    """
    results: list[PairResult | Future[PairResult]] = []
    memory: list[NDArray[np.int16]] = []  # of samples that have been written
    with ThreadPoolExecutor(_STORERS) as storers:
        for task in tasks:
            made = _make_pair(task, memory)
            if isinstance(made, _RenderedPair) and task.target is not None:
                results.append(storers.submit(_store_pair, made, task.target, memory))
            elif isinstance(made, UnitResult):
                results.append(made)
            if len(results) > _WAITING and isinstance(late := results[-_WAITING - 1], Future):
                late.result()  # rendering waits for a slow disk, and errors of the disk end the batch
        return [result.result() if isinstance(result, Future) else result for result in results]


def _make_pair(task: PairTask, memory: list[NDArray[np.int16]]) -> PairResult | _RenderedPair:
    """The row of a pair and, unless an earlier run has made it, its audio in memory that is free."""
    name = task.files.pair
    try:
        contents = {side: _read_jams(task.jams / file) for side, file in task.files.sides().items()}
        pair = read_pair(task.files, contents, task.scenes)
        row = _describe_pair(task, pair, contents)
        if task.target is None:
            return UnitResult(record=BuiltPair(row=row))
        digest = _make_pair_digest(task.target, row, pair)
        kept = task.target.folder.find_kept(task.known, digest)
        if kept is not None:
            return UnitResult(record=BuiltPair(row=replace(row, **kept["hashes"]), clipped=kept["clipped"]), kept=True)
        return _RenderedPair(row=row, digest=digest, pcm=_render_sides(task, task.target, pair, memory))
    except SourceError as error:
        return UnitResult(problem=error.problem)
    except (InvalidInputError, NotFoundError) as error:
        return UnitResult(problem=Problem(where=name, code="unreadable", what=str(error)))


def _describe_pair(task: PairTask, pair: Pair, contents: dict[str, bytes]) -> PairRow:
    """The row of a pair without the hashes of its audio."""
    first, second = pair.soundscapes["s1"], pair.soundscapes.get("s2")
    changes = find_changes_in_style(task.style, first, second) if second is not None else ()
    others = list_others(find_changes(first, second) if second is not None and task.style == 1 else changes)
    text = ""
    if task.texts is not None:
        text = choose_text(task.texts, pair.pair)
    elif second is not None:
        text = write_text(task.style, changes, pair.pair, task.scenes, (first, second))
    sides: dict[str, str] = {}
    for side, soundscape in pair.soundscapes.items():
        sides[f"jams_{side}"] = task.files.sides()[side]
        sides[f"jams_{side}_sha256"] = hash_bytes(contents[side])
        sides[f"classes_{side}"] = ";".join(list_classes(soundscape))
        if task.target is not None:
            sides[side] = compose_audio_path(pair.scene, pair.split, pair.pair, side, task.target.container)
    return PairRow(
        pair=pair.pair,
        split=pair.split,
        scene=pair.scene,
        text=text,
        changes=format_codes(list_published(changes)),
        other_changes=format_codes(others),
        **sides,
    )


def _make_pair_digest(target: AudioTarget, row: PairRow, pair: Pair) -> str:
    """Fingerprint of everything that the audio of a pair depends on.

    Raises:
        SourceError: a source is missing.
    """
    facts = []
    for side, soundscape in pair.soundscapes.items():
        for layer in list_layers(soundscape):
            try:
                state = read_state(f"{target.source}/{layer.file}")
            except OSError as error:
                missing = NotFoundError(NO_SUCH_FILE)
                where = f"{pair.pair}_{side}"
                raise SourceError(explain_source_problem(missing, layer, target.source, where)) from error
            facts.append((layer.file, *state.facts()))
    form = (target.engine, target.container, target.bits, ROWS)
    return make_digest(row.s1, row.s2, row.jams_s1_sha256, row.jams_s2_sha256, facts, form)


def _render_sides(
    task: PairTask, target: AudioTarget, pair: Pair, memory: list[NDArray[np.int16]]
) -> dict[str, NDArray[np.int16] | NDArray[np.int32]]:
    """The samples of each side."""
    pcm: dict[str, NDArray[np.int16] | NDArray[np.int32]] = {}
    for side, soundscape in pair.soundscapes.items():
        where = f"{pair.pair}_{side}"
        if target.engine == "direct" and target.bits == 16:
            pcm[side] = render_pcm16(soundscape, target.source, where, memory.pop() if memory else None)
            continue
        if target.engine == "direct":
            mixed = direct.render_mixture(soundscape, make_opener(target.source, where))
        else:
            jams, split = task.jams / task.files.sides()[side], target.source / pair.split
            mixed = scaper.render_jams(jams, split / "foreground", split / "background")
        pcm[side] = passes.round_to_16_bits(mixed) if target.bits == 16 else passes.round_to_32_bits(mixed)
    return pcm


def _store_pair(made: _RenderedPair, target: AudioTarget, memory: list[NDArray[np.int16]]) -> PairResult:
    """Put the files of a pair under their final names once the disk has them, and the pair into the journal.

    The memory of its samples is free as soon as they are written.

    Raises:
        StorageError: the disk is full or refuses.
    """
    files: dict[str, PartFile] = {}
    clipped = 0
    for side, pcm in made.pcm.items():
        files[side] = target.folder.set_aside(getattr(made.row, side), *encode_parts(pcm, target.container))
        limits = np.iinfo(pcm.dtype)
        if pcm.max() == limits.max or pcm.min() == limits.min:
            clipped += int(np.count_nonzero((pcm == limits.max) | (pcm == limits.min)))
        if _has_16_bits(pcm):
            memory.append(pcm)
    hashes = {f"{side}_sha256": file.sha256 for side, file in files.items()}
    target.folder.settle(made.row.pair, made.digest, {"hashes": hashes, "clipped": clipped}, list(files.values()))
    return UnitResult(record=BuiltPair(row=replace(made.row, **hashes), clipped=clipped))


def _has_16_bits(pcm: NDArray[np.int16] | NDArray[np.int32]) -> TypeGuard[NDArray[np.int16]]:
    return pcm.dtype == np.int16


def _read_jams(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path.name}: {error.strerror or error}") from error
