"""Columns of numbers as short texts: what 100,000 predictions need to stay small and quick to open in a page.

A column of N whole numbers is base64 of N numbers of 1, 8, 16 or 32 bits, little-endian; ``unpack`` in
``assets/packed.js`` reads it. Names are numbers of a table of names.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PAGE_DECIMALS = 4
"""Decimals of numbers that bars and sorting use; texts of figures have fewer."""

Packed = tuple[int, int, str]
"""Bits of each number, the number of numbers, and base64 of them."""


def pack_numbers(values: NDArray[np.int64] | Sequence[int], *, largest: int) -> Packed:
    """Pack whole numbers from 0 to ``largest``."""
    numbers = np.asarray(values, dtype=np.int64)
    bits = next(bits for bits in (8, 16, 32) if largest < 2**bits)
    return bits, len(numbers), _encode(numbers.astype(f"<u{bits // 8}").tobytes())


def pack_flags(values: NDArray[np.bool_]) -> Packed:
    """Pack booleans into single bits, the first into the lowest bit of the first byte."""
    return 1, len(values), _encode(np.packbits(values, bitorder="little").tobytes())


def pack_places(values: NDArray[np.float64]) -> tuple[Packed, float, float]:
    """Pack coordinates into 16 bits; also gives the smallest value, and the step between two numbers."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    step = (high - low) / 65_535 or 1.0
    return pack_numbers(np.rint((values - low) / step).astype(np.int64), largest=65_535), low, step


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Names:
    """A table of names that grows: each name gets a number."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for name in names:
            self.number(name)

    def number(self, name: str) -> int:
        """The number of a name, from 0 in the order in which names came."""
        return self._numbers.setdefault(name, len(self._numbers))

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The numbers of names that are in the table, -1 for others."""
        return np.array([self._numbers.get(name, -1) for name in names], dtype=np.int64)

    def list(self) -> list[str]:
        """The names in the order of their numbers."""
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
