"""Source recordings as 44.1 kHz mono that can be sliced by whole samples.

A WAV or FLAC file of that kind is sliced on disk. Everything else (other rates, several channels, Ogg) is decoded from
its start, converted once, and kept in memory for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.amplitude import Amplitude, measure_amplitude
from bgknown.audio.decoding import explain_file_faults
from bgknown.audio.files import as_pcm32, check_finite, open_samples, read_frames
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import FileState, read_state


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A recording."""

    path: Path
    """The file."""
    frames: int
    """Its length in samples at 44.1 kHz."""
    converted: NDArray[np.float64] | None = None
    """[frames] its samples at 44.1 kHz, where the file cannot be sliced directly."""
    levels: dict[tuple[int, int], float] = field(default_factory=dict)
    """Loudness of slices that were measured, LUFS, by their first sample and their end."""

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float64], Amplitude]:
        """Samples [start, stop) as Scaper mixes them, [N] float64, and whether they were cut off at full scale.

        Raises:
            InvalidInputError: the slice exceeds the recording or cannot be decoded.
            NotFiniteError: it holds NaN or infinite samples.
        """
        audio = self.decode(start, stop)
        check_finite(audio)
        return as_pcm32(audio), measure_amplitude(audio)

    def decode(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples [start, stop) as they are, [N] float64, which must not be changed.

        Raises:
            InvalidInputError: the slice exceeds the recording or cannot be decoded.
        """
        if not 0 <= start < stop <= self.frames:
            raise InvalidInputError(
                f"samples {start:,} to {stop:,} are required, but the file has {self.frames:,} at 44.1 kHz"
            )
        return read_frames(self.path, start, stop) if self.converted is None else self.converted[start:stop]


class SourceStore:
    """Opens sources and remembers the last few.

    Args:
        keep: number of sources that are remembered (the conversion of 30 s takes 11 MB).
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._sources: OrderedDict[tuple[Path, FileState], Source] = OrderedDict()

    def open(self, path: Path) -> Source:
        """A source for a file.

        Raises:
            NotFoundError: the file does not exist.
            InvalidInputError: it cannot be read.
        """
        with explain_file_faults("cannot be read"):
            key = (path, read_state(path))  # it may have been replaced
        if key in self._sources:
            self._sources.move_to_end(key)
            return self._sources[key]
        source = _open_source(path)
        self._sources[key] = source
        if len(self._sources) > self._keep:
            self._sources.popitem(last=False)
        return source


def _open_source(path: Path) -> Source:
    header, audio = open_samples(path)
    return Source(path=path, frames=header.frames if audio is None else audio.shape[0], converted=audio)
