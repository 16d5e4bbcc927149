"""Standardised rows of embeddings, without a second copy of those that are large."""

from __future__ import annotations

import hashlib
import itertools
import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe.problem import ProbeProblem, ProbeSettings
from bgknown.errors import InvalidInputError

COPY_BYTES = 1 << 30
"""Up to this size a stack's training data is standardised once and kept; above it, batch by batch, to the same bits."""
GPU_SHARE = 0.6
"""Share of a GPU's free memory that features may take."""
BLOCK_ROWS = 4096
"""Rows that are looked at in one go outside the steps of training."""
SMALLEST_DEVIATION = 1e-30
"""Deviations up to this, and up to float32's rounding of the mean, count as 0."""


def measure_standardisation(features: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
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


Key = tuple[int, int, int]


def rows_key(problem: ProbeProblem) -> Key:
    """The same for problems on the same rows of the same features, which means the same objects, not equal ones."""
    return id(problem.features), id(problem.train), id(problem.valid)


class Standardisations:
    """Mean and deviation for each set of training rows, worked out once, by whichever thread comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, tuple[Tensor, Tensor]] = {}

    def of(self, problem: ProbeProblem) -> tuple[Tensor, Tensor]:
        """Mean and deviation [D] of a problem's training rows."""
        with self._lock:
            if rows_key(problem) not in self._known:
                self._known[rows_key(problem)] = measure_standardisation(problem.features, problem.train)
            return self._known[rows_key(problem)]


class StandardisedRows:
    """The rows of several problems, each standardised by its own training rows.

    What is small is standardised once and kept. What is large is standardised batch by batch, from the one copy of the
    features: on the CPU the one that came (it may be a map of a file), on a GPU one in its memory, if there is room.
    """

    def __init__(
        self,
        problems: list[ProbeProblem],
        device: str,
        *,
        known: Standardisations | None = None,
        copy_bytes: int | None = None,
    ) -> None:
        self.problems, self.device = problems, device
        self.size = problems[0].features.shape[1]
        self.keys = [rows_key(problem) for problem in problems]
        known = known or Standardisations()
        first = {key: p for p, key in reversed(list(enumerate(self.keys)))}  # a problem for each set of rows
        self.same = [first[key] for key in self.keys]
        self.mean, self.factor, self.used = {}, {}, {}
        for p in sorted(first.values()):
            mean, scale = known.of(problems[p])
            self.mean[p], self.factor[p] = mean.to(device), (1.0 / scale).to(device)
            self.used[p] = torch.from_numpy(np.concatenate([problems[p].train, problems[p].valid]))
        self.sources = self._sources()
        self.numbers = {p: used.to(self._source(p).device) for p, used in self.used.items()}
        self.offset: dict[int, int] = {}
        self.kept: Tensor | None = None
        rows = sum(len(used) for used in self.used.values())
        if rows * self.size * 4 <= (COPY_BYTES if copy_bytes is None else copy_bytes):
            parts = [self.rows(p, self.used[p]) for p in self.used]
            ends = np.cumsum([len(part) for part in parts])
            self.offset = {p: int(end) - len(part) for p, part, end in zip(self.used, parts, ends, strict=True)}
            self.kept = torch.cat(parts) if len(parts) > 1 else parts[0]
        self.buffer = torch.empty(0, device=device)

    def rows(self, p: int, numbers: Tensor) -> Tensor:
        """[M, D] rows of problem p by their numbers in its features."""
        out = torch.empty(len(numbers), self.size, device=self.device)
        self._standardise(self.same[p], numbers, out)
        return out

    def take(self, which: list[int], places: Tensor) -> Tensor:
        """[P, M, D] rows of the problems ``which`` by their places [P, M].

        Places count through a problem's training rows, then through its validation rows. The result is overwritten by
        the next call.
        """
        if self.buffer.numel() < places.numel() * self.size:
            self.buffer = torch.empty(places.numel() * self.size, device=self.device)
        out = self.buffer[: places.numel() * self.size].view(places.numel(), self.size)
        if self.kept is not None:
            if len(self.offset) > 1:
                shift = [[self.offset[self.same[p]]] for p in which]
                places = places + torch.tensor(shift, device=self.device)
            torch.index_select(self.kept, 0, places.reshape(-1), out=out)
        else:
            self._gather(which, places, out)
        return out.view(len(which), -1, self.size)

    def _gather(self, which: list[int], places: Tensor, out: Tensor) -> None:
        """Standardise rows into ``out`` [P x M, D], those of problems on the same rows in one go."""
        width, start = places.shape[1], 0
        for same, group in itertools.groupby([self.same[p] for p in which]):
            end = start + len(list(group))
            numbers = self.numbers[same]
            here = places[start:end].reshape(-1).to(numbers.device)
            self._standardise(same, numbers[here], out[start * width : end * width])
            start = end

    def _standardise(self, p: int, numbers: Tensor, out: Tensor) -> None:
        """Write rows of problem p's features into ``out`` [M, D]."""
        source = self._source(p)
        numbers = numbers.to(source.device)
        if source.dtype == out.dtype and source.device == out.device:
            torch.index_select(source, 0, numbers, out=out)
        else:
            out.copy_(source.index_select(0, numbers))
        out.sub_(self.mean[p]).mul_(self.factor[p])

    def _source(self, p: int) -> Tensor:
        return self.sources[self.keys[p][0]]

    def _sources(self) -> dict[int, Tensor]:
        """Features by their identity: on a GPU those that fit into its memory, beside what training needs."""
        sources = {}
        for problem in self.problems:
            features = problem.features
            if id(features) in sources:
                continue
            sources[id(features)] = features
            if torch.device(self.device).type == "cuda":
                free, _ = torch.cuda.mem_get_info(self.device)
                if features.nbytes <= free * GPU_SHARE:
                    sources[id(features)] = features.to(self.device)
        return sources


def fingerprint_training(problems: list[ProbeProblem], settings: ProbeSettings, known: Standardisations) -> str:
    """40 hexadecimal digits for everything that a training depends on.

    The features are represented by mean and deviation of the training rows, which are known anyway.
    """
    digest = hashlib.sha256(repr((settings, [(p.seed, p.fold, p.lr, p.classes) for p in problems])).encode())
    for problem in problems:
        for tensor in (*known.of(problem), problem.labels):
            digest.update(tensor.numpy().tobytes())
        for rows in (problem.train, problem.valid):
            digest.update(rows.tobytes())
    return digest.hexdigest()[:40]
