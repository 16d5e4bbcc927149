"""Standardised rows of embeddings, without a second copy of those that are large."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe.problem import Problem
from bgknown.errors import InvalidInputError

COPY_BYTES = 1 << 30
"""Up to this size a stack's training data is standardised once and kept; above it, batch by batch, to the same bits."""
BLOCK_ROWS = 4096
"""Rows that are looked at in one go outside the steps of training."""
SMALLEST_DEVIATION = 1e-30
"""Deviations up to this, and up to float32's rounding of the mean, count as 0."""


def standardisation(features: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (of the population) of some rows, computed in float64, a block at a time.

    A deviation of 0, or one that float32 cannot tell from 0 beside its mean, becomes 1.

    Args:
        features: [n, D].
        rows: numbers of the rows meant.

    Returns:
        mean [D] and scale [D], float32.

    Raises:
        InvalidInputError: a value is NaN or infinite.
    """
    blocks = [torch.from_numpy(rows[i : i + BLOCK_ROWS]) for i in range(0, len(rows), BLOCK_ROWS)]
    mean = torch.stack([features[block].double().sum(dim=0) for block in blocks]).sum(dim=0) / len(rows)
    squares = torch.stack([(features[block].double() - mean).square_().sum(dim=0) for block in blocks]).sum(dim=0)
    scale = (squares / len(rows)).sqrt_()
    if not bool(torch.isfinite(scale).all()):
        raise InvalidInputError("the embeddings to train on hold NaN or infinite values")
    constant = scale <= torch.clamp(mean.abs() * torch.finfo(torch.float32).eps, min=SMALLEST_DEVIATION)
    return mean.float(), torch.where(constant, 1.0, scale).float()


class StandardisedRows:
    """The rows of several problems, each standardised by its own training rows."""

    def __init__(self, problems: list[Problem], device: str) -> None:
        self.problems, self.device = problems, device
        pairs = [standardisation(problem.features, problem.train) for problem in problems]
        self.mean = [mean for mean, _ in pairs]
        self.factor = [1.0 / scale for _, scale in pairs]
        self.used = [np.concatenate([problem.train, problem.valid]) for problem in problems]
        counts = [len(rows) for rows in self.used]
        self.first = [sum(counts[:p]) for p in range(len(counts))]
        self.size = problems[0].features.shape[1]
        self.kept: Tensor | None = None
        if sum(counts) * self.size * 4 <= COPY_BYTES:
            self.kept = torch.cat([self.rows(p, rows) for p, rows in enumerate(self.used)])
        self.buffer = torch.empty(0, device=device)

    def rows(self, p: int, numbers: NDArray[np.int64]) -> Tensor:
        """[M, D] rows of problem p by their numbers in its features."""
        rows = self.problems[p].features.index_select(0, torch.from_numpy(numbers)).float()
        return rows.sub_(self.mean[p]).mul_(self.factor[p]).to(self.device)

    def take(self, which: list[int], places: Tensor) -> Tensor:
        """[P, M, D] rows of the problems ``which`` by their places [P, M].

        Places count through a problem's training rows, then through its validation rows. The result is overwritten by
        the next call.
        """
        if self.kept is None:
            return torch.stack(
                [self.rows(p, self.used[p][row.cpu().numpy()]) for p, row in zip(which, places, strict=True)]
            )
        if self.buffer.numel() < places.numel() * self.size:
            self.buffer = torch.empty(places.numel() * self.size, device=self.device)
        out = self.buffer[: places.numel() * self.size].view(places.numel(), self.size)
        if len(self.problems) > 1:
            places = places + torch.tensor([[self.first[p]] for p in which], device=self.device)
        torch.index_select(self.kept, 0, places.reshape(-1), out=out)
        return out.view(len(which), -1, self.size)
