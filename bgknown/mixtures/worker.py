"""The work of one process of a build: one row after another, from recipe to files under their final names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bgknown.audio.files import encode
from bgknown.audio.sources import SourceStore
from bgknown.jobs.files import describe_storage_error, hash_bytes, write_whole
from bgknown.jobs.problems import Problem
from bgknown.jobs.workspace import append_entries
from bgknown.mixtures import dataset
from bgknown.mixtures.mixing import RowError, mix_row, round_scale
from bgknown.mixtures.snr import ReferenceGain
from bgknown.render import scaper
from bgknown.render.layers import Engine

Container = Literal["wav", "flac"]
AMPLITUDES = ("silent", "clipped")
"""What a journal's record has beside the manifest's columns: the sources of a row that are so, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTask:
    """One row for a worker."""

    row: dict[str, Any]
    clip_path: Path
    recording_path: Path
    background_label: str
    reference_gain: ReferenceGain
    container: Container
    min_level_lufs: float
    engine: Engine
    out: Path
    scratch: Path
    journal: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What came of a row: a record for the manifest, or a problem."""

    record: dict[str, Any] | None = None
    problem: Problem | None = None


def build_row(task: RowTask) -> RowResult:
    """Render one row and put its files under their final names.

    Raises:
        StorageError: the disk is full or refuses.
    """
    scratch = task.scratch / str(os.getpid())
    try:
        scratch.mkdir(exist_ok=True)  # without parents: fails if another run has taken the folder over
    except OSError as error:
        raise describe_storage_error(error, scratch) from error
    try:
        mixed = mix_row(
            task.row,
            clip_path=task.clip_path,
            recording_path=task.recording_path,
            background_label=task.background_label,
            reference_gain=task.reference_gain,
            min_level_lufs=task.min_level_lufs,
            engine=task.engine,
            store=_store(),
            folder=scratch / "trees",
        )
    except RowError as error:
        return RowResult(problem=error.problem)
    content = {name: encode(mixed.pcm[name], task.container) for name in dataset.SIGNALS}
    content["jams"] = mixed.jams
    paths = dataset.list_paths(task.row["clip_id"], task.container)
    entry = {"name": task.row["clip_id"], "digest": task.digest}
    append_entries(task.journal, entry)  # void until all files are there
    for name, data in content.items():
        write_whole(task.out / paths[name], data, aside=scratch)
    record = {
        **task.row,
        **{f"{name}_file": path for name, path in paths.items()},
        **{f"{name}_sha256": hash_bytes(data) for name, data in content.items()},
        "scale": round_scale(mixed.gains.scale),
        "event_frames": mixed.event_frames,
        "event_gain_db": round(mixed.gains.event_gain_db, 6),
        "background_gain_db": round(mixed.gains.background_gain_db, 6),
        "achieved_snr_db": round(mixed.achieved_snr_db, 4),
        "scaper_version": scaper.VERSION,
    }
    for what in AMPLITUDES:  # not for the manifest
        record[what] = sorted(file for file, found in mixed.amplitudes.items() if getattr(found, what))
    append_entries(task.journal, {**entry, "record": record})
    return RowResult(record=record)


@cache
def _store() -> SourceStore:
    """The sources of this process."""
    return SourceStore()
