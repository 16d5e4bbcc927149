"""The rows of a recipe as workers get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bgknown.corpora.columns import CorpusPrefixes
from bgknown.corpora.pair import Corpora
from bgknown.jobs.files import list_state
from bgknown.jobs.units import FinishedUnit, JobFolder, make_digest
from bgknown.mixtures.options import BuildOptions
from bgknown.mixtures.row_task import RowTask
from bgknown.mixtures.rules import RowSources
from bgknown.mixtures.worker import RowUnit
from bgknown.render import scaper

ROWS = 3
"""Number of how a recipe is drawn and a row is rendered; raised when either changes, so that older rows are remade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowForm:
    """What the rows of a build have in common."""

    clips: Path
    """Folder of the clips."""
    recordings: Path
    """Folder of the recordings."""
    foreground: str
    """Name of the corpus of the clips."""
    background: str
    """Name of the corpus of the recordings."""
    prefixes: CorpusPrefixes
    """Of the columns of the recipe."""
    options: BuildOptions
    """The options of the build."""
    folder: JobFolder
    """Where rows go."""

    def make_unit(self, sources: RowSources, known: FinishedUnit | None) -> RowUnit:
        """A row for a worker.

        Args:
            sources: the row and its sources.
            known: what an earlier run has made of it.
        """
        options = self.options
        task = RowTask(
            row=sources.row,
            clip_path=self.clips / sources.clip_file,
            recording_path=self.recordings / sources.recording_file,
            clip_frames=options.draw.clip_frames,
            foreground=self.foreground,
            background=self.background,
            background_label=sources.background_label,
            reference_gain=options.reference_gain,
            min_level_lufs=options.draw.min_level_lufs,
            engine=options.engine,
        )
        states = [list_state(path) for path in (task.clip_path, task.recording_path)]
        files = [sources.clip_file, sources.recording_file]
        configuration = (options.reference_gain, options.container, options.draw.min_level_lufs, options.engine)
        columns = sources.row.to_columns(self.prefixes)
        digest = make_digest(columns, files, states, configuration, scaper.VERSION, ROWS)
        return RowUnit(task=task, container=options.container, folder=self.folder, digest=digest, known=known)


def describe_rows(corpora: Corpora, options: BuildOptions, folder: JobFolder) -> RowForm:
    """What the rows of a build have in common.

    Args:
        corpora: the corpora.
        options: the options of the build.
        folder: where rows go.
    """
    return RowForm(
        clips=corpora.foreground.root,
        recordings=corpora.background.root,
        foreground=corpora.foreground.facts.name,
        background=corpora.background.facts.name,
        prefixes=corpora.prefixes,
        options=options,
        folder=folder,
    )
