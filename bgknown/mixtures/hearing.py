"""Listening to what clips have drawn: whether a crop is loud enough, and whether the other split has the same audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgknown.jobs.problems import Problem
from bgknown.mixtures.pool import FindTwins


@dataclass(frozen=True, slots=True, kw_only=True)
class CropCheck:
    """The crops (a) that clips have drawn from one recording, to be measured in their order."""

    recording: Mapping[str, Any]
    """The recording's row of the index of its corpus."""
    starts: Mapping[str, Sequence[int]]
    """For each clip, its draws of a_start."""
    clip_frames: int
    """Samples in a crop."""
    draw: int = 0
    """Number of the draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropVerdict:
    """The result of a CropCheck."""

    recording_id: str
    """The recording."""
    chosen: Mapping[str, int | None]
    """For each clip the first start that is loud enough, or None."""
    problem: Problem | None = None
    """Why the recording cannot be used."""


Listener = Callable[[Sequence[CropCheck]], Iterable[CropVerdict]]


@dataclass(slots=True, kw_only=True, eq=False)
class Hearing:
    """Listens to what clips have drawn, and collects what cannot be used."""

    listen: Listener
    """Measures crops."""
    find_twins: FindTwins
    """Finds audio that is in the other split too."""
    others: Sequence[Mapping[str, Any]]
    """Recordings of the other split, whose audio must not be used."""
    problems: list[Problem] = field(default_factory=list)
    """What is broken."""
    too_quiet: list[str] = field(default_factory=list)
    """Recordings in which a clip found no crop that is loud enough."""
    twins: dict[str, str] = field(default_factory=dict)
    """Files that are the same audio as a file of the other split, which is named."""

    def hear(self, checks: Sequence[CropCheck], heard: dict[tuple[str, str], int]) -> set[str]:
        """Measure crops and record those that are loud enough; returns the recordings that cannot be used."""
        recordings = [check.recording for check in checks]
        twins = dict(self.find_twins(recordings, self.others)) if self.others else {}
        self.twins |= twins
        refused = {row["recording_id"] for row in recordings if row["file"] in twins}
        for verdict in self.listen([check for check in checks if check.recording["recording_id"] not in refused]):
            heard.update(
                {(clip, verdict.recording_id): start for clip, start in verdict.chosen.items() if start is not None}
            )
            if verdict.problem is not None:
                self.problems.append(verdict.problem)
            elif None in verdict.chosen.values():
                self.too_quiet.append(verdict.recording_id)
            else:
                continue
            refused.add(verdict.recording_id)
        return refused
