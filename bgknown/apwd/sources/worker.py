"""The work of one process of a preparation: one recording or clip after another, from its corpus to the source tree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.apwd.sources.published_lists import BACKGROUND, Wanted
from bgknown.apwd.sources.trimming import (
    SHORTEST_EVENT_FRAMES,
    Style,
    find_active_part,
    prepare_background,
    prepare_event,
)
from bgknown.audio.amplitude import measure_amplitude
from bgknown.audio.files import RATE_HZ, check_finite, encode, read_file
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes, make_folder, write_whole
from bgknown.jobs.problems import Problem, make_problem
from bgknown.jobs.workspace import append_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """One source for a worker."""

    wanted: Wanted
    """What it is and where it goes."""
    path: Path
    """The file of the corpus."""
    file: str
    """The same relative to the corpus."""
    origin: str
    """Name of the corpus and ``file``."""
    frames_44k: int
    """Its length in samples at 44.1 kHz."""
    style: Style
    repeat_samples: bool
    out: Path
    scratch: Path
    journal: Path
    digest: str
    """Fingerprint of everything that the prepared file depends on."""
    known: dict[str, Any] | None
    """What the journal says was written for the same digest, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """What came of a source: rows for sources.csv, or a problem."""

    rows: list[dict[str, Any]]
    problem: Problem | None = None
    kept: bool = False
    """Whether the files were there already."""
    clipped: bool = False
    """Whether the source is beyond full scale and was cut off there."""


class _UnusableError(InvalidInputError):
    """A source whose content does not do; holds the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def prepare_source(task: SourceTask) -> SourceResult:
    """Prepare one source and put its files under their final names, unless they are there already.

    Raises:
        StorageError: the disk is full or refuses.
    """
    if task.known is not None and _are_there(task, task.known["sha256"]):
        return SourceResult(rows=_rows(task, task.known), kept=True, clipped=bool(task.known.get("clipped")))
    scratch = task.scratch / str(os.getpid())
    try:
        scratch.mkdir(exist_ok=True)  # without parents: fails if another run has taken the folder over
    except OSError as error:
        raise describe_storage_error(error, scratch) from error
    try:
        pcm, clipped = _prepared(task)
    except _UnusableError as error:
        return SourceResult(rows=[], problem=error.problem)
    data = encode(pcm, "wav")
    for file in task.wanted.files:
        make_folder((task.out / file).parent)
        write_whole(task.out / file, data, aside=scratch)
    record = {"frames": int(pcm.shape[0]), "sha256": hash_bytes(data), "clipped": clipped}
    append_entries(task.journal, {"name": task.wanted.files[0], "digest": task.digest, "record": record})
    return SourceResult(rows=_rows(task, record), clipped=clipped)


def is_known(record: dict[str, Any]) -> bool:
    """Whether a record of the journal is one that ``prepare_source`` has written."""
    return type(record.get("frames")) is int and isinstance(record.get("sha256"), str)


def _are_there(task: SourceTask, digest: str) -> bool:
    paths = [task.out / file for file in task.wanted.files]
    try:
        return all(path.is_file() and hash_bytes(path.read_bytes()) == digest for path in paths)
    except OSError as error:
        raise describe_storage_error(error, paths[0]) from error


def _rows(task: SourceTask, entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "file": file,
            "split": task.wanted.split,
            "role": file.split("/")[1],
            "label": task.wanted.label,
            "origin": task.origin,
            "frames": entry["frames"],
            "sha256": entry["sha256"],
        }
        for file in task.wanted.files
    ]


def _prepared(task: SourceTask) -> tuple[NDArray[np.int16], bool]:
    """The 16-bit samples, and whether they were cut off at full scale."""
    try:
        _, audio = read_file(task.path, RATE_HZ, np.float64)
        check_finite(audio)
    except (InvalidInputError, NotFoundError) as error:
        raise _UnusableError(make_problem(error, where=task.file, what=task.origin)) from error
    samples = audio.astype(np.float32)
    if not samples.any():
        raise _unusable(task, "silent", "every sample is 0")
    clipped = False
    if task.wanted.role == BACKGROUND:
        clipped = task.style != "apwd" and measure_amplitude(samples).clipped  # apwd scales it to its peak
        pcm = prepare_background(samples, style=task.style, repeat_samples=task.repeat_samples)
    else:
        samples = _active(samples, task)
        clipped = measure_amplitude(samples).clipped
        pcm = prepare_event(samples, style=task.style)
    if not pcm.any():
        raise _unusable(task, "silent", "nothing of it is left in 16 bits")
    return pcm, clipped


def _active(samples: NDArray[np.float32], task: SourceTask) -> NDArray[np.float32]:
    frames = samples.shape[0]
    if task.wanted.active is not None:
        start, stop = task.wanted.active
        if stop > frames:
            raise _unusable(task, "too_short", f"active part {start} to {stop} is listed, it has {frames} samples")
    else:
        start, stop = find_active_part(samples) if frames >= SHORTEST_EVENT_FRAMES else (0, frames)
    if stop - start < SHORTEST_EVENT_FRAMES:
        least = f"{SHORTEST_EVENT_FRAMES}, two fades, are the least"
        raise _unusable(task, "too_short", f"its active part has {stop - start} samples at 44.1 kHz; {least}")
    return samples[start:stop]


def _unusable(task: SourceTask, code: str, what: str) -> _UnusableError:
    return _UnusableError(Problem(where=task.file, code=code, what=f"{task.origin}: {what}"))
