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

from bgknown.errors import InvalidInputError, NotFiniteError, NotFoundError, StorageError

RATE_HZ = 44_100
"""The sampling rate of ESC-50, FSD50K and of everything that is built from them."""

LARGEST_PCM16 = 32_767 / 32_768
"""The largest positive value of 16-bit PCM, as a fraction of full scale."""

NO_SUCH_FILE = "no such file"
"""What is said of a file that is listed but absent."""

Sample = TypeVar("Sample", np.float32, np.float64)

_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # written by streaming encoders that could not go back


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file's header says, and whether the file is whole."""

    frames: int
    """Samples per channel at the file's own rate."""
    rate_hz: int
    """Sampling rate of the file."""
    channels: int
    """Number of channels."""
    container: str
    """Container as libsndfile names it: WAV, FLAC, OGG, ..."""

    @property
    def native(self) -> bool:
        """Whether the file can be sliced as it stands: 44.1 kHz, mono, and of a type whose seeks are exact.

        Ogg is left out: libsndfile seeks by granule position, which in some files is off by thousands of samples
        from what reading from the start gives.
        """
        return self.rate_hz == RATE_HZ and self.channels == 1 and self.container in {"WAV", "WAVEX", "FLAC"}

    @property
    def frames_44k(self) -> int:
        """Length in whole samples at 44.1 kHz."""
        return int(frames_at_44k(self.frames, self.rate_hz))


def frames_at_44k(frames: Any, rate_hz: Any) -> Any:
    """A length in whole samples at 44.1 kHz, rounded down; of single lengths or of columns."""
    return frames * RATE_HZ // rate_hz


def read_header(path: Path) -> Header:
    """Read a header without decoding the audio.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is empty, truncated, or not audio.
    """
    if not path.is_file():
        raise NotFoundError(NO_SUCH_FILE)
    if path.stat().st_size == 0:
        raise InvalidInputError("the file is empty (0 bytes)")
    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise InvalidInputError(f"not readable as audio ({_reason(error)})") from error
    header = Header(frames=info.frames, rate_hz=info.samplerate, channels=info.channels, container=info.format)
    if header.frames <= 0:
        raise InvalidInputError("the file holds no samples")
    if header.container in {"WAV", "WAVEX"} and _wav_is_cut(path):
        raise InvalidInputError("the file is truncated: its header promises more bytes than there are")
    if header.container == "OGG" and _ogg_is_cut(path):
        raise InvalidInputError("the file is truncated: its last Ogg page does not end the stream")
    return header


def read_frames(path: Path, start: int, stop: int) -> NDArray[np.float64]:
    """Samples [start, stop) of a file whose header is ``native``, as [N] float64.

    Raises:
        InvalidInputError: the file cannot be decoded there, or is shorter.
    """
    try:
        audio, _ = soundfile.read(str(path), start=start, stop=stop, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, ValueError) as error:
        raise InvalidInputError(f"cannot be decoded at samples {start}..{stop} ({_reason(error)})") from error
    if audio.shape[0] != stop - start:
        raise InvalidInputError(f"ends at sample {start + audio.shape[0]}, {stop} needed: the file is truncated")
    return np.ascontiguousarray(audio[:, 0])


def read_whole_44k(path: Path, header: Header) -> NDArray[np.float64]:
    """A whole file, any rate and number of channels, as [N] float64 mono at 44.1 kHz; N is ``header.frames_44k``.

    Raises:
        InvalidInputError, NotFiniteError: as ``read_whole``.
    """
    return read_whole(path, header, RATE_HZ, np.float64)


def read_whole(path: Path, header: Header, rate_hz: int, dtype: type[Sample]) -> NDArray[Sample]:
    """A whole file, any rate and number of channels, as mono samples [N] at another rate.

    Channels are averaged; other rates are converted by soxr ("HQ"). N is the file's length times the ratio of the
    rates, rounded down.

    Args:
        path: the file.
        header: what ``read_header`` says of it.
        rate_hz: the rate wanted.
        dtype: float64, or float32, which is quicker and for files of 16 bits as exact up to the conversion of the rate.

    Raises:
        InvalidInputError: the file cannot be decoded to its end.
        NotFiniteError: it is not at the rate wanted and holds NaN or infinite samples.
    """
    try:
        audio, own_rate_hz = _decoded(path, dtype)
    except soundfile.SoundFileError as error:
        raise InvalidInputError(f"cannot be decoded ({_reason(error)})") from error
    if audio.shape[0] != header.frames:
        raise InvalidInputError(f"ends at sample {audio.shape[0]} of {header.frames}: the file is truncated")
    mono = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1, dtype=dtype)
    return at_rate(mono, own_rate_hz, rate_hz)


def at_rate(mono: NDArray[Sample], own_rate_hz: int, rate_hz: int) -> NDArray[Sample]:
    """Mono samples [N] at another rate, converted by soxr ("HQ"); their number is N times the ratio, rounded down.

    Raises:
        NotFiniteError: the rates differ and there are NaN or infinite samples.
    """
    if own_rate_hz != rate_hz:
        check_finite(mono)  # one NaN would spread over everything that the resampler's filter touches
        wanted = mono.shape[0] * rate_hz // own_rate_hz
        mono = np.asarray(soxr.resample(mono, own_rate_hz, rate_hz, quality="HQ"))
        missing = wanted - mono.shape[0]
        mono = np.pad(mono, (0, missing)) if missing > 0 else mono[:wanted]
    return np.ascontiguousarray(mono)


def _decoded(path: Path, dtype: type[Sample]) -> tuple[NDArray[Sample], int]:
    """All samples [N, channels] and the sampling rate; 16-bit files are scaled here, three times as fast."""
    with soundfile.SoundFile(str(path)) as file:
        if file.subtype != "PCM_16":
            return file.read(dtype=np.dtype(dtype).name, always_2d=True), file.samplerate
        audio = file.read(dtype="int16", always_2d=True).astype(dtype)
        audio *= dtype(2.0**-15)
        return audio, file.samplerate


def check_finite(audio: NDArray[np.floating[Any]]) -> None:
    """Refuse NaN and infinite samples.

    Raises:
        NotFiniteError: says how many there are and where the first one is.
    """
    bad = np.flatnonzero(~np.isfinite(audio))
    if bad.size:
        raise NotFiniteError(f"NaN or infinite samples: {bad.size}, the first at sample {bad[0]} of the part used")


def as_pcm32(audio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Samples as SoX hands them over: 32-bit PCM, truncated towards zero, saturated, as float64 again.

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
    there from rounding the float samples once, so both roundings are made.

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
        pcm: [N] samples; their type says how many bits.
        container: "wav" or "flac" (16 bits only).
    """
    return b"".join(encoded(pcm, container))


def encoded(pcm: NDArray[np.int16] | NDArray[np.int32], container: str) -> tuple[bytes | memoryview, ...]:
    """``encode`` in parts, of which a WAV file's samples are those of ``pcm`` themselves, not a copy."""
    if container == "wav":
        return wav_head(pcm.nbytes, 8 * pcm.itemsize), pcm.astype(pcm.dtype.newbyteorder("<"), copy=False).data.cast(
            "B"
        )
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, RATE_HZ, subtype="PCM_16", format=container.upper())
    return (buffer.getvalue(),)


def wav_head(data_bytes: int, bits: int) -> bytes:
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
        None where the file is of another kind.
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
        with soundfile.SoundFile(str(path)) as file:
            found = (file.samplerate, file.channels, file.subtype)
            pcm = file.read(dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        raise StorageError(f"{path}: cannot be read as audio ({_reason(error)})") from error
    if found != (RATE_HZ, 1, "PCM_16"):
        raise InvalidInputError(
            f"{path}: is {found[0]} Hz, {found[1]} channels, {found[2]}; 44100 Hz mono PCM_16 wanted"
        )
    return np.ascontiguousarray(pcm[:, 0])


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__


def _wav_is_cut(path: Path) -> bool:
    """Whether the data chunk of a RIFF file promises more bytes than the file has.

    libsndfile takes such a file as shorter without a word.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return False
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                return length not in _UNKNOWN_LENGTHS and file.tell() + length > size
            file.seek(length + (length & 1), io.SEEK_CUR)
    return False


def _ogg_is_cut(path: Path) -> bool:
    """Whether the last page of an Ogg file lacks the end-of-stream flag (RFC 3533, section 6) or is itself cut."""
    tail = min(path.stat().st_size, 131_072)  # two of the largest pages
    with path.open("rb") as file:
        file.seek(-tail, io.SEEK_END)
        data = file.read()
    page = data.rfind(b"OggS")
    if page < 0 or len(data) < page + 27:
        return True
    segments = data[page + 26]
    table = data[page + 27 : page + 27 + segments]
    return not data[page + 5] & 4 or len(data) < page + 27 + segments + sum(table)
