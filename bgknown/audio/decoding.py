"""Decoding audio files of every kind, in blocks, until the decoder ends.

What a header says of the length is used only to notice that a file was cut. Memory is taken for what has been decoded,
never for what a header announces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
from numpy.typing import DTypeLike, NDArray

from bgknown.audio import chunks, mpeg, streams
from bgknown.audio.pieces import Piece, Pieces, View
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError

NO_SUCH_FILE = "no such file"
"""The problem of a file that is listed but missing."""
RATE_LIMITS_HZ = (1_000, 768_000)
"""The lowest and the highest sampling rate that audio may have."""
BLOCK_SAMPLES = 1 << 18
"""Samples, of all channels together, that are decoded at a time."""
LONGEST_FRAMES = 1 << 31
"""Longest recording that is read: 13 hours at 44.1 kHz."""

_MPEG_CODECS = {0x50, 0x55}
_PLAIN = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
_MOST_FRAMES_PER_BYTE = 1 << 16  # the most compact coding: a block of silence in FLAC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How to read a file."""

    parts: tuple[tuple[Piece, ...], ...] = ()
    """Streams to decode one after another, where the file cannot be decoded directly."""
    skip: int = 0
    """Samples to drop at the start."""
    exact: bool | None = None
    """Whether the decoder must return as many samples as the header declares; None if that depends on the coding."""


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is decoded from its start to its end.

    After each block soundfile seeks to its current position, and in some files libsndfile then moves elsewhere.
    """

    def seekable(self) -> bool:
        """No."""
        return False


class AudioFile:
    """An audio file, open for reading; a context manager.

    Args:
        path: the file.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: the file is empty, cut, or not audio.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.ExitStack() as stack, explain_file_faults("not readable as audio"):
            size = _check_file(path)
            data = View(stack.enter_context(path.open("rb")), size)
            layout = inspect(data, size)
            sources: list[Pieces | str] = [Pieces(data, part) for part in layout.parts]
            sources = sources or [str(path)]
            self._decoders = [stack.enter_context(_Decoder(source)) for source in sources]
            self._skip = layout.skip
            first = self._decoders[0]
            self.rate_hz, self.channels = int(first.samplerate), int(first.channels)
            self.container, self.coding = str(first.format), str(first.subtype)
            self._check_alike()
            exact = self.coding in _PLAIN if layout.exact is None else layout.exact
            self.size = size
            """Bytes of the file."""
            frames = sum(int(decoder.frames) for decoder in self._decoders)
            if exact and frames > _MOST_FRAMES_PER_BYTE * size:
                raise InvalidInputError(f"declares {frames:,} samples, which do not fit into its {size:,} bytes")
            if exact and frames <= 0:
                raise InvalidInputError("the file holds no samples")
            self.declared = frames if exact else None
            """Samples per channel, where the header is reliable."""
            self.as_it_is = not layout.parts
            """Whether libsndfile reads the file without help, so that it can be sliced."""
            self._stack = stack.pop_all()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def blocks(self, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
        """All samples in blocks [n, C], n at least 1; each is valid until the next one is requested.

        Args:
            dtype: int16, float32 or float64.

        Raises:
            InvalidInputError: the file cannot be decoded to its end, or does not end where its header says.
        """
        skip, found = self._skip, 0
        buffer = np.empty((max(BLOCK_SAMPLES // self.channels, 1), self.channels), dtype)
        for decoder in self._decoders:
            while True:
                with explain_file_faults("cannot be decoded"):
                    block = decoder.read(out=buffer)
                if not len(block):
                    break
                block, skip = block[skip:], max(skip - len(block), 0)
                found += len(block)
                if found > LONGEST_FRAMES:
                    raise InvalidInputError(f"is longer than {LONGEST_FRAMES:,} samples; cut it into parts")
                if len(block):
                    yield block
        if self.declared is not None and found != self.declared:
            raise InvalidInputError(f"ends at sample {found} of {self.declared}: the file is truncated")
        if not found:
            raise InvalidInputError("the file holds no samples")

    def _check_alike(self) -> None:
        low, high = RATE_LIMITS_HZ
        if not low <= self.rate_hz <= high:
            raise InvalidInputError(
                f"its header declares a sampling rate of {self.rate_hz:,} Hz; it must be {low:,} to {high:,} Hz"
            )
        for decoder in self._decoders[1:]:
            if (decoder.samplerate, decoder.channels) != (self.rate_hz, self.channels):
                raise InvalidInputError(
                    f"holds {len(self._decoders)} streams one after another, of {self.rate_hz} Hz with "
                    f"{self.channels} channels and {decoder.samplerate} Hz with {decoder.channels} channels; "
                    "split the file"
                )


def inspect(data: View, size: int) -> _Layout:
    """How to read a file of ``size`` bytes.

    Raises:
        InvalidInputError: the file was cut, or is a pointer to audio rather than audio.
    """
    _check_no_stand_in(data)
    begin = mpeg.skip_id3(data, 0, size)
    if data[begin : begin + 4] == b"fLaC":
        return _inspect_flac(data, begin, size)
    if data[:4] == b"OggS":
        links = streams.find_links(data.whole(), size)
        if not all(link.whole for link in links):
            raise InvalidInputError("the file is truncated: its last Ogg page does not end the stream")
        parts = [((link.start, link.stop),) for link in links] if len(links) > 1 else []
        return _Layout(parts=tuple(parts), exact=True)
    samples = chunks.find_samples(data, size)
    if samples is None:
        return _Layout() if chunks.has_chunks(data) else _inspect_mpeg(data, begin, size, always=False)
    stop = samples.stop(size)
    if stop > size:
        raise InvalidInputError("the file is truncated: its header declares more data than the file contains")
    if samples.codec in _MPEG_CODECS:
        return _inspect_mpeg(data, samples.start, stop, always=True)
    if samples.unknown and stop == size:
        return _Layout(parts=(tuple(samples.repair(size)),))
    return _Layout()


def _inspect_flac(data: View, begin: int, size: int) -> _Layout:
    flac = streams.read_flac(data, begin, size)
    if flac is None or flac.total == 0:
        return _Layout(exact=False)
    if flac.end is None or flac.end == flac.total:
        return _Layout(exact=True)
    if flac.end < flac.total:
        raise InvalidInputError(f"ends at sample {flac.end:,} of {flac.total:,}: the file is truncated")
    return _Layout(parts=(tuple(flac.without_total(data, size)),), exact=False)


def _inspect_mpeg(data: View, start: int, stop: int, *, always: bool) -> _Layout:
    """How to read an MPEG stream, if it is one.

    Args:
        data, start, stop: where it is.
        always: whether it is part of another file and must be extracted.
    """
    stream = mpeg.find_stream(data.whole(), start, stop)
    if stream is None:
        return _Layout()
    if stream.exact:
        return _Layout(parts=(((start, stop),),) if always else (), exact=True)
    lead_in, skip = mpeg.make_lead_in(stream)
    return _Layout(parts=((lead_in, (stream.start, stream.stop)),), skip=skip, exact=False)


def _check_no_stand_in(data: View) -> None:
    """Refuse small files that often replace audio."""
    head = data[:64]
    if head.startswith(b"version https://git-lfs"):
        raise InvalidInputError("is a Git LFS pointer, not the audio itself; fetch the audio with `git lfs pull`")
    if b"/annex/objects/" in head:
        raise InvalidInputError("is a git-annex pointer, not the audio itself; fetch the audio with `git annex get`")
    if head.startswith(b"\x00\x05\x16\x07"):
        raise InvalidInputError("is an AppleDouble file (what macOS keeps next to a file), not audio; delete it")


@contextlib.contextmanager
def explain_file_faults(what: str) -> Iterator[None]:
    """Turn whatever libsndfile, numpy or the system raises for a file into a problem of that file.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: anything else; gives ``what`` and the reason.
    """
    try:
        yield
    except BgknownError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(NO_SUCH_FILE) from error
    except MemoryError as error:
        raise InvalidInputError(f"{what} (out of memory)") from error
    except Exception as error:
        raise InvalidInputError(f"{what} ({_explain(error)})") from error


def _explain(error: Exception) -> str:
    said = getattr(error, "strerror", None) if isinstance(error, OSError) else getattr(error, "error_string", None)
    text = str(said or error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__


def _check_file(path: Path) -> int:
    """The size of a readable file."""
    if not path.is_file():
        if path.exists():
            raise InvalidInputError("is not a regular file")
        raise NotFoundError(NO_SUCH_FILE)
    size = path.stat().st_size
    if size == 0:
        raise InvalidInputError("the file is empty (0 bytes)")
    return size
