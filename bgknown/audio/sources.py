"""Source recordings as 44.1 kHz mono that can be sliced by whole samples.

A WAV or FLAC file of that kind is sliced on disk; the samples of plain 16-bit WAV files are read as they are.
Everything else (other rates, several channels, Ogg) is decoded from its start, converted once, and kept in memory for a
while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.amplitude import Amplitude, measure_amplitude
from bgknown.audio.decoding import explain_file_faults
from bgknown.audio.files import RATE_HZ, as_pcm32, check_finite, open_samples, read_frames
from bgknown.audio.plain_wav import read_plain_wav
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import FileState, read_state
from bgknown.jobs.passing import read_again

_FEWEST = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Source:
    """A recording."""

    path: Path
    """The file."""
    frames: int
    """Its length in samples at 44.1 kHz."""
    converted: NDArray[np.float64] | None = None
    """[frames] its samples at 44.1 kHz, where the file cannot be sliced directly."""
    pcm16_start: int | None = None
    """Position of the samples in a plain 16-bit WAV file of 44.1 kHz and one channel; None for another file."""
    settled: bool | None = None
    """Whether ``converted`` are the samples that are mixed (``bgknown.render.parts``); None if nobody has looked."""
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
        self._check_slice(start, stop)
        return read_frames(self.path, start, stop) if self.converted is None else self.converted[start:stop]

    @read_again
    def read_pcm16(self, start: int, stop: int) -> NDArray[np.int16]:
        """Samples [start, stop) of a file with a ``pcm16_start``, [N].

        Raises:
            InvalidInputError: the slice exceeds the recording, or the file has been cut.
        """
        self._check_slice(start, stop)
        pcm = np.empty(stop - start, "<i2")
        with explain_file_faults(f"cannot be read at samples {start}..{stop}"), self.path.open("rb") as file:
            file.seek((self.pcm16_start or 0) + 2 * start)
            frames = file.readinto(pcm.data.cast("B")) // 2
        if frames != stop - start:
            raise InvalidInputError(f"ends at sample {start + frames} of {stop}: the file is truncated")
        return pcm.astype(np.int16, copy=False)

    def _check_slice(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.frames:
            raise InvalidInputError(
                f"samples {start:,} to {stop:,} are required, but the file has {self.frames:,} at 44.1 kHz"
            )


class SourceStore:
    """Opens sources and remembers the last few.

    Args:
        keep: number of sources that are remembered (the conversion of 30 s takes 11 MB).
        keep_bytes: the samples in memory beyond which only the last ``_FEWEST`` sources are.
    """

    def __init__(self, keep: int = 4, keep_bytes: int = 100_000_000) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
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
        while len(self._sources) > self._keep or (
            len(self._sources) > _FEWEST and self._count_bytes() > self._keep_bytes
        ):
            self._sources.popitem(last=False)
        return source

    def _count_bytes(self) -> int:
        return sum(source.converted.nbytes for source in self._sources.values() if source.converted is not None)


def _open_source(path: Path) -> Source:
    plain = read_plain_wav(path)
    if plain is not None and (plain.bits, plain.rate_hz, plain.channels) == (16, RATE_HZ, 1):
        return Source(path=path, frames=plain.frames, pcm16_start=plain.start)
    header, audio = open_samples(path)
    return Source(path=path, frames=header.frames if audio is None else audio.shape[0], converted=audio)
