"""Random generators that depend on (seed, name of the item) alone.

The same item gets the same draw whatever the order, the number of workers or the machine; nothing here touches a
global generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def derive_key(seed: int, *names: str) -> int:
    """A 64-bit key for (seed, names), the same on every machine.

    Args:
        seed: any integer.
        names: what the key is for, from the general to the particular; ("a", "b") and ("ab",) differ.
    """
    digest = hashlib.blake2b("\x1f".join([str(int(seed)), *names]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def make_generator(seed: int, *names: str) -> np.random.Generator:
    """A separate PCG64 generator for (seed, names)."""
    return np.random.Generator(np.random.PCG64(derive_key(seed, *names)))


def draw_ranks(seed: int, purpose: str, names: Sequence[str]) -> NDArray[np.uint64]:
    """One key per name; sorting by it is a shuffle in which the relative order of any two names is fixed.

    Adding or removing a name does not change the order of the others.
    """
    return np.array([derive_key(seed, purpose, name) for name in names], dtype=np.uint64)


def score_pairs(item_key: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Uniform 64-bit scores of one item against many, from their keys (rendezvous hashing, vectorised).

    Args:
        item_key: the key of the item that chooses.
        keys: [K] keys of the items to choose from.

    Returns:
        [K] scores; the item's order of preference is ascending. The mixing is the finaliser of SplitMix64
        (Steele, Lea and Flood 2014), which is a bijection, so different keys never tie.
    """
    mixed = keys ^ np.uint64(item_key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
