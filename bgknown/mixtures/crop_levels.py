"""Measuring the crops (a) of a draw: the first of each clip's draws that is loud enough."""

from __future__ import annotations

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


def measure_crops(check: CropCheck, *, root: Path, name: str, min_level_lufs: float) -> CropVerdict:
    """Measure the crops of one recording.

    Args:
        check: the recording and the crops.
        root: folder of its corpus.
        name: name of its corpus, for messages.
        min_level_lufs: the least loudness of a crop.
    """
    recording_id, file = str(check.recording["recording_id"]), str(check.recording["file"])
    try:
        source = SourceStore().open(root / file)
        chosen = {
            clip_id: next(
                (
                    start
                    for start in dict.fromkeys(starts)
                    if _measure_level(source, start, check.clip_frames) >= min_level_lufs
                ),
                None,
            )
            for clip_id, starts in check.starts.items()
        }
    except (InvalidInputError, NotFoundError) as error:
        problem = make_problem(error, where=file, what=name)
        return CropVerdict(recording_id=recording_id, chosen={}, problem=problem)
    return CropVerdict(recording_id=recording_id, chosen=chosen)


def _measure_level(source: Source, start: int, frames: int) -> float:
    return measure_lufs(source.read(start, start + frames)[0], RATE_HZ)
