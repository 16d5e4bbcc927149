"""Rows that are made while their recordings are heard, so that each recording is decoded only once.

The draw listens to the crops that clips have drawn. As soon as a recording is found to be usable, the same process
makes the rows of its clips. If another recording turns out to be unusable, a few clips draw again; then the rows that
they had are made again, like those whose source has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bgknown.corpora.pair import Corpora
from bgknown.jobs.resumable import Job, UnitResult
from bgknown.mixtures.crop_levels import measure_crops
from bgknown.mixtures.draw import draw_rows
from bgknown.mixtures.hearing import CropCheck, CropVerdict
from bgknown.mixtures.options import BuildOptions
from bgknown.mixtures.rules import RowSources
from bgknown.mixtures.units import RowForm, describe_rows
from bgknown.mixtures.worker import BuiltRow, RowUnit, Settle, begin_rows, open_sources, settle_rows
from bgknown.tables import list_records

_Pending = UnitResult[BuiltRow] | Future[UnitResult[BuiltRow]]
_LARGEST_BATCH = 8
_BATCHES_PER_PROCESS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRow:
    """A row that was made for a recording that a clip had drawn."""

    clip_id: str
    """Its name."""
    digest: str
    """Fingerprint of everything that its bytes depend on."""
    result: UnitResult[BuiltRow]
    """What became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardRecording:
    """A recording that was heard, and the rows that were made of it."""

    verdict: CropVerdict
    """Which crops can be used."""
    rows: tuple[MadeRow, ...]
    """The rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _HearTask:
    """A recording for a worker."""

    check: CropCheck
    """The crops to measure."""
    clips: tuple[Mapping[str, Any], ...]
    """The clips that drew them, as in the index."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardRows:
    """Listens for a draw and makes rows."""

    job: Job
    """The job."""
    form: RowForm
    """What the rows have in common."""
    clips: Mapping[str, Mapping[str, Any]]
    """The clips of the index by their names."""
    made: dict[str, MadeRow] = field(default_factory=dict)
    """By its name the last row that was made, whose files replaced those of an earlier one."""

    @classmethod
    def begin(cls, job: Job, corpora: Corpora, options: BuildOptions) -> HeardRows:
        """No rows yet."""
        clips = {clip["clip_id"]: clip for clip in list_records(corpora.foreground.table)}
        return cls(job=job, form=describe_rows(corpora, options, job.folder), clips=clips)

    def listen(self, checks: Sequence[CropCheck]) -> Iterator[CropVerdict]:
        """Measure crops and make rows in parallel, one recording at a time; a ``bgknown.mixtures.hearing.Listener``.

        Raises:
            StorageError: the disk is full or refuses.
        """
        tasks = [_HearTask(check=check, clips=tuple(self.clips[name] for name in check.starts)) for check in checks]
        batch = len(tasks) // (self.job.jobs * _BATCHES_PER_PROCESS)
        batch = min(max(batch, 1), _LARGEST_BATCH)
        work = partial(_hear_recordings, form=self.form)
        for heard in self.job.run_units(work, tasks, title="mixtures", unit="recording", batch=batch):
            self.made.update({row.clip_id: row for row in heard.rows})
            yield heard.verdict

    def take(self, units: Sequence[RowUnit]) -> tuple[list[UnitResult[BuiltRow]], list[RowUnit]]:
        """What became of those units that have been made, and the others."""
        made, left = list[UnitResult[BuiltRow]](), list[RowUnit]()
        for unit in units:
            row = self.made.get(unit.task.row.clip_id)
            if row is None or row.digest != unit.digest:
                left.append(unit)
            else:
                made.append(row.result)
        return made, left


def _hear_recordings(tasks: Sequence[_HearTask], form: RowForm) -> list[HeardRecording]:
    """Hear recordings, and make their rows.

    Raises:
        StorageError: the disk is full or refuses.
    """
    with settle_rows() as settle:
        heard = [_hear_recording(task, form, settle) for task in tasks]
        return [
            HeardRecording(verdict=verdict, rows=tuple(_await(unit, row) for unit, row in rows))
            for verdict, rows in heard
        ]


def _hear_recording(
    task: _HearTask, form: RowForm, settle: Settle
) -> tuple[CropVerdict, list[tuple[RowUnit, _Pending]]]:
    check, options = task.check, form.options.draw
    verdict = measure_crops(
        check,
        root=form.recordings,
        name=form.background,
        min_level_lufs=options.min_level_lufs,
        store=open_sources(),
    )
    if verdict.problem is not None or None in verdict.chosen.values():
        return verdict, []
    units = [
        form.make_unit(
            RowSources(
                row=row,
                clip_file=clip["file"],
                recording_file=check.recording["file"],
                background_label=check.recording["label"],
            ),
            None,
        )
        for clip in task.clips
        for row in draw_rows(clip, check.recording, verdict.chosen[clip["clip_id"]] or 0, options, check.draw)
    ]
    return verdict, list(zip(units, begin_rows(units, settle), strict=True))


def _await(unit: RowUnit, row: _Pending) -> MadeRow:
    result = row if isinstance(row, UnitResult) else row.result()
    return MadeRow(clip_id=unit.task.row.clip_id, digest=unit.digest, result=result)
