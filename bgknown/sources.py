"""Source recordings as files that Scaper can slice exactly: 44.1 kHz, mono, whole samples.

A WAV or FLAC file of that kind is used as it stands. Everything else (other rates, several channels, Ogg) is decoded
from its start, converted once, and kept for a while in a folder of this process.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bgknown.audio import RATE_HZ, as_pcm32, check_finite, read_frames, read_header, read_whole_44k
from bgknown.errors import InvalidInputError
from bgknown.files import make_folder, sha256, storage_error

PADDING_FRAMES = 1
"""Zeros after a conversion, so that a slice may end at the last sample although Scaper counts in rounded seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that can be sliced by samples at 44.1 kHz."""

    path: Path
    """The original, or its conversion."""
    frames: int
    """Length of the original in samples at 44.1 kHz."""
    padded: bool
    """Whether the file is a conversion, with ``PADDING_FRAMES`` zeros at its end."""

    @property
    def duration_s(self) -> float:
        """Length of the file as libsndfile, and so Scaper, gives it."""
        return (self.frames + PADDING_FRAMES * self.padded) / RATE_HZ

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples [start, stop) as Scaper mixes them, [N] float64.

        Raises:
            InvalidInputError: the slice leaves the recording or cannot be decoded.
            NotFiniteError: it holds NaN or infinite samples.
        """
        if not 0 <= start < stop <= self.frames:
            raise InvalidInputError(f"samples {start:,} to {stop:,} wanted, the file has {self.frames:,} at 44.1 kHz")
        audio = read_frames(self.path, start, stop)
        check_finite(audio)
        return as_pcm32(audio)


class SourceStore:
    """Opens sources and keeps the last few conversions.

    Args:
        folder: where conversions are written; belongs to this store alone.
        keep: how many conversions stay on disk.
    """

    def __init__(self, folder: Path, keep: int = 8) -> None:
        self._folder = folder
        self._keep = keep
        self._converted: OrderedDict[Path, Source] = OrderedDict()

    def open(self, path: Path, *, padded: bool = False) -> Source:
        """A source for a file.

        Args:
            path: the original.
            padded: whether a conversion is wanted even where the original would do.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: it cannot be read.
            StorageError: the conversion cannot be written.
        """
        if path in self._converted:
            self._converted.move_to_end(path)
            return self._converted[path]
        header = read_header(path)
        if header.native and not padded:
            return Source(path=path, frames=header.frames, padded=False)
        source = self._convert(path)
        self._converted[path] = source
        if len(self._converted) > self._keep:
            _, oldest = self._converted.popitem(last=False)
            oldest.path.unlink(missing_ok=True)
        return source

    def _convert(self, path: Path) -> Source:
        audio = read_whole_44k(path)
        folder = self._folder / sha256(str(path).encode())[:16]
        make_folder(folder)
        target = folder / f"{path.stem}.wav"
        try:
            # 32-bit float holds what every decoder and resampler here produces; doubles would only cost disk
            soundfile.write(str(target), np.pad(audio, (0, PADDING_FRAMES)), RATE_HZ, subtype="FLOAT")
        except (OSError, soundfile.SoundFileError) as error:
            target.unlink(missing_ok=True)
            cause = error if isinstance(error, OSError) else OSError(str(error))
            raise storage_error(cause, target) from error
        return Source(path=target, frames=audio.shape[0], padded=True)
