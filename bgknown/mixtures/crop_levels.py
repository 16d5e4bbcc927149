"""Measuring the crops (a) of a draw: the first of each clip's draws that is loud enough."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bgknown.audio.files import RATE_HZ
from bgknown.audio.loudness import measure_lufs
from bgknown.audio.sources import Source, SourceStore
from bgknown.corpora import CorpusIndex
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.problems import make_problem
from bgknown.mixtures.hearing import CropCheck, CropVerdict
from bgknown.render.parts import SourcePart, read_part
from bgknown.render.weighted import measure_samples_lufs, measure_slice_lufs, weigh
from bgknown.render.weighted_lanes import LANES, measure_each_lufs

_WHOLE = 4
"""How many times as long as their recording crops must be together, for the whole recording to be weighted instead."""
_TOO_CLOSE_DB = 1e-6
"""Far more than the loudness of ``bgknown.render.weighted`` is off, 1e-11 dB at most."""


def measure_crop_levels(
    checks: Sequence[CropCheck], *, corpus: CorpusIndex, min_level_lufs: float, jobs: int
) -> Iterator[CropVerdict]:
    """Measure crops in parallel, one recording at a time.

    Args:
        checks: what to measure.
        corpus: index of the recordings.
        min_level_lufs: the least loudness of a crop, as Scaper would measure it.
        jobs: number of processes.
    """
    work = partial(measure_crops, root=corpus.root, name=corpus.facts.name, min_level_lufs=min_level_lufs)
    yield from in_processes(
        work, checks, jobs=jobs if len(checks) > 20 else 1, title="crops", unit="recording", batch=8
    )


def measure_crops(
    check: CropCheck, *, root: Path, name: str, min_level_lufs: float, store: SourceStore | None = None
) -> CropVerdict:
    """Measure the crops of one recording.

    Args:
        check: the recording and the crops.
        root: folder of its corpus.
        name: name of its corpus, for messages.
        min_level_lufs: the least loudness of a crop.
        store: opens the recording; by default a new one.
    """
    recording_id, file = str(check.recording["recording_id"]), str(check.recording["file"])
    try:
        source = (store or SourceStore()).open(root / file)
        slices = [(source, starts[0], check.clip_frames) for starts in check.starts.values()]
        if store is None and check.clip_frames * len(slices) > _WHOLE * source.frames:
            _measure_from_tables(source, slices)
        measure_slices(slices)
        chosen = {
            clip_id: next(
                (
                    start
                    for start in dict.fromkeys(starts)
                    if _reaches(min_level_lufs, source, start, check.clip_frames)
                ),
                None,
            )
            for clip_id, starts in check.starts.items()
        }
    except (InvalidInputError, NotFoundError) as error:
        problem = make_problem(error, where=file, what=name)
        return CropVerdict(recording_id=recording_id, chosen={}, problem=problem)
    return CropVerdict(recording_id=recording_id, chosen=chosen)


def read_crop(source: Source, start: int, frames: int) -> tuple[SourcePart, float]:
    """A slice of a source, and its loudness, which the source remembers.

    Args:
        source: the source.
        start: its first sample.
        frames: its length in samples.

    Raises:
        InvalidInputError: the slice exceeds the recording or cannot be decoded.
        NotFiniteError: it holds NaN or infinite samples.
    """
    part = read_part(source, start, start + frames)
    lufs = source.levels.get((start, start + frames))
    if lufs is None:
        lufs = source.levels[start, start + frames] = measure_samples_lufs(part.samples)
    return part, lufs


def measure_slices(wanted: Sequence[tuple[Source, int, int]]) -> None:
    """Measure slices together, so that ``read_crop`` finds their loudness.

    Args:
        wanted: source, first sample and length of each slice; those that cannot be read are left to ``read_crop``.
    """
    unknown = [(source, start, start + frames) for source, start, frames in wanted]
    unknown = [slice_ for slice_ in unknown if slice_[1:] not in slice_[0].levels]
    for begin in range(0, len(unknown), LANES):
        signals = {}
        for source, start, stop in unknown[begin : begin + LANES]:
            with contextlib.suppress(InvalidInputError, NotFoundError):
                signals[source, start, stop] = read_part(source, start, stop).samples
        for (source, start, stop), lufs in zip(signals, measure_each_lufs([*signals.values()]), strict=True):
            source.levels[start, stop] = lufs


def _measure_from_tables(source: Source, wanted: Sequence[tuple[Source, int, int]]) -> None:
    """Measure many slices of one source after weighting all of it once, unless it cannot be read as a whole.

    The loudness is that of ``measure_slices`` to within 1e-11 dB, which decides whether a crop is loud enough, but is
    not what a mixture is made with, whose bytes must not depend on how many clips have the recording.
    """
    with contextlib.suppress(InvalidInputError, NotFoundError):
        recording = weigh(read_part(source, 0, source.frames).samples)
        for _, start, frames in wanted:
            source.levels[start, start + frames] = measure_slice_lufs(recording, start, frames, frames)


def _reaches(min_level_lufs: float, source: Source, start: int, frames: int) -> bool:
    """Whether a slice has the minimum level, by the loudness that does not depend on how sums are split up."""
    lufs = source.levels.get((start, start + frames))
    if lufs is None or abs(lufs - min_level_lufs) < _TOO_CLOSE_DB:
        part, lufs = read_crop(source, start, frames)
        if abs(lufs - min_level_lufs) < _TOO_CLOSE_DB:
            lufs = measure_lufs(part.audio, RATE_HZ)
    return lufs >= min_level_lufs
