"""Training rows in the basis in which their covariance is diagonal.

Standardised rows X [n, D] are rotated by an orthogonal basis V [D, q] of the space that they span:

    X V = Z,   Z^T Z / n = diag(spectrum),   q = min(n - 1, D) at most.

A penalised linear model of X has its optimum in that span, so a model of Z has the same optimum, with q coordinates in
place of D, and with a Hessian that is nearly diagonal: that is what makes ``benchmark.probe.logistic`` fast. Where the
rows are fewer than the dimensions, V comes from their products [n, n]; otherwise from their covariance [D, D].

Shape letters: U problems that are solved together, n rows, D embedding size, q basis, S strengths, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe.standardised import BLOCK_ROWS, measure_standardisation

DENSE_BYTES = 1 << 30
"""Rows of up to this size in float64 are rotated once and kept; above it they are read in blocks, in float32."""
RANK_SHARE = 1e-10
"""Directions with less than this share of the largest variance are rounding, and are dropped."""


class Standardiser:
    """Subtracts the mean of some rows and divides by their standard deviation.

    Args:
        features: [n, D].
        rows: the rows whose statistics are taken.
    """

    def __init__(self, features: Tensor, rows: NDArray[np.int64]) -> None:
        self.mean, self.scale = measure_standardisation(features, rows)

    def apply(self, features: Tensor, rows: NDArray[np.int64], *, dtype: torch.dtype, device: str) -> Tensor:
        """[m, D] standardised rows."""
        chosen = features[torch.from_numpy(rows)].to(device=device, dtype=dtype)
        return chosen.sub_(self.mean.to(chosen)).div_(self.scale.to(chosen))


class Design(Protocol):
    """Training rows of U problems, as a solver needs them."""

    spectrum: Tensor
    """[U, q] variance in each direction of the basis."""
    weight: Tensor
    """[U, n] weight of each row in the mean: 1 / n, or 0 for padding."""

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Some rows after the others: which, and their values [U, m, d]."""

    def spread(self, coordinates: Tensor) -> Tensor:
        """Coordinates in the basis [U, q, M] as weights of the values that ``blocks`` gives, [U, d, M]."""

    def collect(self, weights: Tensor) -> Tensor:
        """The transpose of ``spread``: [U, d, M] to [U, q, M]."""


class DenseDesign:
    """Rotated rows of several problems in memory, padded to the same shape with rows of weight 0.

    Args:
        matrices: for each problem its standardised rows [n, D], float64.
        bases: for each problem V [D, q], or None to take the one that its own rows give.
    """

    def __init__(self, matrices: Sequence[Tensor], bases: Sequence[Tensor | None]) -> None:
        rotated = [rotate_rows(matrix, basis) for matrix, basis in zip(matrices, bases, strict=True)]
        self.bases = [basis for _, basis in rotated]
        rows, size = (max(part.shape[axis] for part, _ in rotated) for axis in (0, 1))
        self.matrix = rotated[0][0].new_zeros(len(rotated), rows, size)
        self.weight = self.matrix.new_zeros(len(rotated), rows)
        for unit, (part, _) in enumerate(rotated):
            self.matrix[unit, : part.shape[0], : part.shape[1]] = part
            self.weight[unit, : part.shape[0]] = 1.0 / len(part)
        self.spectrum = torch.einsum("un,unq->uq", self.weight, self.matrix.square())

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows at once."""
        yield slice(0, self.matrix.shape[1]), self.matrix

    def spread(self, coordinates: Tensor) -> Tensor:
        """The coordinates themselves: the rows are rotated already."""
        return coordinates

    def collect(self, weights: Tensor) -> Tensor:
        """The weights themselves."""
        return weights


class StreamedDesign:
    """The rows of one large problem, standardised block by block from the one copy of the features, in float32.

    Args:
        features: [n, D]; may be a map of a file.
        rows: the training rows.
        standardiser: theirs.
        basis: V [D, q].
        device: where blocks are multiplied.
    """

    def __init__(
        self, features: Tensor, rows: NDArray[np.int64], standardiser: Standardiser, basis: Tensor, device: str
    ) -> None:
        self.features, self.rows, self.standardiser, self.device = features, rows, standardiser, device
        self.basis = basis.to(device=device, dtype=torch.float32)
        self.weight = torch.full((1, len(rows)), 1.0 / len(rows), device=device)
        covariance = measure_covariance(features, rows, standardiser, device)
        self.spectrum = torch.einsum("dq,de,eq->q", basis, covariance, basis).clamp_(min=0.0).float()[None]

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """``BLOCK_ROWS`` rows at a time, standardised but not rotated."""
        for start in range(0, len(self.rows), BLOCK_ROWS):
            part = self.rows[start : start + BLOCK_ROWS]
            block = self.standardiser.apply(self.features, part, dtype=torch.float32, device=self.device)
            yield slice(start, start + len(part)), block[None]

    def spread(self, coordinates: Tensor) -> Tensor:
        """V times the coordinates."""
        return self.basis @ coordinates

    def collect(self, weights: Tensor) -> Tensor:
        """The transpose of V times the weights."""
        return self.basis.T @ weights


def rotate_rows(matrix: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows in a basis, and the basis.

    Args:
        matrix: [n, D] standardised rows.
        basis: V [D, q]; by default the principal directions of the rows.

    Returns:
        Z [n, q] and V [D, q].
    """
    if basis is not None:
        return matrix @ basis, basis
    rows, size = matrix.shape
    if rows > size:
        basis = find_basis(matrix.T @ matrix / rows)
        return matrix @ basis, basis
    variance, left = torch.linalg.eigh(matrix @ matrix.T)
    kept = variance > variance[-1].clamp(min=torch.finfo(variance.dtype).tiny) * RANK_SHARE
    kept[-1] = True  # where all rows are alike, one direction without variance remains
    root = variance[kept].clamp(min=torch.finfo(variance.dtype).tiny).sqrt()
    return left[:, kept] * root, matrix.T @ (left[:, kept] / root)


def find_basis(covariance: Tensor) -> Tensor:
    """Principal directions [D, q] of a covariance [D, D], float64."""
    variance, directions = torch.linalg.eigh(covariance)
    kept = variance > variance[-1] * RANK_SHARE
    kept[-1] = True
    basis: Tensor = directions[:, kept]
    return basis


def measure_covariance(
    features: Tensor, rows: NDArray[np.int64], standardiser: Standardiser, device: str = "cpu"
) -> Tensor:
    """[D, D] covariance of standardised rows, float64, a block at a time."""
    size = features.shape[1]
    total = torch.zeros(size, size, dtype=torch.float64, device=device)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = standardiser.apply(features, rows[start : start + BLOCK_ROWS], dtype=torch.float32, device=device)
        total += (block.T @ block).double()
    return total / len(rows)
