"""A file assembled from parts of another one and from bytes, without copying."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

_HEAD_BYTES = 1 << 12


class View:
    """The bytes of a file by their positions, read on demand.

    Args:
        file: the file; it is not closed.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._head = file.read(_HEAD_BYTES)

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        if stop <= len(self._head):
            return self._head[start:stop]
        self._file.seek(start)
        return self._file.read(max(stop - start, 0))

    def whole(self) -> bytes:
        """All bytes."""
        return self[:]


Bytes = bytes | View
"""Bytes that can be sliced."""

Piece = bytes | tuple[int, int]
"""Bytes, or the part [start, stop) of the file."""


class Pieces:
    """A readable file made of consecutive pieces, with the methods that libsndfile needs.

    Args:
        data: the file that the parts are from.
        pieces: the pieces.
    """

    def __init__(self, data: Bytes, pieces: Sequence[Piece]) -> None:
        self._data = data
        self._pieces = [piece for piece in pieces if _size(piece)]
        self._starts = [0, *accumulate(map(_size, self._pieces))]
        self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, clipped to the start and the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        self._place = min(max(base + offset, 0), self._starts[-1])
        return self._place

    def tell(self) -> int:
        """The position."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer than ``size`` at the end only."""
        left = self._starts[-1] - self._place
        left = left if size < 0 else min(size, left)
        parts = []
        while left > 0:
            number = bisect_right(self._starts, self._place) - 1
            piece, start = self._pieces[number], self._place - self._starts[number]
            count = min(left, _size(piece) - start)
            if isinstance(piece, bytes):
                parts.append(piece[start : start + count])
            else:
                parts.append(self._data[piece[0] + start : piece[0] + start + count])
            self._place += count
            left -= count
        return b"".join(parts)


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
