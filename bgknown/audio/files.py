"""Reading and writing audio: headers, mono samples at 44.1 kHz, 16-bit PCM.

Samples are float64 arrays [N], full scale -1..1, mono. Positions are whole samples at ``RATE_HZ``.
"""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from bgknown.audio.decoding import NO_SUCH_FILE as NO_SUCH_FILE  # noqa: PLC0414  (mypy's way to say that it is public)
from bgknown.audio.decoding import AudioFile, explain_file_faults
from bgknown.audio.mono import mix_down
from bgknown.audio.plain_wav import read_plain_wav
from bgknown.errors import BgknownError, InvalidInputError, NotFiniteError, StorageError
from bgknown.jobs.passing import read_again

RATE_HZ = 44_100
"""The sampling rate of ESC-50, FSD50K and of everything that is built from them."""

LARGEST_PCM16 = 32_767 / 32_768
"""The largest positive value of 16-bit PCM, as a fraction of full scale."""

Sample = TypeVar("Sample", np.float32, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The kind of audio in a file, and its length."""

    frames: int
    """Samples per channel at the file's own rate; counted where the header is not reliable."""
    rate_hz: int
    """Sampling rate of the file."""
    channels: int
    """Number of channels."""
    container: str
    """Container as libsndfile names it: WAV, FLAC, OGG, ..."""
    sliceable: bool = True
    """Whether libsndfile reads the file directly, and its header has the length."""
    integers: bool = False
    """Whether samples are stored as integers, so that none is beyond full scale."""

    @property
    def native(self) -> bool:
        """Whether the file can be sliced directly: 44.1 kHz, mono, and of a type whose seeks are exact.

        Ogg is left out: libsndfile seeks by granule position, which in some files is off by thousands of samples
        from what reading from the start gives.
        """
        plain = self.sliceable and self.container in {"WAV", "WAVEX", "FLAC"}
        return plain and self.rate_hz == RATE_HZ and self.channels == 1

    @property
    def frames_44k(self) -> int:
        """Length in whole samples at 44.1 kHz."""
        return int(count_frames_44k(self.frames, self.rate_hz))


def count_frames_44k(frames: Any, rate_hz: Any) -> Any:
    """A length in whole samples at 44.1 kHz, rounded down; of single lengths or of columns."""
    return frames * RATE_HZ // rate_hz


@read_again
def read_header(path: Path) -> Header:
    """The kind of audio in a file, and its length.

    The audio is decoded, to count its samples, only where the header cannot tell its length: in MP3 without a length
    tag, FLAC that was written to a pipe, and block codings such as ADPCM and GSM.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: the file is empty, truncated, or not audio.
    """
    plain = read_plain_wav(path)
    if plain is not None:
        return Header(
            frames=plain.frames, rate_hz=plain.rate_hz, channels=plain.channels, container="WAV", integers=True
        )
    with AudioFile(path) as file:
        counted = file.declared is None
        frames = sum(map(len, file.blocks(np.int16))) if file.declared is None else file.declared
        return _header(file, frames, sliceable=not counted and file.as_it_is)


@read_again
def read_sliceable(path: Path) -> Header | None:
    """The header of a file that is ``native``; None for any other file, whose samples are not counted.

    Raises:
        NotFoundError, InvalidInputError: as ``read_header``.
    """
    with AudioFile(path) as file:
        header = _header(file, file.declared or 0, sliceable=file.declared is not None and file.as_it_is)
        return header if header.native else None


@read_again
def open_samples(path: Path) -> tuple[Header, NDArray[np.float64] | None]:
    """The header of a file and, unless it is ``native``, its samples [N] at 44.1 kHz; the file is opened once.

    Raises:
        NotFoundError, InvalidInputError, NotFiniteError: as ``read_file``.
    """
    with AudioFile(path) as file, explain_file_faults("cannot be decoded"):
        header = _header(file, file.declared or 0, sliceable=file.declared is not None and file.as_it_is)
        if header.native:
            return header, None
        return _decode(file, RATE_HZ, np.float64)


@read_again
def read_frames(path: Path, start: int, stop: int) -> NDArray[np.float64]:
    """Samples [start, stop) of a file whose header is ``native``, as [N] float64.

    Raises:
        InvalidInputError: the file cannot be decoded there, or is too short.
    """
    with explain_file_faults(f"cannot be decoded at samples {start}..{stop}"):
        audio, _ = soundfile.read(str(path), start=start, stop=stop, dtype="float64", always_2d=True)
    if audio.shape[0] != stop - start:
        raise InvalidInputError(f"ends at sample {start + audio.shape[0]} of {stop}: the file is truncated")
    return np.ascontiguousarray(audio[:, 0])


def read_whole_44k(path: Path, header: Header) -> NDArray[np.float64]:
    """A whole file, any rate and number of channels, as [N] float64 mono at 44.1 kHz; N is ``header.frames_44k``.

    Raises:
        InvalidInputError, NotFiniteError: as ``read_whole``.
    """
    return read_whole(path, header, RATE_HZ, np.float64)


def read_whole(path: Path, header: Header, rate_hz: int, dtype: type[Sample]) -> NDArray[Sample]:
    """``read_file`` for a file whose header is known, whose length must equal it.

    Raises:
        InvalidInputError, NotFiniteError: as ``read_file``; also if the file has another length.
    """
    found, audio = read_file(path, rate_hz, dtype)
    if found.frames != header.frames:
        raise InvalidInputError(f"ends at sample {found.frames} of {header.frames}: the file is truncated")
    return audio


@read_again
def read_file(path: Path, rate_hz: int, dtype: type[Sample]) -> tuple[Header, NDArray[Sample]]:
    """A whole file, any rate and number of channels, as mono samples [N] at another rate, and what it is.

    Channels are averaged; other rates are converted by soxr ("HQ"). N is the file's length times the ratio of the
    rates, rounded down.

    Args:
        path: the file.
        rate_hz: the rate to convert to.
        dtype: float64, or float32, which is faster and, up to rate conversion, equally exact for files of 16 bits.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: the file is empty, truncated, not audio, or cannot be decoded to its end.
        NotFiniteError: it is not at that rate and holds NaN or infinite samples.
    """
    with AudioFile(path) as file, explain_file_faults("cannot be decoded"):
        return _decode(file, rate_hz, dtype)


def _decode(file: AudioFile, rate_hz: int, dtype: type[Sample]) -> tuple[Header, NDArray[Sample]]:
    mono = _read_mono(file, dtype)
    header = _header(file, mono.shape[0], sliceable=file.declared is not None and file.as_it_is)
    return header, resample(mono, header.rate_hz, rate_hz)


def _header(file: AudioFile, frames: int, *, sliceable: bool) -> Header:
    return Header(
        frames=frames,
        rate_hz=file.rate_hz,
        channels=file.channels,
        container=file.container,
        sliceable=sliceable,
        integers=file.coding.startswith("PCM"),
    )


def _read_mono(file: AudioFile, dtype: type[Sample]) -> NDArray[Sample]:
    """The average of the channels, [N]."""
    mono, found = np.empty(min(file.declared or 0, 8 * file.size), dtype), 0
    for block in file.blocks(np.int16 if file.coding == "PCM_16" else np.dtype(dtype)):
        stop = found + len(block)
        if stop > mono.size:
            mono = np.concatenate([mono[:found], np.empty(max(found, len(block)), dtype)])
        mix_down(block, mono[found:stop])
        found = stop
    return mono if found == mono.size else mono[:found].copy()


def resample(mono: NDArray[Sample], own_rate_hz: int, rate_hz: int) -> NDArray[Sample]:
    """Mono samples [N] at another rate, converted by soxr ("HQ"); their number is N times the ratio, rounded down.

    Raises:
        NotFiniteError: the rates differ and there are NaN or infinite samples.
    """
    if own_rate_hz != rate_hz:
        check_finite(mono)  # one NaN would spread over the whole filter of the resampler
    return convert_rate(mono, own_rate_hz, rate_hz)


def convert_rate(mono: NDArray[Sample], own_rate_hz: int, rate_hz: int) -> NDArray[Sample]:
    """``resample`` for samples that are known to be finite."""
    if own_rate_hz != rate_hz:
        length = mono.shape[0] * rate_hz // own_rate_hz
        mono = np.asarray(soxr.resample(mono, own_rate_hz, rate_hz, quality="HQ"))
        missing = length - mono.shape[0]
        mono = np.pad(mono, (0, missing)) if missing > 0 else mono[:length]
    return np.ascontiguousarray(mono)


def check_finite(audio: NDArray[np.floating[Any]]) -> None:
    """Check that all samples are finite.

    Raises:
        NotFiniteError: some are not; gives their number and the first.
    """
    finite = np.isfinite(audio)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise NotFiniteError(f"NaN or infinite samples: {bad.size}, the first at sample {bad[0]} of the part used")


def as_pcm32(audio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Samples as SoX returns them: 32-bit PCM, truncated towards zero, saturated, as float64 again.

    Audio of up to 24 bits passes unchanged. Decoded Ogg and float files may exceed full scale, which SoX clips.
    """
    steps = audio * 2.0**31
    np.trunc(steps, out=steps)
    np.clip(steps, -(2.0**31), 2.0**31 - 1, out=steps)
    steps *= 2.0**-31
    return np.asarray(steps)


def to_pcm16(audio: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round to 16-bit PCM by way of Scaper's 32-bit PCM, saturating at both ends.

    Scaper writes 32-bit files (times 2^31, rounded to even); rounding those to 16 bits differs by one step here and
    there from rounding the float samples once, so both roundings are applied.

    Args:
        audio: [N] samples, full scale -1..1; +1.0 becomes 32,767, never -32,768.
    """
    steps = audio * 2.0**31
    np.rint(steps, out=steps)
    np.clip(steps, -(2.0**31), 2.0**31 - 1, out=steps)
    steps *= 2.0**-16
    steps += 0.5
    np.floor(steps, out=steps)
    return np.minimum(steps, 32_767, out=steps).astype(np.int16)


def encode(pcm: NDArray[np.int16] | NDArray[np.int32], container: str) -> bytes:
    """The bytes of a mono 44.1 kHz file of 16 or 32 bits.

    Args:
        pcm: [N] samples; their type determines the number of bits.
        container: "wav" or "flac" (16 bits only).
    """
    return b"".join(encode_parts(pcm, container))


def encode_parts(pcm: NDArray[np.int16] | NDArray[np.int32], container: str) -> tuple[bytes | memoryview, ...]:
    """``encode`` in parts; the samples of a WAV file are ``pcm`` itself, not a copy."""
    if container == "wav":
        return make_wav_head(pcm.nbytes, 8 * pcm.itemsize), pcm.astype(
            pcm.dtype.newbyteorder("<"), copy=False
        ).data.cast("B")
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, RATE_HZ, subtype="PCM_16", format=container.upper())
    return (buffer.getvalue(),)


def make_wav_head(data_bytes: int, bits: int) -> bytes:
    """The 44 bytes before the samples of a mono 44.1 kHz WAV file, as libsndfile writes them.

    Args:
        data_bytes: length of the samples.
        bits: of each sample: 16 or 32.
    """
    wide = bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ * wide, wide, bits)
    return struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)


def map_pcm16(path: Path, frames: int) -> NDArray[np.int16] | None:
    """The samples [N] of a 16-bit mono WAV file, mapped into memory, so that processes share them.

    Args:
        path: a whole file, as ``read_header`` has found it.
        frames: its length in samples.

    Returns:
        None if the file is of another kind.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE" or sys.byteorder != "little":
            return None
        form = b""
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                if struct.unpack("<HHI4xHH", form[:16]) != (1, 1, RATE_HZ, 2, 16):
                    return None
                return np.memmap(path, "<i2", mode="r", offset=file.tell(), shape=(frames,))
            if name == b"fmt ":
                form = file.read(length + (length & 1)).ljust(16, b"\0")
            else:
                file.seek(length + (length & 1), io.SEEK_CUR)
    return None


def read_pcm16(path: Path) -> NDArray[np.int16]:
    """The samples [N] of a 16-bit mono 44.1 kHz file, as they are stored.

    Raises:
        StorageError: the file is missing or cannot be read.
        InvalidInputError: it has another format; the message says which.
    """
    try:
        with AudioFile(path) as file:
            found = (file.rate_hz, file.channels, file.coding)
            pcm = np.concatenate([block.copy() for block in file.blocks(np.int16)])
    except BgknownError as error:
        raise StorageError(f"{path}: cannot be read as audio ({error})") from error
    if found != (RATE_HZ, 1, "PCM_16"):
        raise InvalidInputError(
            f"{path}: is {found[0]} Hz, {found[1]} channels, {found[2]}; 44100 Hz mono PCM_16 is required"
        )
    return np.ascontiguousarray(pcm[:, 0])
