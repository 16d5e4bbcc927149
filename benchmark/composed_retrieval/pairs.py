"""Embedded pairs, and what is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgknown.errors import InvalidInputError

KINDS = {"audio+text": (1.0, 1.0), "audio": (1.0, 0.0), "text": (0.0, 1.0)}
"""Kinds of query: what the latents of audio and of text count. The last two are controls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system to be trained."""

    kind: str
    """One of ``KINDS``."""
    seed: int
    """Seed of weights, batches, dropout, and of which pairs are held out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Embedded pairs."""

    audio: Tensor
    """[M, D] embeddings of soundscapes, on the CPU; may be a map of a file."""
    text: Tensor
    """[m, D'] embeddings of the different texts, on the CPU."""
    s1: NDArray[np.int64]
    """[n] rows of ``audio``: the first soundscapes."""
    s2: NDArray[np.int64]
    """[n] the second ones."""
    texts: NDArray[np.int64]
    """[n] rows of ``text``."""
    classes_s1: Tensor
    """[n, C] float32, 1 for the events that sound."""
    classes_s2: Tensor
    """[n, C]"""
    names: Sequence[str]
    """[n] names of the pairs, by which they are drawn."""

    def __len__(self) -> int:
        return len(self.names)

    def check(self) -> None:
        """Refuse pairs that do not fit together.

        Raises:
            InvalidInputError: says which part has which shape.
        """
        n = len(self)
        if n == 0:
            raise InvalidInputError("retrieval: there are no pairs")
        for name in ("s1", "s2", "texts", "classes_s1", "classes_s2"):
            if len(getattr(self, name)) != n:
                raise InvalidInputError(f"retrieval: {name} has {len(getattr(self, name))} rows for {n} pairs")
        for name, rows in (("audio", np.concatenate([self.s1, self.s2])), ("text", self.texts)):
            matrix = getattr(self, name)
            if matrix.ndim != 2 or rows.min() < 0 or rows.max() >= len(matrix):
                raise InvalidInputError(
                    f"retrieval: {name} has shape {list(matrix.shape)}, and rows {rows.min()}..{rows.max()} are wanted"
                )


def hold_out_pairs(keys: NDArray[np.uint64], share: float) -> tuple[Tensor, Tensor]:
    """Pairs to train on, and pairs that decide which epoch is tested.

    Args:
        keys: [n] a draw for each pair.
        share: of the latter, at least one and not all.

    Raises:
        InvalidInputError: there are fewer than two pairs.
    """
    if len(keys) < 2:
        raise InvalidInputError(f"retrieval: {len(keys)} training pairs; at least two are needed, one to hold out")
    order = np.argsort(keys, kind="stable")
    count = min(max(round(share * len(keys)), 1), len(keys) - 1)
    return torch.from_numpy(np.sort(order[count:])), torch.from_numpy(np.sort(order[:count]))
