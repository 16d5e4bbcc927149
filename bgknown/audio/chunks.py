"""Where the samples of WAV, RF64, W64, AIFF, CAF and AU files are, and whether the file holds all of them.

A writer that could not go back to fill in the length leaves a placeholder: 0, -1, or a value just below 2^31 or 2^32.
Such a file is read to its end. A length that is none of these and goes beyond the end of the file means that the file
was cut.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from bgknown.audio.pieces import Bytes, Piece

_MOST_CHUNKS = 10_000
_MARGIN = 0x10000  # writers leave 2^31 or 2^32 less the length of a header, or rounded down to a block
_W64_HEAD = 24
_KINDS = {b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"caff", b".snd", b"dns."}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChunk:
    """The chunk of a file that holds its samples."""

    start: int
    """Position of its first byte."""
    declared: int
    """Its length in bytes as declared."""
    field: int
    """Position of that length."""
    form: str
    """Its format for ``struct``: ``<I``, ``>I``, ``<Q`` or ``>q``."""
    head: int = 0
    """Bytes before ``start`` that the declared length counts too."""
    codec: int = 0
    """Format tag of a WAV file: 1 for PCM, 0x50 and 0x55 for MPEG audio."""

    @property
    def unknown(self) -> bool:
        """Whether the declared length is a placeholder."""
        if self.form in {"<Q", ">q"}:
            return self.declared <= self.head or self.declared >= 1 << 62
        near_31_bits = 0x80000000 - _MARGIN <= self.declared <= 0x80000000 + _MARGIN
        return self.declared == 0 or near_31_bits or self.declared >= 0x100000000 - _MARGIN

    def stop(self, size: int) -> int:
        """Where the samples end, in a file of ``size`` bytes; beyond it if the file was cut."""
        stop = self.start + self.declared - self.head
        return size if self.unknown and not (self.declared > self.head and stop <= size) else stop

    def repair(self, size: int) -> list[Piece]:
        """A file of ``size`` bytes with the actual length of its samples."""
        length = size - self.start + self.head
        length = min(length, 0xFFFFFFFF) if self.form in {"<I", ">I"} else length
        value = struct.pack(self.form, length)
        return [(0, self.field), value, (self.field + len(value), size)]


def has_chunks(data: Bytes) -> bool:
    """Whether a file begins like one of these containers."""
    return data[:4] in _KINDS


def find_samples(data: Bytes, size: int) -> DataChunk | None:
    """The samples of a file of ``size`` bytes, or None if the file is of another kind or has no such chunk."""
    kind = data[:4]
    if kind in {b"RIFF", b"RIFX", b"RF64", b"FORM"}:
        return _find_in_riff(data, size, kind)
    if data[:16] == b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000"):
        return _find_in_w64(data, size)
    if kind == b"caff":
        return _find_in_caf(data, size)
    if kind in {b".snd", b"dns."} and size >= 12:
        form: Literal[">I", "<I"] = ">I" if kind == b".snd" else "<I"
        start, declared = (struct.unpack(form, data[place : place + 4])[0] for place in (4, 8))
        return DataChunk(start=min(start, size), declared=declared, field=8, form=form)
    return None


def _find_in_riff(data: Bytes, size: int, kind: bytes) -> DataChunk | None:
    order = ">" if kind in {b"RIFX", b"FORM"} else "<"
    place, codec, long_field = 12, 0, 0
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            break
        name, length = struct.unpack(f"{order}4sI", data[place : place + 8])
        if name == b"fmt " and place + 10 <= size:
            codec = _read_codec(data[place + 8 : place + 48], order)
        if name == b"ds64" and kind == b"RF64" and place + 24 <= size:
            long_field = place + 16
        if name == (b"SSND" if kind == b"FORM" else b"data"):
            if long_field:
                declared = struct.unpack("<Q", data[long_field : long_field + 8])[0]
                return DataChunk(start=place + 8, declared=declared, field=long_field, form="<Q", codec=codec)
            samples = DataChunk(start=place + 8, declared=length, field=place + 4, form=f"{order}I", codec=codec)
            # an empty recording may be followed by other chunks
            return None if length == 0 and _are_chunks(data, place + 8, size, order) else samples
        place += 8 + length + (length & 1)
    return None


def _read_codec(form: bytes, order: str) -> int:
    """The format tag; for the extensible kind, the one at the start of its sub-format."""
    tag = int(struct.unpack_from(f"{order}H", form)[0])
    return int(struct.unpack_from(f"{order}H", form, 24)[0]) if tag == 0xFFFE and len(form) >= 26 else tag


def _are_chunks(data: Bytes, place: int, size: int, order: str) -> bool:
    """Whether whole chunks with printable names fill the rest of the file."""
    for _ in range(_MOST_CHUNKS):
        if place >= size:
            return place in {size, size + 1}
        if place + 8 > size:
            return False
        name, length = struct.unpack(f"{order}4sI", data[place : place + 8])
        if not all(32 <= letter < 127 for letter in name):
            return False
        place += 8 + length + (length & 1)
    return False


def _find_in_w64(data: Bytes, size: int) -> DataChunk | None:
    place = 40
    for _ in range(_MOST_CHUNKS):
        if place + _W64_HEAD > size:
            break
        name, length = data[place : place + 4], struct.unpack("<Q", data[place + 16 : place + 24])[0]
        if name == b"data":
            return DataChunk(start=place + 24, declared=length, field=place + 16, form="<Q", head=_W64_HEAD)
        if length < _W64_HEAD:
            break
        place += length + -length % 8
    return None


def _find_in_caf(data: Bytes, size: int) -> DataChunk | None:
    place = 8
    for _ in range(_MOST_CHUNKS):
        if place + 12 > size:
            break
        name, length = struct.unpack(">4sq", data[place : place + 12])
        if name == b"data":
            return DataChunk(start=place + 12, declared=length, field=place + 4, form=">q")
        if length < 0:
            break
        place += 12 + length
    return None
