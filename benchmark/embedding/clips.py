"""Clips of audio as encoders take them: decoded, mono, at the encoder's rate, of the task's length."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

from bgknown.audio.amplitude import Amplitude, measure_amplitude
from bgknown.audio.decoding import explain_file_faults
from bgknown.audio.files import NO_SUCH_FILE, RATE_HZ, check_finite, read_file, read_header, resample
from bgknown.audio.plain_samples import decode_plain_wav
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.files import FileState, hash_bytes, hash_file, read_state
from bgknown.jobs.parallel import in_threads

if TYPE_CHECKING:
    from bgknown.soundscape import Soundscape

log = logging.getLogger(__name__)

SMALL_BYTES = 1 << 26
"""Files up to this size are read whole to be hashed, and plain WAV is decoded from that; larger ones in pieces."""
RESAMPLER = f"soxr {soxr.__version__} HQ"
"""What converts sampling rates; a part of the embeddings' key in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What a soundscape without an audio file is rendered from."""

    source: Path
    """The source tree that its JAMS names."""
    fingerprint: str
    """Fingerprint of that tree; the same tree in another place gives the same audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One piece of audio to embed."""

    path: Path
    """The file; for a rendered clip its JAMS."""
    duration_s: float | None = None
    """Cut or zero-padded to this length; None for the file's own length."""
    place: float = 0.0
    """Where a longer file is cut, 0 <= place < 1 of all possible places: 0 for its start."""
    sha256: str = ""
    """The SHA-256 that the file must have, where it is known."""
    rendering: Rendering | None = None
    """What it is rendered from, where there is no audio file."""

    @property
    def crop(self) -> str:
        """Length, place and rendering as text: what an embedding depends on besides the file."""
        length = "whole" if self.duration_s is None else f"{self.duration_s!r}s"
        place = f" at {self.place!r}" if self.place else ""
        return length + place + (f" of {self.rendering.fingerprint[:16]}" if self.rendering is not None else "")


class BrokenClipError(InvalidInputError):
    """Clips that cannot be used."""

    def __init__(self, message: str, *, problems: Mapping[Path, str]) -> None:
        super().__init__(message)
        self.problems = problems
        """The files, and what is wrong with each."""


def read_file_states(clips: list[Clip]) -> list[FileState]:
    """The state of every clip's file.

    Raises:
        NotFoundError: files are missing; says how many and names the first.
    """
    states = in_threads(_state, clips, title="files", unit="file")
    missing = [clip for clip, state in zip(clips, states, strict=True) if state is None]
    if missing:
        more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
        raise NotFoundError(f"{missing[0].path}: {NO_SUCH_FILE}{more}")
    return [state for state in states if state is not None]


def _state(clip: Clip) -> FileState | None:
    try:
        return read_state(clip.path)
    except OSError:
        return None


def count_samples(clip: Clip, rate_hz: int) -> int:
    """Samples of a clip at a rate; decoded only if the header does not tell (see ``read_header``).

    Raises:
        InvalidInputError, NotFoundError: the file is missing, broken or not audio; names it.
    """
    if clip.duration_s is not None:
        return round(clip.duration_s * rate_hz)
    try:
        if clip.rendering is not None:
            return max(int(_soundscape(clip).duration_s * RATE_HZ) * rate_hz // RATE_HZ, 1)
        with explain_file_faults("cannot be read"):
            header = read_header(clip.path)
    except BgknownError as error:
        raise _name_clip(clip, error) from error
    return max(header.frames * rate_hz // header.rate_hz, 1)


def read_clip(clip: Clip, rate_hz: int) -> tuple[NDArray[np.float32], str]:
    """Decode a clip.

    Args:
        clip: what to read.
        rate_hz: the rate to return; other rates are converted by soxr ("HQ") before the clip is cut.

    Returns:
        [N] float32 mono, full scale -1..1, and the SHA-256 of the file.

    Raises:
        InvalidInputError, NotFoundError: the file is missing, broken, not audio, not finite, or not the one that
            its dataset lists; names it.
    """
    try:
        with explain_file_faults("cannot be read"):
            data = _read_small(clip.path)
            digest = hash_file(clip.path) if data is None else hash_bytes(data)
            if clip.sha256 and digest != clip.sha256:
                raise InvalidInputError(
                    f"sha256 is {digest[:12]}..., the dataset's manifest says {clip.sha256[:12]}...: the file was "
                    f"changed (`bgknown verify` lists all such)"
                )
            plain = None if data is None else decode_plain_wav(data, rate_hz, np.float32)
            audio = _decode(clip, rate_hz) if plain is None else plain
    except BgknownError as error:
        raise _name_clip(clip, error) from error
    length = count_samples(clip, rate_hz) if clip.duration_s is not None else max(audio.size, 1)
    if audio.size == length:
        return audio, digest
    start = int(clip.place * (max(audio.size - length, 0) + 1))
    out = np.zeros(length, dtype=np.float32)
    part = audio[start : start + length]
    out[: part.size] = part
    return out, digest


def examine_file(path: Path) -> tuple[str, Amplitude]:
    """Decode a file to its end: what is wrong with it (empty for nothing), and whether it is silent or clipped."""
    try:
        audio, _ = read_clip(Clip(path=path), 16_000)
    except BgknownError as error:
        return str(error).removeprefix(f"{path}: "), Amplitude()
    return "", measure_amplitude(audio)


def _soundscape(clip: Clip) -> Soundscape:
    from bgknown.jams.reading import parse_jams  # noqa: PLC0415  (only APwD needs it)

    try:
        return parse_jams(clip.path.read_bytes(), clip.path.stem)
    except FileNotFoundError as error:
        raise NotFoundError(NO_SUCH_FILE) from error


def _read_small(path: Path) -> bytes | None:
    """A file's content; None for a file that is too large to be held in memory at once."""
    with path.open("rb", buffering=0) as file:
        return file.readall() if os.fstat(file.fileno()).st_size <= SMALL_BYTES else None


def _decode(clip: Clip, rate_hz: int) -> NDArray[np.float32]:
    audio = read_file(clip.path, rate_hz, np.float32)[1] if clip.rendering is None else _render(clip, rate_hz)
    check_finite(audio)
    return audio


def _render(clip: Clip, rate_hz: int) -> NDArray[np.float32]:
    """The samples that a 16-bit file of the soundscape would hold, at another rate."""
    from bgknown.apwd.rendering import render_pcm16  # noqa: PLC0415  (compiles the direct renderer)

    if clip.rendering is None:
        raise InvalidInputError("its source tree is unknown")
    pcm = render_pcm16(_soundscape(clip), clip.rendering.source, clip.path.stem)
    return resample(pcm.astype(np.float32) * np.float32(2.0**-15), RATE_HZ, rate_hz)


def _name_clip(clip: Clip, error: BgknownError) -> BgknownError:
    if isinstance(error, NotFoundError):
        return NotFoundError(f"{clip.path}: {error}")
    return BrokenClipError(f"{clip.path}: {error}", problems={clip.path: str(error)})
