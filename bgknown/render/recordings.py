"""The recordings of a source tree, opened once per process and kept while memory allows."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np

from bgknown.audio.decoding import explain_file_faults
from bgknown.audio.files import as_pcm32, check_finite, map_pcm16, read_header, read_whole_44k
from bgknown.errors import InvalidInputError
from bgknown.render.weighted import Recording, weigh


class RecordingStore:
    """Opens recordings and keeps those used last.

    16-bit WAV files are mapped, so that the processes of a machine share one copy; other files are decoded into memory.

    Args:
        root: the source tree.
        keep_bytes: memory for tables and decoded samples; mapped samples do not count.
    """

    def __init__(self, root: Path, keep_bytes: int = 512_000_000) -> None:
        self._root = root
        self._keep_bytes = keep_bytes
        self._held_bytes = 0
        self._recordings: OrderedDict[str, Recording] = OrderedDict()

    def open(self, file: str) -> Recording:
        """A recording by its path relative to the tree.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: it cannot be read, or is not 44.1 kHz mono.
            NotFiniteError: it holds NaN or infinite samples.
        """
        known = self._recordings.get(file)
        if known is not None:
            self._recordings.move_to_end(file)
            return known
        recording = _read_recording(self._root / file)
        self._recordings[file] = recording
        self._held_bytes += _count_held_bytes(recording)
        while self._held_bytes > self._keep_bytes and len(self._recordings) > 1:
            self._held_bytes -= _count_held_bytes(self._recordings.popitem(last=False)[1])
        return recording


def _read_recording(path: Path) -> Recording:
    header = read_header(path)
    if (header.rate_hz, header.channels) != (44_100, 1):
        raise InvalidInputError(
            f"the file is {header.rate_hz} Hz with {header.channels} channels; sources must be 44100 Hz mono "
            "(make them with `bgknown apwd prepare`)"
        )
    with explain_file_faults("cannot be read"):
        mapped = map_pcm16(path, header.frames)
    if mapped is not None:
        return weigh(mapped.view(np.ndarray))
    audio = read_whole_44k(path, header)
    check_finite(audio)
    return weigh(as_pcm32(audio))


def _count_held_bytes(recording: Recording) -> int:
    decoded = 0 if recording.samples.dtype == np.int16 else recording.samples.nbytes
    return recording.energies.nbytes + recording.states.nbytes + decoded
