"""The work of one process of a build: one row after another, from recipe to files under their final names."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bgknown.audio.files import encode_parts
from bgknown.audio.sources import SourceStore
from bgknown.corpora.columns import TABLE_PREFIXES
from bgknown.jobs.memory import keep_freed_memory, load_libraries
from bgknown.jobs.resumable import UnitResult
from bgknown.jobs.units import FinishedUnit, JobFolder
from bgknown.mixtures.manifest import SIGNALS, ManifestRow, list_paths
from bgknown.mixtures.mixing import Mixed, mix_rows, round_scale
from bgknown.mixtures.row_task import RowError, RowTask
from bgknown.render import scaper
from bgknown.render.layers import Container
from bgknown.render.passes import find_peak

_TOGETHER = 4
"""Rows that are rendered together; as many signals are measured at the same time."""
_SETTLERS = 8
"""Threads that wait for the disk; they compute little."""
_WAITING = 10
"""Rows that may be rendered and not yet stored, of 1.8 MB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowUnit:
    """One row for a worker."""

    task: RowTask
    """What to render."""
    container: Container
    """File type of the audio."""
    folder: JobFolder
    """Where it goes."""
    digest: str
    """Fingerprint of everything that its bytes depend on."""
    known: FinishedUnit | None
    """What an earlier run has made of it."""

    def __str__(self) -> str:
        return self.task.row.clip_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRow:
    """A finished row."""

    manifest: ManifestRow
    """Its row of the manifest."""
    silent: tuple[str, ...]
    """Its sources that are silent, by name."""
    clipped: tuple[str, ...]
    """Its sources that are beyond full scale."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> BuiltRow:
        """The row that a record of the journal holds."""
        silent, clipped = tuple(record["silent"]), tuple(record["clipped"])
        return cls(manifest=ManifestRow.from_columns(record), silent=silent, clipped=clipped)

    def to_record(self) -> dict[str, Any]:
        """The record for the journal."""
        return {**self.manifest.to_columns(TABLE_PREFIXES), "silent": self.silent, "clipped": self.clipped}


def build_rows(units: Sequence[RowUnit]) -> list[UnitResult[BuiltRow]]:
    """Render rows and put their files under their final names, unless an earlier run has done so.

    While a row is rendered, the disk takes those before it.

    Raises:
        StorageError: the disk is full or refuses.
    """
    with settle_rows() as settle:
        made = begin_rows(units, settle)
        return [row if isinstance(row, UnitResult) else row.result() for row in made]


def begin_rows(units: Sequence[RowUnit], settle: Settle) -> list[UnitResult[BuiltRow] | Future[UnitResult[BuiltRow]]]:
    """Render rows and have their files stored, unless an earlier run has done so.

    Args:
        units: the rows.
        settle: see ``settle_rows``.

    Raises:
        StorageError: the disk is full or refuses.
    """
    return [row for place in range(0, len(units), _TOGETHER) for row in _begin_few(units[place:][:_TOGETHER], settle)]


def _begin_few(
    units: Sequence[RowUnit], settle: Settle
) -> Iterator[UnitResult[BuiltRow] | Future[UnitResult[BuiltRow]]]:
    kept = [unit.folder.find_kept(unit.known, unit.digest) for unit in units]
    missing = [unit for unit, record in zip(units, kept, strict=True) if record is None]
    mixed: Iterator[Mixed | RowError] = iter(())
    if missing:
        trees = missing[0].folder.open_scratch() / "trees"
        mixed = iter(mix_rows([unit.task for unit in missing], store=open_sources(), folder=trees))
    for unit, record in zip(units, kept, strict=True):
        if record is not None:
            yield UnitResult(record=BuiltRow.from_record(record), kept=True)
            continue
        row = next(mixed)
        yield UnitResult(problem=row.problem) if isinstance(row, RowError) else settle(unit, row)


Settle = Callable[[RowUnit, Mixed], "Future[UnitResult[BuiltRow]]"]
"""Stores a row in another thread."""


@contextmanager
def settle_rows() -> Iterator[Settle]:
    """Threads that store rows and wait for the disk; leaving the context waits for all of them.

    Several wait at the same time, because file systems flush the files of several in one go.
    """
    waiting: deque[Future[UnitResult[BuiltRow]]] = deque()
    with ThreadPoolExecutor(max_workers=_SETTLERS) as pool:

        def settle(unit: RowUnit, mixed: Mixed) -> Future[UnitResult[BuiltRow]]:
            waiting.append(pool.submit(_store_row, unit, mixed))
            if len(waiting) > _WAITING:
                waiting.popleft().result()  # rendering waits for a slow disk, and errors of the disk end the batch
            return waiting[-1]

        try:
            yield settle
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _store_row(unit: RowUnit, mixed: Mixed) -> UnitResult[BuiltRow]:
    """Put the files of a row under their final names once the disk has them, and the row into the journal.

    Raises:
        StorageError: the disk is full or refuses.
    """
    clip_id = unit.task.row.clip_id
    paths = list_paths(clip_id, unit.container)
    content = {name: encode_parts(mixed.pcm[name], unit.container) for name in SIGNALS} | {"jams": (mixed.jams,)}
    parts = {name: unit.folder.set_aside(paths[name], *data) for name, data in content.items()}
    columns = {
        **unit.task.row.to_columns(TABLE_PREFIXES),
        **{f"{name}_file": path for name, path in paths.items()},
        **{f"{name}_sha256": part.sha256 for name, part in parts.items()},
        "scale": round_scale(mixed.gains.scale),
        "event_frames": mixed.event_frames,
        "event_gain_db": round(mixed.gains.event_gain_db, 6),
        "background_gain_db": round(mixed.gains.background_gain_db, 6),
        "achieved_snr_db": round(mixed.achieved_snr_db, 4),
        "scaper_version": scaper.VERSION,
    }
    silent, clipped = (
        tuple(sorted(file for file, found in mixed.amplitudes.items() if getattr(found, what)))
        for what in ("silent", "clipped")
    )
    built = BuiltRow(manifest=ManifestRow.from_columns(columns), silent=silent, clipped=clipped)
    unit.folder.settle(clip_id, unit.digest, built.to_record(), list(parts.values()))
    return UnitResult(record=built)


@cache
def open_sources() -> SourceStore:
    """The sources of this process: those of a few rows."""
    keep_freed_memory()
    with load_libraries():
        find_peak(np.zeros(1))  # the first call of any compiled function loads large parts of numba
    return SourceStore(keep=2 * _TOGETHER)
