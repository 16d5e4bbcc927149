"""FLAC and Ogg streams: declared lengths, actual ends, and how many follow one another in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from bgknown.audio.pieces import Bytes, Piece

_TAIL_BYTES = 1 << 18
"""Bytes at the end of a FLAC file that are searched for its last frame."""
_ATTEMPTS = 4
_SHORTEST_FRAME = 10
"""Bytes of a frame of silence: a header of 6, a constant of 1 + 1, and a checksum of 2."""
_BLOCKS = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One of the Ogg streams that follow one another in a file."""

    start: int
    stop: int
    whole: bool
    """Whether its last page exists and is marked as the last (RFC 3533, section 6)."""


def find_links(data: bytes, size: int) -> list[Link]:
    """The streams of an Ogg file; parallel streams (sound and pictures) count as one."""
    starts, wholes, in_head, place = list[int](), list[bool](), False, 0
    serials, sound = set[bytes](), True
    while (place := data.find(b"OggS", place)) >= 0:
        if place + 27 > size:
            wholes[-1:] = [False]
            break
        flags, segments = data[place + 5], data[place + 26]
        stop = place + 27 + segments + sum(data[place + 27 : place + 27 + segments])
        begins = bool(flags & 2)
        if not starts or (begins and not in_head):
            starts.append(place)
            wholes.append(False)
            serials, sound = set(), True
        in_head, serial = begins, data[place + 14 : place + 18]
        serials |= {serial} if begins else set()
        sound = sound and serial in serials  # a cut page hides the start of the next stream
        wholes[-1] = sound and bool(flags & 4) and stop <= size
        place = stop
    return [
        Link(start=start, stop=stop, whole=whole)
        for (start, stop), whole in zip(pairwise([*starts, size]), wholes, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flac:
    """The length of a FLAC file by its header and by its last frame."""

    total: int
    """Samples according to the header; 0 for unknown."""
    end: int | None
    """Samples up to the end of the last frame, if that frame was found."""
    field: int
    """Position of the total in the header: the lower half of this byte, and the four that follow."""

    def without_total(self, data: Bytes, size: int) -> list[Piece]:
        """The file with an unknown total, so that libsndfile reads to its end."""
        return [
            (0, self.field),
            bytes([data[self.field : self.field + 1][0] & 0xF0, 0, 0, 0, 0]),
            (self.field + 5, size),
        ]


def read_flac(data: Bytes, start: int, size: int) -> Flac | None:
    """The length of a FLAC file whose mark ``fLaC`` is at ``start``; None if the header is cut or missing.

    Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
    """
    info = data[start + 8 : start + 42]
    if len(info) < 34 or (data[start + 4 : start + 5] != b"\0" and data[start + 4 : start + 5] != b"\x80"):
        return None
    block = int.from_bytes(info[2:4], "big")
    total = int.from_bytes(info[13:18], "big") & 0xF_FFFF_FFFF
    end = None
    largest = int.from_bytes(info[7:10], "big")
    first = max(size - (min(largest + 16, _TAIL_BYTES) if largest else _TAIL_BYTES), start + 42)
    tail = data[first:size]
    attempts = 0
    for place in _find_places(tail) if total else ():
        found = _find_frame_end(tail[place : place + 16], block)
        if found is None:
            continue
        attempts += 1
        if found == total or _compute_crc(tail[place:], 0x8005, 16) == 0:
            end = found
            break
        if attempts == _ATTEMPTS:
            break
    return Flac(total=total, end=end, field=start + 8 + 13)


def _find_places(tail: bytes) -> Iterator[int]:
    """Where frames may begin, the last first."""
    place = len(tail)
    while (place := max(tail.rfind(mark, 0, place) for mark in (b"\xff\xf8", b"\xff\xf9"))) >= 0:
        yield place
        place += 1  # the next mark may end where this one begins


def _find_frame_end(head: bytes, block: int) -> int | None:
    """Samples up to the end of a frame, from its header; None if it is not a header."""
    if len(head) < _SHORTEST_FRAME or head[3] & 1 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] >> 4 > 10:
        return None
    head = head.ljust(16, b"\0")  # the frame may be shorter than the longest header
    more = next((place for place in range(8) if not head[4] << place & 0x80), 8)
    if more in {1, 8}:
        return None
    number, place = head[4] & (0x7F >> more), 5
    for byte in head[5 : 4 + max(more, 1)]:
        number, place = number << 6 | byte & 0x3F, place + 1
    code = head[2] >> 4
    if code in {6, 7}:
        samples = int.from_bytes(head[place : place + code - 5], "big") + 1
        place += code - 5
    else:
        samples = _BLOCKS[code]
    place += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if _compute_crc(head[:place], 0x07, 8) != head[place]:
        return None
    return (number if head[1] & 1 else number * block) + samples


def _compute_crc(data: bytes, polynomial: int, bits: int) -> int:
    """FLAC's checksum; it is 0 for a frame that includes its checksum."""
    top, mask, value = 1 << (bits - 1), (1 << bits) - 1, 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
