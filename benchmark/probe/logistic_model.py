"""Logistic regressions on rows of embeddings: the rows' design, the solution, and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe.design import (
    DENSE_BYTES,
    DenseDesign,
    Standardiser,
    StreamedDesign,
    find_basis,
    measure_covariance,
)
from benchmark.probe.logistic import LogisticSolver

CHANCES_BYTES = 1 << 30
"""Memory that the softmax of all rows and strengths may take; with more rows, strengths are solved one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogisticModel:
    """Weights for S strengths."""

    standardiser: Standardiser
    """That of the rows the model was fitted to."""
    weight: Tensor
    """[S, D, K] weights of standardised values."""
    bias: Tensor
    """[S, K]"""
    converged: bool
    """Whether every strength reached its optimum."""

    def compute_logits(self, features: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """[S, m, K] logits of some rows."""
        x = self.standardiser.apply(features, rows, dtype=self.weight.dtype, device=str(self.weight.device))
        return torch.einsum("md,sdk->smk", x, self.weight) + self.bias[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogisticFitter:
    """Fits models to rows of the same embeddings."""

    features: Tensor
    """[n, D]"""
    labels: Tensor
    """[n] classes 0..K-1."""
    classes: int
    """K."""
    basis: Tensor | None
    """[D, q] basis of all dimensions for those fits that have more rows than dimensions; None to find one for each."""
    device: str
    """Where products are computed."""
    stop: Callable[[], object]
    """Called again and again; may raise to end the work."""

    def fit(self, parts: Sequence[NDArray[np.int64]], strengths: Sequence[float]) -> list[LogisticModel]:
        """A model for each set of rows, with all strengths; sets that fit into memory are solved together."""
        size = self.features.shape[1]
        if len(parts[0]) * size * 8 > DENSE_BYTES:
            return [self._fit_streamed(rows, strengths) for rows in parts]
        together = max(1, DENSE_BYTES // (max(map(len, parts)) * size * 8))
        packs = [parts[start : start + together] for start in range(0, len(parts), together)]
        return [model for pack in packs for model in self._fit_dense(pack, strengths)]

    def _fit_dense(self, parts: Sequence[NDArray[np.int64]], strengths: Sequence[float]) -> list[LogisticModel]:
        standardisers = [Standardiser(self.features, rows) for rows in parts]
        matrices = [
            standardiser.apply(self.features, rows, dtype=torch.float64, device=self.device)
            for rows, standardiser in zip(parts, standardisers, strict=True)
        ]
        design = DenseDesign(matrices, [self.basis if len(rows) > self.features.shape[1] else None for rows in parts])
        labels = torch.nn.utils.rnn.pad_sequence([self.labels[torch.from_numpy(rows)] for rows in parts], True)
        found = LogisticSolver(design, labels.to(self.device), self.classes, self.stop).solve(strengths)
        return [
            LogisticModel(
                standardiser=standardiser,
                weight=basis @ coordinates[:, 1 : 1 + basis.shape[1]],
                bias=coordinates[:, 0],
                converged=bool(converged.all()),
            )
            for standardiser, basis, coordinates, converged in zip(
                standardisers, design.bases, found.coordinates, found.converged, strict=True
            )
        ]

    def _fit_streamed(self, rows: NDArray[np.int64], strengths: Sequence[float]) -> LogisticModel:
        """The model of many rows, strengths from small to large, each beginning at the solution before."""
        standardiser = Standardiser(self.features, rows)
        basis = self.basis
        if basis is None:
            basis = find_basis(measure_covariance(self.features, rows, standardiser, self.device))
        design = StreamedDesign(self.features, rows, standardiser, basis, self.device)
        labels = self.labels[torch.from_numpy(rows)].to(self.device)[None]
        solver = LogisticSolver(design, labels, self.classes, self.stop)
        together = max(1, CHANCES_BYTES // (len(rows) * self.classes * 4))
        weights, biases, converged, start = [], [], True, None
        for first in range(0, len(strengths), together):
            some = strengths[first : first + together]
            found = solver.solve(some, None if start is None else start.expand(-1, len(some), -1, -1))
            start = found.coordinates[:, -1:]
            weights.append(design.basis @ found.coordinates[0, :, 1:])
            biases.append(found.coordinates[0, :, 0])
            converged &= bool(found.converged.all())
        return LogisticModel(
            standardiser=standardiser, weight=torch.cat(weights), bias=torch.cat(biases), converged=converged
        )


def find_shared_basis(features: Tensor, rows: NDArray[np.int64], device: str) -> Tensor | None:
    """The basis of some rows where they span all dimensions, else None; fits to most of them need no other."""
    if len(rows) <= features.shape[1]:
        return None
    return find_basis(measure_covariance(features, rows, Standardiser(features, rows), device))
