"""MPEG audio streams (MP3): the number of frames, and the length tag in the first one.

libsndfile never reads past the length that it takes from the stream's tag (Xing or Info) or, without one, estimates
from the first frames; with a variable bit rate the estimate is off by several times. A stream whose tag is missing or
too low is therefore given a tag that is high enough, and is read until the decoder ends.

Source: ISO/IEC 11172-3, 2.4.2.3 (frame header); the Xing tag as LAME's ``VbrTag.c`` writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bgknown.audio.pieces import Bytes

_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version
_KBITS_1 = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBITS_2 = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SEARCHED_BYTES = 1 << 16  # before the first frame
_SPARE_FRAMES = 16
_DECODER_DELAY = 529


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A frame's header."""

    kind: tuple[int, int, int]
    """Version, layer and rate, which are the same in all frames of a stream."""
    size: int
    """Bytes of the frame."""
    mono: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An MPEG audio stream within a file."""

    start: int
    """Position of its first frame with audio."""
    stop: int
    """End of the bytes to read."""
    head: bytes
    """The header of its first frame."""
    frames: int
    """Frames, without the one that holds the tag."""
    tagged: int
    """Number of frames according to the tag; 0 without such a tag."""

    @property
    def exact(self) -> bool:
        """Whether the tag is reliable: it counts all frames (some encoders count the tag's frame too)."""
        return self.tagged >= self.frames > 0


def find_stream(data: bytes, start: int, stop: int) -> Stream | None:
    """The stream in bytes [start, stop) of a file, or None if none begins there."""
    start = skip_id3(data, start, stop)
    for place in range(start, min(start + _SEARCHED_BYTES, stop - 4)):
        first = _read_frame(data, place)
        if first is None:
            continue
        following = _read_frame(data, place + first.size)
        if following is not None and following.kind == first.kind:
            break
    else:
        return None
    tagged, has_tag = _read_tag(data, place, first)
    audio = place + first.size if has_tag else place
    count = _count_frames(data, audio, stop, first.kind)
    return Stream(start=audio, stop=stop, head=bytes(data[place : place + 4]), frames=count, tagged=tagged)


def make_lead_in(stream: Stream) -> tuple[bytes, int]:
    """Bytes to put before a stream so that all of it is decoded, and the number of samples they add.

    First a frame with a tag that counts a few frames more than there are. With a tag, the decoder leaves out the
    first 529 samples, which are its own delay and which it gives without one; so a frame of silence comes next, of
    which they are taken. Layers 1 and 2 have no such tag, and get nothing.
    """
    version, layer = stream.head[1] >> 3 & 3, 4 - (stream.head[1] >> 1 & 3)
    if layer != 3:
        return b"", 0
    head = bytes([0xFF, stream.head[1] | 1, 0x90 | stream.head[2] & 0x0C, stream.head[3]])
    frame = _read_frame(head, 0)
    if frame is None:
        return b"", 0
    tag = struct.pack(">4sII", b"Info", 1, stream.frames + _SPARE_FRAMES)
    first = (head + bytes(_count_side_bytes(version, frame.mono)) + tag).ljust(frame.size, b"\0")
    return first + head.ljust(frame.size, b"\0"), (1152 if version == 3 else 576) - _DECODER_DELAY


def skip_id3(data: Bytes, start: int, stop: int) -> int:
    """Position of the first byte after ID3v2 tags."""
    while stop - start >= 10 and data[start : start + 3] == b"ID3":
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if data[start + 5 : start + 6][0] & 0x10 else 0)
    return min(start, stop)


def _read_frame(data: bytes, place: int) -> _Frame | None:
    head = data[place : place + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits in {0, 15} or rate == 3:
        return None
    rate_hz = _RATES_HZ[version][rate]
    bits = 1000 * (_KBITS_1 if version == 3 else _KBITS_2)[layer][kbits - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        size = 4 * (12 * bits // rate_hz + padding)
    else:
        size = (72 if layer == 3 and version != 3 else 144) * bits // rate_hz + padding
    return _Frame(kind=(version, layer, rate), size=size, mono=head[3] >> 6 == 3)


def _count_side_bytes(version: int, mono: bool) -> int:
    """Length of the side information of layer 3, after which the tag begins."""
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _read_tag(data: bytes, place: int, first: _Frame) -> tuple[int, bool]:
    """Number of frames that the tag counts (0 if it does not), and whether the frame holds a tag."""
    begin = place + 4 + _count_side_bytes(first.kind[0], first.mono)
    tag = data[begin : begin + 12]
    if first.kind[1] != 3 or tag[:4] not in {b"Xing", b"Info"} or len(tag) < 12:
        return 0, False
    flags, count = struct.unpack(">II", tag[4:])
    return (count if flags & 1 else 0), True


def _count_frames(data: bytes, place: int, stop: int, kind: tuple[int, int, int]) -> int:
    """Whole frames of a stream; other bytes in between are skipped."""
    count = 0
    while place < stop - 4:
        frame = _read_frame(data, place)
        if frame is None or frame.kind != kind:
            place = data.find(b"\xff", place + 1)
            if place < 0:
                break
            continue
        place += frame.size
        count += place <= stop
    return count
