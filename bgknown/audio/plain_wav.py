"""The headers of plain WAV files, read at a tenth of the cost, for corpora of hundreds of thousands of files.

Only a file about which nothing can be in doubt is read here: PCM of 16, 24 or 32 bits, whose chunks add up to the
length of the file, to the byte. Any other file is left to libsndfile and the checks around it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096
_FORM = struct.Struct("<HHIIHH")
_PASSED_OVER = {b"LIST", b"fmt "}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainWav:
    """What the header of a plain WAV file says."""

    frames: int
    """Samples per channel, at least 1."""
    rate_hz: int
    """Sampling rate."""
    channels: int
    """Number of channels."""
    bits: int
    """Bits of a sample: 16, 24 or 32."""
    start: int
    """Position of the first byte of the samples."""


def read_plain_wav(path: Path) -> PlainWav | None:
    """The header of a plain WAV file; None for any other file, also for one that is missing or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            head, size = os.read(descriptor, HEAD_BYTES), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # ValueError: a path with a null character
        return None
    return parse_plain_wav(head, size)


def parse_plain_wav(head: bytes, size: int) -> PlainWav | None:
    """``read_plain_wav`` for the first bytes of a file.

    Args:
        head: the first bytes, at least the header.
        size: bytes of the whole file.
    """
    if head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or int.from_bytes(head[4:8], "little") + 8 != size:
        return None
    place, form = 12, b""
    while place + 8 <= len(head):
        name, length = head[place : place + 4], int.from_bytes(head[place + 4 : place + 8], "little")
        place += 8
        if name == b"data":
            return _check_form(form, place, length) if place + length + (length & 1) == size else None
        if name not in _PASSED_OVER or (name == b"fmt " and (form or length != _FORM.size)):
            return None
        form = form or head[place : place + _FORM.size]
        place += length + (length & 1)
    return None


def _check_form(form: bytes, start: int, length: int) -> PlainWav | None:
    codec, channels, rate_hz, per_second, per_frame, bits = _FORM.unpack(form)
    plain = codec == 1 and bits in {16, 24, 32} and 1 <= channels <= 8 and 1_000 <= rate_hz <= 768_000
    fits = per_frame == channels * bits // 8 and per_second == rate_hz * per_frame
    if not (plain and fits) or length == 0 or length % per_frame or length >= 1 << 31:
        return None
    return PlainWav(frames=length // per_frame, rate_hz=rate_hz, channels=channels, bits=bits, start=start)
