"""Rows that are made while the draw listens; see also test_build_stopped.py."""

from types import SimpleNamespace

from bgknown.jobs.problems import Problem
from bgknown.jobs.resumable import UnitResult
from bgknown.mixtures.heard_rows import HeardRecording, HeardRows, MadeRow
from bgknown.mixtures.hearing import CropCheck, CropVerdict


class StubJob:
    """A job whose workers make the rows that it is given."""

    jobs = 1

    def __init__(self, *rounds):
        self._rounds = iter(rounds)

    def run_units(self, work, tasks, **_):
        return [
            HeardRecording(verdict=CropVerdict(recording_id="r", chosen={"x": 0}), rows=(next(self._rounds),))
            for _ in tasks
        ]


def unit(digest):
    return SimpleNamespace(digest=digest, task=SimpleNamespace(row=SimpleNamespace(clip_id="x")))


def test_only_the_last_row_made_of_a_clip_counts():
    """A clip that draws one recording, then another, and then the first again has the files of the second."""
    first, second = (
        MadeRow(
            clip_id="x", digest=digest, result=UnitResult(problem=Problem(where="x", code="unreadable", what=digest))
        )
        for digest in ("one", "two")
    )
    rows = HeardRows(job=StubJob(first, second), form=None, clips={"x": {}})
    check = CropCheck(recording={"recording_id": "r"}, starts={"x": [0]}, clip_frames=1)
    for _ in range(2):
        assert [verdict.recording_id for verdict in rows.listen([check])] == ["r"]
    again, other = unit("one"), unit("two")
    assert rows.take([again]) == ([], [again])
    assert rows.take([other]) == ([second.result], [])
