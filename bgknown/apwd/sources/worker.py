"""The work of one process of a preparation: one recording or clip after another, from its corpus to the source tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.apwd.sources.manifest import SourceRow
from bgknown.apwd.sources.published_lists import BACKGROUND, SourceSpec
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
from bgknown.jobs.problems import Problem, make_problem
from bgknown.jobs.resumable import UnitResult
from bgknown.jobs.units import FinishedUnit, JobFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUnit:
    """One source for a worker."""

    spec: SourceSpec
    """What it is and where it goes."""
    path: Path
    """The file of the corpus."""
    file: str
    """The same, relative to the corpus."""
    origin: str
    """Name of the corpus and ``file``."""
    frames_44k: int
    """Its length in samples at 44.1 kHz."""
    style: Style
    """How backgrounds are scaled and events faded."""
    repeat_samples: bool
    """Whether each sample is repeated, instead of the whole recording."""
    folder: JobFolder
    """Where it goes."""
    digest: str
    """Fingerprint of everything that the prepared files depend on."""
    known: FinishedUnit | None
    """What an earlier run has made of it."""

    def __str__(self) -> str:
        return self.origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSource:
    """A finished source."""

    rows: tuple[SourceRow, ...]
    """Its rows of sources.csv."""
    clipped: bool
    """Whether the source is beyond full scale and was cut off there."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PreparedSource:
        """The source that a record of the journal holds."""
        return cls(rows=tuple(SourceRow(**row) for row in record["rows"]), clipped=record["clipped"])


class _UnusableError(InvalidInputError):
    """A source whose content cannot be used; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def prepare_source(unit: SourceUnit) -> UnitResult[PreparedSource]:
    """Prepare one source and put its files under their final names, unless an earlier run has done so.

    Raises:
        StorageError: the disk is full or refuses.
    """
    kept = unit.folder.find_kept(unit.known, unit.digest)
    if kept is not None:
        return UnitResult(record=PreparedSource.from_record(kept), kept=True)
    try:
        pcm, clipped = _make_pcm(unit)
    except _UnusableError as error:
        return UnitResult(problem=error.problem)
    data = encode(pcm, "wav")
    parts = [unit.folder.set_aside(file, data) for file in unit.spec.files]
    rows = tuple(
        SourceRow(
            file=part.file,
            split=unit.spec.split,
            role=part.file.split("/")[1],
            label=unit.spec.label,
            origin=unit.origin,
            frames=int(pcm.shape[0]),
            sha256=part.sha256,
        )
        for part in parts
    )
    source = PreparedSource(rows=rows, clipped=clipped)
    unit.folder.settle(unit.spec.files[0], unit.digest, asdict(source), parts)
    return UnitResult(record=source)


def _make_pcm(unit: SourceUnit) -> tuple[NDArray[np.int16], bool]:
    """The 16-bit samples, and whether they were cut off at full scale."""
    try:
        _, audio = read_file(unit.path, RATE_HZ, np.float64)
        check_finite(audio)
    except (InvalidInputError, NotFoundError) as error:
        raise _UnusableError(make_problem(error, where=unit.file, what=unit.origin)) from error
    samples = audio.astype(np.float32)
    if not samples.any():
        raise _explain_unusable(unit, "silent", "every sample is 0")
    clipped = False
    if unit.spec.role == BACKGROUND:
        clipped = unit.style != "apwd" and measure_amplitude(samples).clipped  # apwd scales it to its peak
        pcm = prepare_background(samples, style=unit.style, repeat_samples=unit.repeat_samples)
    else:
        samples = _cut_active_part(samples, unit)
        clipped = measure_amplitude(samples).clipped
        pcm = prepare_event(samples, style=unit.style)
    if not pcm.any():
        raise _explain_unusable(unit, "silent", "every sample rounds to 0 in 16 bits")
    return pcm, clipped


def _cut_active_part(samples: NDArray[np.float32], unit: SourceUnit) -> NDArray[np.float32]:
    frames = samples.shape[0]
    if unit.spec.active is not None:
        start, stop = unit.spec.active
        if stop > frames:
            raise _explain_unusable(
                unit, "too_short", f"active part {start} to {stop} is listed, it has {frames} samples"
            )
    else:
        start, stop = find_active_part(samples) if frames >= SHORTEST_EVENT_FRAMES else (0, frames)
    if stop - start < SHORTEST_EVENT_FRAMES:
        least = f"at least {SHORTEST_EVENT_FRAMES} (two fades) are required"
        raise _explain_unusable(unit, "too_short", f"its active part has {stop - start} samples at 44.1 kHz; {least}")
    return samples[start:stop]


def _explain_unusable(unit: SourceUnit, code: str, what: str) -> _UnusableError:
    return _UnusableError(Problem(where=unit.file, code=code, what=f"{unit.origin}: {what}"))
