"""What protocol ``linear`` costs: memory and time, before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmark.probe.design import DENSE_BYTES
from benchmark.probe.linear import LOGIT_VARIANCES, LinearProblem, list_units
from benchmark.probe.logistic_model import CHANCES_BYTES
from benchmark.probe.standardised import BLOCK_ROWS
from bgknown.errors import StorageError

PRODUCTS = 430
"""Products with the Hessian and gradients that all strengths of one fit need together, measured on real embeddings."""
EIGENVECTORS = 10
"""Multiplications of an eigendecomposition [n, n], as a multiple of n^3."""
TRIAL = 1024
"""Rows and columns of the product that is timed."""


def estimate_memory(problems: Sequence[LinearProblem], *, workers: int) -> int:
    """Bytes that the largest fits need at the same time, besides the embeddings themselves.

    Args:
        problems: what is fitted.
        workers: fits at a time.
    """
    largest = 0
    for problem in problems:
        rows, size = len(problem.train), problem.size
        dense = min(len(problem.inner) * rows * min(rows, size) * 8, max(DENSE_BYTES, rows * min(rows, size) * 8))
        streamed = rows * size * 8 > DENSE_BYTES
        chances = rows * problem.classes * 4 * (1 if streamed else len(LOGIT_VARIANCES) * len(problem.inner))
        matrix = 3 * BLOCK_ROWS * (size + problem.classes) * 8 if streamed else 3 * dense // 2 + rows * size * 8
        vectors = 12 * size * problem.classes * 8 * (1 if streamed else len(LOGIT_VARIANCES))
        largest = max(largest, matrix + 2 * max(chances, min(CHANCES_BYTES, chances)) + vectors + 3 * size * size * 8)
    return largest * workers


def estimate_seconds(problems: Sequence[LinearProblem], *, device: str, workers: int) -> float:
    """Seconds that all fits take, from their number of multiplications and the speed of one product measured now."""
    products = decompositions = 0.0
    for problem, _ in list_units(problems).values():
        rows, size = len(problem.train), problem.size
        fits = len(problem.inner) + 1
        products += 4.0 * PRODUCTS * fits * rows * min(rows, size) * problem.classes
        decompositions += 2.0 * (fits + 1) * EIGENVECTORS * float(min(rows, size)) ** 3
    speed = _measure_speed(device) * workers
    return products / speed + 3.0 * decompositions / speed  # these are in float64, and fill a processor less well


def check_memory(problems: Sequence[LinearProblem], *, workers: int) -> None:
    """Refuse fits that need more memory than is free.

    Raises:
        StorageError: says how much is needed.
    """
    needed, free = estimate_memory(problems, workers=workers), read_free_memory()
    if free is not None and needed > free:
        raise StorageError(
            f"protocol linear needs about {needed / 2**30:.1f} GiB of memory for this task, and {free / 2**30:.1f} GiB "
            f"are free; measure it on a larger machine, with --limit, or with --protocol paper"
        )


def read_free_memory() -> int | None:
    """Bytes of memory that are free for this process, on the machine and in its control group; None if unknown."""
    known = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        known.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024)
    with suppress(OSError, ValueError):  # "max" is not a number: there is no limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        known.append(max(limit - used, 0))
    return min(known, default=None)


def _measure_speed(device: str) -> float:
    """Multiplications and additions a second of a product in float32 by one worker."""
    matrix = torch.ones(TRIAL, TRIAL, device=device)
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        result = matrix @ matrix
        float(result[0, 0])  # waits for a GPU
        seconds = time.perf_counter() - began
    return 2.0 * TRIAL**3 / max(seconds, 1e-9)
