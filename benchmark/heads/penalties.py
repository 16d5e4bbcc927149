"""Held-out errors of ridge regression for many penalties, from one eigendecomposition.

With X^T X = Q diag(v) Q^T and T = Q^T (X^T Y - X^T X W0), the map of penalty r per row is W = W0 + Q diag(s) T with
s = 1 / (v + n r), and its squared error on other rows is a quadratic polynomial in s:

    e + 2 g^T s + s^T H s,    H = (Q^T A Q) * (T T^T),

A the sum of x x^T over those rows, * the product of elements. Once g and H are known, a penalty costs P^2 operations
instead of the P^2 D of solving for its map and applying it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.moments import Moments

SQUARES_AT_ONCE = 512
"""Rows of H that are in memory at a time."""


def measure_penalties(
    training: Moments, held_out: Moments, penalties: Sequence[float], priors: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Mean square on held-out rows of the maps that are fitted with every penalty and prior.

    Args:
        training: normal equations of the rows that are fitted to.
        held_out: those of the others, standardised alike.
        penalties: r, above 0.
        priors: W0 [P, D] each.

    Returns:
        [penalties, priors].
    """
    from scipy.linalg import eigh  # noqa: PLC0415  (half a second, which --help need not wait for)

    x, y = training.x / training.rows, training.y / training.rows
    centred = training.xx - np.outer(training.x, x)
    targets = training.xy - np.outer(training.x, y)
    sides = [targets - centred @ prior if prior.any() else targets for prior in priors]
    values, vectors = eigh(centred, overwrite_a=True, check_finite=False, driver="evd")
    turned = [vectors.T @ side for side in sides]
    shrinkage = 1.0 / (np.maximum(values, 0.0) + training.rows * np.asarray(penalties)[:, None])
    errors = np.empty((len(penalties), len(priors)))
    products = _Around(held_out, x, y)
    for column, prior in enumerate(priors):
        left = products.xy - products.apply(prior)  # minus half the slope of the squares at the prior
        constant = products.yy - np.vdot(prior, products.xy + left)
        linear = np.einsum("ij,ij->i", vectors.T @ left, turned[column])
        errors[:, column] = constant - 2.0 * shrinkage @ linear
    for start in range(0, len(values), SQUARES_AT_ONCE):
        part = slice(start, start + SQUARES_AT_ONCE)
        squares = products.apply(vectors[:, part]).T @ vectors
        for column, rows in enumerate(turned):
            quadratic = squares * (rows[part] @ rows.T)
            errors[:, column] += np.einsum("rj,rj->r", shrinkage[:, part] @ quadratic, shrinkage)
    return errors / (held_out.rows * len(y))


class _Around:
    """Products of rows around another mean: x - m and y - k."""

    def __init__(self, rows: Moments, mean: NDArray[np.float64], target_mean: NDArray[np.float64]) -> None:
        self._rows, self._mean = rows, mean
        self.xy = rows.xy - np.outer(mean, rows.y) - np.outer(rows.x - rows.rows * mean, target_mean)
        self.yy = float(rows.yy.sum() - 2.0 * rows.y @ target_mean + rows.rows * target_mean @ target_mean)

    def apply(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of (x - m) (x - m)^T, applied to [P, k]."""
        rows, mean = self._rows, self._mean
        applied: NDArray[np.float64] = rows.xx @ weight
        applied -= np.outer(mean, rows.x @ weight)
        applied -= np.outer(rows.x - rows.rows * mean, mean @ weight)
        return applied
