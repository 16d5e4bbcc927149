"""Retrieval without training: the audio of the query alone, and with the mean differences of its changes added.

Queries and gallery are different kinds of embedding, so each side is centred by its own mean over the training pairs;
cosine similarity otherwise sees mostly the offset between the two means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 4096
"""Pairs whose differences are held at a time."""


def fit_differences(
    first: NDArray[np.float32], second: NDArray[np.float32], rows: NDArray[np.int64], changes: Sequence[tuple[str, ...]]
) -> tuple[list[str], NDArray[np.float32]]:
    """The vector that each change adds to an embedding, by least squares over training pairs.

    If every pair has one change, this is the mean of y_s2 - y_s1 over the pairs of each change. The difference of a
    pair with several changes is the sum of theirs. If the pairs do not separate the changes, the smallest solution is
    taken.

    Args:
        first, second: [m, D] y_s1 and y_s2; may be maps of files.
        rows: [n] the training pairs among them.
        changes: [n] the codes of each training pair's changes.

    Returns:
        the codes, sorted, and [codes, D].
    """
    codes = sorted({code for found in changes for code in found})
    place = {code: column for column, code in enumerate(codes)}
    has_code = np.zeros((len(changes), len(codes)))
    for row, found in enumerate(changes):
        has_code[row, [place[code] for code in found]] = 1.0
    # by the normal equations, so that no copy of all differences is needed; there are a few dozen codes
    sums = np.zeros((len(codes), first.shape[1]))
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        sums += has_code[start : start + BLOCK_ROWS].T @ (second[block] - first[block]).astype(np.float64)
    return codes, (np.linalg.pinv(has_code.T @ has_code, hermitian=True) @ sums).astype(np.float32)


def apply_changes(
    audio: NDArray[np.float32],
    changes: Sequence[tuple[str, ...]],
    codes: Sequence[str],
    differences: NDArray[np.float32],
) -> NDArray[np.float32]:
    """y_s1 plus the vectors of its changes; a change that no training pair has adds nothing.

    Args:
        audio: [n, D] y_s1.
        changes: [n] codes of each pair's changes.
        codes, differences: the results of ``fit_differences``.
    """
    place = {code: row for row, code in enumerate(codes)}
    moved = audio.copy()
    for row, found in enumerate(changes):
        for code in found:
            if code in place:
                moved[row] += differences[place[code]]
    return moved


def average_rows(rows: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """[D] the mean of some rows, a block at a time."""
    total = np.zeros(rows.shape[1])
    for start in range(0, len(chosen), BLOCK_ROWS):
        total += rows[chosen[start : start + BLOCK_ROWS]].sum(axis=0, dtype=np.float64)
    return (total / len(chosen)).astype(np.float32)


def average_changes(
    changes: Sequence[tuple[str, ...]], codes: Sequence[str], differences: NDArray[np.float32]
) -> NDArray[np.float32]:
    """[D] what ``apply_changes`` adds to some pairs on average."""
    place = {code: row for row, code in enumerate(codes)}
    counts = np.zeros(len(codes))
    for found in changes:
        for code in found:
            counts[place[code]] += 1
    return (counts @ differences / len(changes)).astype(np.float32)
