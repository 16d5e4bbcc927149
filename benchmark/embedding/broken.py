"""Clips that cannot be used: all of a pass are found before any is reported, so that each does not cost a pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import processes
from benchmark.embedding.clips import BrokenClipError, Clip
from bgknown.errors import BgknownError, InvalidInputError

if TYPE_CHECKING:
    from benchmark.embedding.texts import BrokenTextsError
    from benchmark.tasks.contract import TaskData

GIVE_UP = 512
"""Number of clips with NaN or infinite embeddings, and none without, after which the encoder is at fault."""
NAMED = 3
"""Number of broken clips that a message names."""


class BrokenClips:
    """The broken clips of one pass of an encoder over some audio.

    Args:
        encoder: its name.
        embedded: number of clips that it has already embedded.
    """

    def __init__(self, encoder: str, *, embedded: int = 0) -> None:
        self.encoder = encoder
        self.embedded = embedded
        self.problems: dict[Path, str] = {}
        self._not_finite: list[Path] = []
        self._silent: list[Path] = []

    def add(self, error: BrokenClipError) -> None:
        """Record a clip that cannot be decoded."""
        self.problems |= error.problems

    def add_silent(self, clip: Clip) -> None:
        """Record a silent clip that an encoder takes statistics from; it counts as broken if they are unusable."""
        self._silent.append(clip.path)

    def keep_finite(self, clips: Sequence[Clip], rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows of a batch are finite; the clips of the others are recorded.

        Raises:
            InvalidInputError: hardly any clip has a finite embedding.
        """
        finite = np.asarray(np.isfinite(rows).all(axis=1))
        self.embedded += int(finite.sum())
        for place in np.flatnonzero(~finite).tolist():
            self._not_finite.append(clips[place].path)
            self.problems[clips[place].path] = f"encoder {self.encoder} gives NaN or infinite values"
        if not self.embedded and not self._silent and len(self._not_finite) >= GIVE_UP:
            self._blame_encoder()
        return finite

    def refuse(self, total: int) -> None:
        """Raise an error if any clip of any process is broken; every process must call this.

        Args:
            total: number of clips of the pass.

        Raises:
            BrokenClipError: names the first few.
            InvalidInputError: not one embedding is finite.
        """
        if processes.count() > 1:
            parts = processes.gather((self.problems, self._not_finite, self._silent, self.embedded))
            self.problems = {path: problem for part in parts for path, problem in part[0].items()}
            self._not_finite = [path for part in parts for path in part[1]]
            self._silent = [path for part in parts for path in part[2]]
            self.embedded = max(part[3] for part in parts)
        if not self.problems:
            return
        if self._not_finite and not self.embedded:
            if not self._silent:
                self._blame_encoder()
            spoilt = f"it is silent, and with it encoder {self.encoder} gives NaN or infinite values for all clips"
            self.problems = {path: problem for path, problem in self.problems.items() if path not in self._not_finite}
            self.problems |= dict.fromkeys(self._silent, spoilt)
        raise make_broken_error(self.problems, total)

    def _blame_encoder(self) -> None:
        count = len(self._not_finite)
        raise InvalidInputError(
            f"encoder {self.encoder}: embed returned NaN or infinite values for {count} of {count} clips, the first "
            f"for {self._not_finite[0]}; `benchmark check` shows its output for silence, noise and extremes"
        )


def make_broken_error(problems: Mapping[Path, str], total: int) -> BrokenClipError:
    """The error for broken clips: one line that says how many, names the first few, and names the option.

    Args:
        problems: what is wrong with each file.
        total: number of all clips.
    """
    if len(problems) == 1:
        message = f"{describe(problems)}; repair it, or leave it out with --skip-broken"
    else:
        message = (
            f"{len(problems):,} of {total:,} clips cannot be used: {describe(problems)}; repair them, or leave them "
            f"out with --skip-broken"
        )
    return BrokenClipError(message, problems=problems)


def describe(problems: Mapping[Path, str]) -> str:
    """List the first few files, each with what is wrong with it."""
    first = [f"{path}: {problems[path]}" for path in sorted(problems)[:NAMED]]
    return ", ".join(first) + (f" and {len(problems) - NAMED:,} more" if len(problems) > NAMED else "")


def find_usable_rows(
    table: pd.DataFrame, signals: Mapping[str, list[Clip]], broken: Mapping[Path, str]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Find the usable rows of a task of several signals: a row is left out in all signals if it is in one.

    Args:
        table: one row per clip, with clip_id.
        signals: the audio of each signal, row by row.
        broken: files that cannot be used, and why.

    Returns:
        [n] whether each row can be used, and a note that names those that cannot; no note if all can.
    """
    problems: dict[int, str] = {}
    for name, clips in signals.items():
        for row, clip in enumerate(clips):
            if clip.path in broken:
                problems.setdefault(row, f"{table['clip_id'].iloc[row]} ({name}: {broken[clip.path]})")
    keep = np.ones(len(table), dtype=bool)
    keep[list(problems)] = False
    if not problems:
        return keep, []
    first = ", ".join(problems[row] for row in sorted(problems)[:NAMED])
    more = f" and {len(problems) - NAMED:,} more" if len(problems) > NAMED else ""
    verb = "is" if len(problems) == 1 else "are"
    return keep, [f"{len(problems):,} of {len(table):,} clips {verb} left out in all signals: {first}{more}"]


def explain_broken_pairs(data: TaskData, error: BrokenTextsError) -> BgknownError:
    """The error for pairs whose texts do not have an embedding; the error itself if none has one."""
    texts = data.table["text"].tolist()
    if error.texts >= set(texts) or processes.count() > 1:  # texts are embedded by one process alone
        return error
    pairs = zip(data.signals["s2"], texts, strict=True)
    return make_broken_error({clip.path: str(error) for clip, text in pairs if text in error.texts}, len(texts))
