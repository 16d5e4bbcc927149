"""Standardised rows of embeddings, without a second copy of large ones."""

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
"""Up to this size a stack's training data is standardised once and kept; above it, batch by batch, with equal bits."""
GPU_SHARE = 0.6
"""Share of a GPU's free memory that features may take."""
BLOCK_ROWS = 4096
"""Rows that are processed at a time outside the steps of training."""
SMALLEST_DEVIATION = 1e-30
"""Standard deviations up to this, or up to float32's rounding of the mean, count as 0."""


def measure_standardisation(features: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Measure mean and population standard deviation of some rows, in float64, a block at a time.

    A standard deviation of 0, or one below float32's rounding of the mean, becomes 1.

    Args:
        features: [n, D].
        rows: numbers of these rows.

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
        raise InvalidInputError("the embeddings to train on contain NaN or infinite values")
    constant = scale <= torch.clamp(mean.abs() * torch.finfo(torch.float32).eps, min=SMALLEST_DEVIATION)
    return mean.float(), torch.where(constant, 1.0, scale).float()


Key = tuple[int, int, int, int]


def rows_key(problem: ProbeProblem) -> Key:
    """Make a key that is the same for problems on the same rows of the same features: identical objects, not equal."""
    return id(problem.features), id(problem.train), id(problem.valid), id(problem.standardise_rows)


class Standardisations:
    """Mean and standard deviation for each set of rows, measured once, by whichever thread needs them first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def of(self, problem: ProbeProblem) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [D] by which a problem's rows are standardised."""
        rows = problem.standardise_rows
        key = id(problem.features), id(rows)
        with self._lock:
            if key not in self._known:
                self._known[key] = measure_standardisation(problem.features, rows)
            return self._known[key]


class StandardisedRows:
    """The rows of several problems, each standardised by its own mean and standard deviation.

    Small data is standardised once and kept. Large data is standardised batch by batch, from a single copy of the
    features: on the CPU the given one (it may be a memory-mapped file), on a GPU one in its memory, if there is room.

    Args:
        problems: the problems, all of the same D.
        device: where their rows are needed.
        known: means and standard deviations measured so far, shared with other stacks.
        copy_bytes: limit between small and large; by default ``COPY_BYTES``.
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
        """Standardise rows [M, D] of problem p, by their numbers in its features."""
        out = torch.empty(len(numbers), self.size, device=self.device)
        self._standardise(self.same[p], numbers, out)
        return out

    def take(self, which: list[int], places: Tensor) -> Tensor:
        """Return rows [P, M, D] of the problems ``which`` by their places [P, M].

        Places number a problem's training rows, then its validation rows. The next call overwrites the result.
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
        """Standardise rows into ``out`` [P x M, D], with one operation for problems that share their rows."""
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
        """Map the identity of features to themselves, or to a copy on the GPU if it fits next to the training."""
        sources = {}
        for problem in self.problems:
            features = problem.features
            if id(features) not in sources:
                sources[id(features)] = copy_if_room(features, self.device)
        return sources


def copy_if_room(embeddings: Tensor, device: str) -> Tensor:
    """Embeddings on a GPU that has room for them, else where they are."""
    return embeddings.to(device) if embeddings.nbytes <= measure_room(device) else embeddings


def measure_room(device: str) -> float:
    """Bytes of a GPU's memory that embeddings may take; 0 for a device that does not report its memory."""
    return torch.cuda.mem_get_info(device)[0] * GPU_SHARE if torch.device(device).type == "cuda" else 0.0


def fingerprint_training(problems: list[ProbeProblem], settings: ProbeSettings, known: Standardisations) -> str:
    """Hash everything that a training depends on, to 40 hexadecimal digits.

    Mean and standard deviation stand for the features; both are measured anyway.
    """
    digest = hashlib.sha256(repr((settings, [(p.seed, p.fold, p.lr, p.classes) for p in problems])).encode())
    for problem in problems:
        for tensor in (*known.of(problem), problem.labels):
            digest.update(tensor.numpy().tobytes())
        for rows in (problem.train, problem.valid):
            digest.update(rows.tobytes())
    return digest.hexdigest()[:40]
