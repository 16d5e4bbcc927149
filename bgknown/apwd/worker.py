"""The work of one process of a build of pairs: from two JAMS to a row of the manifest and two files of audio."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bgknown.apwd.changes import find_changes, format_codes, list_classes
from bgknown.apwd.manifest import audio_path
from bgknown.apwd.pairs import SIDES, Pair, PairFiles, list_layers, read_pair
from bgknown.apwd.rendering import SourceError, explain_source_problem, make_opener, render
from bgknown.apwd.scenes import Scenes
from bgknown.apwd.text import describe_changes
from bgknown.apwd.text_table import choose_text
from bgknown.audio.files import NO_SUCH_FILE, encode_parts
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes, make_folder, read_state, write_aside
from bgknown.jobs.problems import Problem
from bgknown.jobs.workspace import append_entries
from bgknown.render import direct, scaper
from bgknown.render.layers import Engine

Container = Literal["wav", "flac"]
Bits = Literal[16, 32]

_WAITING = 4  # pairs that may be rendered and not yet stored


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTarget:
    """Where audio goes, and in which form."""

    source: Path
    """The source tree."""
    out: Path
    """Folder of the set."""
    scratch: Path
    """Folder for unfinished files."""
    journal: Path
    """File of finished rows."""
    container: Container
    """File type."""
    bits: Bits
    """Bits of a sample."""
    engine: Engine
    """What renders."""
    stamp: str
    """Fingerprint of the options that change a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """One pair for a worker."""

    files: PairFiles
    """The pair's JAMS."""
    jams: Path
    """Folder of the JAMS."""
    scenes: Scenes
    """The scenes there are."""
    texts: tuple[str, ...] | None
    """Texts from a table, instead of those from the JAMS."""
    target: AudioTarget | None
    """Where audio goes; None writes none."""
    known: dict[str, Any] | None = None
    """What the journal holds of the pair: digest, and as its record the sha256 of each side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """What came of a pair: a row of the manifest, or a problem."""

    record: dict[str, Any] | None = None
    problem: Problem | None = None
    kept: bool = False
    """Whether the row was there already."""
    clipped: int = 0
    """Samples beyond full scale in both files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A rendered pair that is not yet stored."""

    record: dict[str, Any]
    """The row of the manifest, without the hashes of the audio."""
    digest: str
    """Fingerprint of everything that the audio depends on."""
    pcm: dict[str, NDArray[np.int16] | NDArray[np.int32]]
    """[N] samples of each side."""


def build_pairs(tasks: Sequence[PairTask]) -> list[PairResult]:
    """Make rows of the manifest and, where audio is wanted, the files under their final names.

    While a pair is rendered, a thread hashes and writes the one before, and another waits for the disk to have the one
    before that.

    Raises:
        StorageError: the disk is full or refuses.
    """
    results: list[PairResult | Future[PairResult]] = []
    memory: list[NDArray[np.int16]] = []  # of samples that are written by now
    with ThreadPoolExecutor(max_workers=1) as flusher, ThreadPoolExecutor(max_workers=1) as writer:
        for task in tasks:
            made = _make(task, memory)
            if isinstance(made, _Made) and task.target is not None:
                written = writer.submit(_write, made, task.target, memory)
                results.append(flusher.submit(_settle, written, made, task.target))
            elif isinstance(made, PairResult):
                results.append(made)
            if len(results) > _WAITING and isinstance(late := results[-_WAITING - 1], Future):
                late.result()  # rendering does not run away from a slow disk, and its errors end the batch
        return [result.result() if isinstance(result, Future) else result for result in results]


def _make(task: PairTask, memory: list[NDArray[np.int16]]) -> PairResult | _Made:
    """The row of a pair, and its audio, in memory that is free, where that is wanted and not there yet."""
    name = task.files.pair
    try:
        contents = {side: _read(task.jams / file) for side, file in task.files.sides().items()}
        pair = read_pair(task.files, contents, task.scenes)
        record = _described(task, pair, contents)
        if task.target is None:
            return PairResult(record=record)
        digest = _digest(task.target, record, pair)
        stored = task.known if task.known is not None and task.known["digest"] == digest else {}
        hashes = stored.get("record", {})
        known = set(hashes) == set(pair.soundscapes) and all(isinstance(value, str) for value in hashes.values())
        if known and all((task.target.out / record[side]).is_file() for side in pair.soundscapes):
            record |= {f"{side}_sha256": value for side, value in hashes.items()}
            return PairResult(record=record, kept=True)
        return _Made(record=record, digest=digest, pcm=_rendered(task, task.target, pair, memory))
    except SourceError as error:
        return PairResult(problem=error.problem)
    except (InvalidInputError, NotFoundError) as error:
        return PairResult(problem=Problem(where=name, code="unreadable", what=str(error)))


def _described(task: PairTask, pair: Pair, contents: dict[str, bytes]) -> dict[str, Any]:
    """The row of a pair without its audio."""
    first, second = pair.soundscapes["s1"], pair.soundscapes.get("s2")
    found = find_changes(first, second) if second is not None else ()
    text = ""
    if task.texts is not None:
        text = choose_text(task.texts, pair.pair)
    elif second is not None:
        text = describe_changes(found, pair.pair, task.scenes)
    record = {
        "pair": pair.pair,
        "split": pair.split,
        "scene": pair.scene,
        "text": text,
        "changes": format_codes(found),
        **{f"jams_{side}_sha256": hash_bytes(data) for side, data in contents.items()},
        **{f"jams_{side}": file for side, file in task.files.sides().items()},
        **{f"classes_{side}": ";".join(list_classes(scape)) for side, scape in pair.soundscapes.items()},
    }
    if task.target is not None:
        record |= {
            side: audio_path(pair.scene, pair.split, pair.pair, side, task.target.container)
            for side in pair.soundscapes
        }
    return record


def _digest(target: AudioTarget, record: dict[str, Any], pair: Pair) -> str:
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
    names = [record.get(name) for name in (*SIDES, *(f"jams_{side}_sha256" for side in SIDES))]
    return hash_bytes(json.dumps([names, facts, target.stamp]).encode())


def _rendered(
    task: PairTask, target: AudioTarget, pair: Pair, memory: list[NDArray[np.int16]]
) -> dict[str, NDArray[np.int16] | NDArray[np.int32]]:
    """The samples of each side."""
    pcm: dict[str, NDArray[np.int16] | NDArray[np.int32]] = {}
    for side, soundscape in pair.soundscapes.items():
        where = f"{pair.pair}_{side}"
        if target.engine == "direct" and target.bits == 16:
            pcm[side] = render(soundscape, target.source, where, memory.pop() if memory else None)
            continue
        if target.engine == "direct":
            mixed = direct.render_mixture(soundscape, make_opener(target.source, where))
        else:
            jams, split = task.jams / task.files.sides()[side], target.source / pair.split
            mixed = scaper.render_jams(jams, split / "foreground", split / "background")
        pcm[side] = direct.round_to_16_bits(mixed) if target.bits == 16 else direct.round_to_32_bits(mixed)
    return pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """Files of a pair that are written aside."""

    hashes: dict[str, str]
    """SHA-256 of each side's file."""
    clipped: int
    """Samples at full scale in both files."""
    finish: dict[str, Callable[[], None]]
    """Put each side's file under its final name."""


def _write(made: _Made, target: AudioTarget, memory: list[NDArray[np.int16]]) -> _Written:
    """Write the files of a pair aside; then the memory of its samples is free.

    Raises:
        StorageError: the disk is full or refuses.
    """
    scratch = target.scratch / str(os.getpid())
    try:
        scratch.mkdir(exist_ok=True)  # without parents: fails if another run has taken the folder over
    except OSError as error:
        raise describe_storage_error(error, scratch) from error
    hashes: dict[str, str] = {}
    finish: dict[str, Callable[[], None]] = {}
    clipped = 0
    for side, pcm in made.pcm.items():
        parts = encode_parts(pcm, target.container)
        hashes[side] = hash_bytes(*parts)
        limits = np.iinfo(pcm.dtype)
        if pcm.max() == limits.max or pcm.min() == limits.min:
            clipped += int(np.count_nonzero((pcm == limits.max) | (pcm == limits.min)))
        finish[side] = write_aside(target.out / made.record[side], *parts, aside=scratch)
    memory += [pcm for pcm in made.pcm.values() if _has_16_bits(pcm)]
    return _Written(hashes=hashes, clipped=clipped, finish=finish)


def _settle(written: Future[_Written], made: _Made, target: AudioTarget) -> PairResult:
    """Put the files of a pair under their final names once the disk has them, and the pair into the journal.

    Raises:
        StorageError: the disk is full or refuses, now or in writing.
    """
    files = written.result()
    entry = {"name": made.record["pair"], "digest": made.digest}
    append_entries(target.journal, entry)  # void until all files are there
    for side, finish in files.finish.items():
        make_folder((target.out / made.record[side]).parent)
        finish()
    append_entries(target.journal, {**entry, "record": files.hashes})
    hashes = {f"{side}_sha256": value for side, value in files.hashes.items()}
    return PairResult(record=made.record | hashes, clipped=files.clipped)


def _has_16_bits(pcm: NDArray[np.int16] | NDArray[np.int32]) -> TypeGuard[NDArray[np.int16]]:
    return pcm.dtype == np.int16


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path.name}: {error.strerror or error}") from error
