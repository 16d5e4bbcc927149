"""Regression of fewer rows than features, in the space that the rows span.

With the rows' span as the columns of an orthonormal B [P, k], every row is x = B z, z = B^T x. Maps W and priors W0
predict the same from z as B^T W and B^T W0, and whatever ridge regression adds to its prior lies in the span, so that
normal equations of z [k, k] find the same map as those of x [P, P] do: exactly, with less memory and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.moments import FeatureBlock
from benchmark.heads.ridge import LinearMap

ReadBlocks = Callable[[], Iterator[FeatureBlock]]
"""Reads the blocks of a set of rows: features [m, P] and targets [m, D]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSpace:
    """The span of the rows of some sets."""

    basis: NDArray[np.float64] | None
    """[P, k] orthonormal columns; None for the space of all features, which needs no change of coordinates."""
    sets: Sequence[ReadBlocks]
    """Each set of rows in the space's coordinates: [m, k] features, [m, D] targets."""

    def project_weight(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a map [P, D] is in the space's coordinates, [k, D]."""
        return weight if self.basis is None else self.basis.T @ weight

    def expand(self, found: LinearMap, prior: NDArray[np.float64] | None) -> LinearMap:
        """A map of the space's coordinates as one of all features.

        Args:
            found: [k, D], shrunk to the prior in these coordinates.
            prior: that prior [P, D]; None for zero.
        """
        if self.basis is None:
            return found
        if prior is None:
            return LinearMap(weight=self.basis @ found.weight, bias=found.bias)
        left = found.weight - self.basis.T @ prior
        return LinearMap(weight=prior + self.basis @ left if left.any() else prior, bias=found.bias)


def find_row_space(sets: Sequence[ReadBlocks], rows: int, width: int) -> RowSpace:
    """The space that the rows of all sets span.

    The QR decomposition of the rows X [n, P], X^T = B R, also has their coordinates: X B = R^T.

    Args:
        sets: the sets of rows; each is read once here, or later where all features are kept.
        rows: n, the number of their rows.
        width: P; with as many rows or more, all features are kept.
    """
    if rows >= width:
        return RowSpace(basis=None, sets=sets)
    from scipy.linalg import qr  # noqa: PLC0415  (half a second, which --help need not wait for)

    spanned = np.empty((width, rows), order="F")
    places: list[list[tuple[slice, NDArray[np.float64]]]] = []
    done = 0
    for read in sets:
        places.append([])
        for features, targets in read():
            place = slice(done, done := done + len(features))
            spanned[:, place] = features.T
            places[-1].append((place, targets))
    assert done == rows
    basis, coordinates = qr(spanned, mode="economic", overwrite_a=True, check_finite=False)
    blocks = [[(coordinates.T[place], targets) for place, targets in of_set] for of_set in places]
    return RowSpace(basis=basis, sets=[partial(iter, of_set) for of_set in blocks])
