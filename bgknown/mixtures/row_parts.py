"""The parts of its sources that a row mixes, and their loudness."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from bgknown.audio.amplitude import Amplitude
from bgknown.audio.sources import SourceStore
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.problems import make_problem
from bgknown.mixtures.crop_levels import measure_slices, read_crop
from bgknown.mixtures.row_task import RowError, RowTask
from bgknown.mixtures.snr import SHORTEST_EVENT_FRAMES
from bgknown.render.parts import SourcePart, read_part


def measure_sources(tasks: Sequence[RowTask], *, store: SourceStore) -> None:
    """Measure what a few rows mix, several slices at a time; who reads them reports what cannot be read.

    Args:
        tasks: as many rows as the store holds the sources of.
        store: opens and converts sources, and remembers their loudness.
    """
    wanted = []
    for task in tasks:
        for path, start in ((task.clip_path, 0), (task.recording_path, task.row.a_start)):
            with contextlib.suppress(InvalidInputError, NotFoundError):
                source = store.open(path)
                wanted.append((source, start, min(source.frames - start, task.clip_frames)))
    measure_slices(wanted)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowEvent:
    """The part of a clip that is mixed."""

    part: SourcePart
    """Its samples."""
    lufs: float
    """Its loudness."""
    source_frames: int
    """Length of the clip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowBackground:
    """The parts of a recording that a row uses."""

    crops: dict[str, SourcePart]
    """[N] for each of a, b and c."""
    lufs: float
    """Loudness of crop (a)."""
    amplitude: Amplitude
    """Whether any crop is silent or clipped."""
    source_frames: int
    """Length of the recording."""


def read_event(task: RowTask, store: SourceStore) -> RowEvent:
    """The clip of a row, as far as it fits into the mixture.

    Raises:
        RowError: it is missing, unreadable or too short.
    """
    try:
        source = store.open(task.clip_path)
        frames = min(source.frames, task.clip_frames)
        if frames < SHORTEST_EVENT_FRAMES:
            least = f"at least {SHORTEST_EVENT_FRAMES} (two fades of 10 ms) are required"
            raise task.fail("too_short", f"{task.clip_name}: has {frames} samples, {least}")
        part, lufs = read_crop(source, 0, frames)
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=task.row.clip_id, what=task.clip_name)) from error
    return RowEvent(part=part, lufs=lufs, source_frames=source.frames)


def read_background(task: RowTask, store: SourceStore) -> RowBackground:
    """The three crops of a row's recording.

    Raises:
        RowError: the recording is missing, unreadable or too short.
    """
    frames, starts = task.clip_frames, task.row.starts
    try:
        source = store.open(task.recording_path)
        first, lufs = read_crop(source, starts["a"], frames)
        others = {name: read_part(source, starts[name], starts[name] + frames) for name in "bc"}
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=task.row.clip_id, what=task.recording_name)) from error
    parts = {"a": first, **others}
    return RowBackground(
        crops=parts,
        lufs=lufs,
        amplitude=Amplitude(
            silent=any(part.amplitude.silent for part in parts.values()),
            clipped=any(part.amplitude.clipped for part in parts.values()),
        ),
        source_frames=source.frames,
    )
