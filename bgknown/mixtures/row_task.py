"""One row of a recipe for whoever renders it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bgknown.errors import BgknownError
from bgknown.jobs.problems import Problem
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.snr import ReferenceGain
from bgknown.render.layers import Engine


class RowError(BgknownError, ValueError):
    """A row cannot be built; carries its problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line())
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTask:
    """One row of a recipe, its sources, and how to render it."""

    row: RecipeRow
    """The row."""
    clip_path: Path
    """The clip."""
    recording_path: Path
    """The recording of the background."""
    clip_frames: int
    """Samples in the mixture and in each reference."""
    foreground: str
    """Name of the corpus of the clip, for messages."""
    background: str
    """Name of the corpus of the recording."""
    background_label: str
    """The recording's label in the JAMS."""
    reference_gain: ReferenceGain
    """Whether references carry the gain that (a) has in the mixture, or none."""
    min_level_lufs: float
    """Least loudness of crop (a) in its recording."""
    engine: Engine
    """What renders."""

    @property
    def clip_name(self) -> str:
        """The clip in messages."""
        return f"{self.foreground} {self.row.foreground_file}"

    @property
    def recording_name(self) -> str:
        """The recording in messages."""
        return f"{self.background} {self.row.background_file}"

    def fail(self, code: str, what: str) -> RowError:
        """The error of a row that cannot be built."""
        return RowError(Problem(where=self.row.clip_id, code=code, what=what))
