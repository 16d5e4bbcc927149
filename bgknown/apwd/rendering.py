"""Rendering the soundscapes of a pair from the recordings that a process keeps open."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import get_ident

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.problems import Problem, make_problem
from bgknown.render import direct
from bgknown.render.recordings import RecordingStore
from bgknown.render.weighted import Recording
from bgknown.soundscape import Layer, Soundscape


class SourceError(InvalidInputError):
    """A source cannot be used; carries the pair's problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line())
        self.problem = problem


def explain_source_problem(error: BgknownError, layer: Layer, source: Path, where: str) -> Problem:
    """The problem of a source; an unknown label has another code than a missing file."""
    folder = (source / layer.file).parent
    if isinstance(error, NotFoundError) and not folder.is_dir():
        known = ", ".join(sorted(path.name for path in folder.parent.glob("[!.]*"))) or "none"
        what = f"no folder {folder.relative_to(source)} for the label {layer.label!r}; there are {known}"
        return Problem(where=where, code="unknown_label", what=what)
    return make_problem(error, where=where, what=f"source {layer.file}")


def render_pcm16(
    soundscape: Soundscape, source: Path, where: str, memory: NDArray[np.int16] | None = None
) -> NDArray[np.int16]:
    """A soundscape in 16 bits by the direct renderer, from the recordings that this process keeps open.

    Args:
        soundscape: what to render.
        source: the source tree.
        where: the soundscape's name in a problem.
        memory: memory to reuse for the result.

    Returns:
        [N] samples at 44.1 kHz.

    Raises:
        InvalidInputError: the soundscape cannot be rendered from its sources, or one of them is broken or missing.
    """
    frames = int(soundscape.duration_s * RATE_HZ)
    out = np.empty(frames, np.int16) if memory is None or memory.shape[0] < frames else memory
    return direct.render_mixture_pcm16(soundscape, make_opener(source, where), out, _make_scratch(get_ident()))


def make_opener(source: Path, where: str) -> Callable[[Layer], Recording]:
    """A function that opens a layer's recording for the renderer, and reports failures under the soundscape's name.

    Args:
        source: the source tree.
        where: the soundscape's name in a problem.
    """
    store = _open_recordings(source)

    def recording(layer: Layer) -> Recording:
        try:
            return store.open(layer.file)
        except BgknownError as error:
            raise SourceError(explain_source_problem(error, layer, source, where)) from error

    return recording


@lru_cache(maxsize=4)
def _make_scratch(thread: int) -> NDArray[np.float64]:
    """Memory in which a thread sums."""
    return np.empty(direct.STRETCH)


@lru_cache(maxsize=2)
def _open_recordings(source: Path) -> RecordingStore:
    """The recordings of this process."""
    return RecordingStore(source)
