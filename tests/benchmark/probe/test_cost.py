import numpy as np
import pytest
import torch

from benchmark.probe import cost
from benchmark.probe.linear import LinearProblem, Variant
from bgknown.errors import StorageError


def make_problem(rows, size, classes):
    train = np.arange(rows)
    return LinearProblem(
        name="x",
        variants=(Variant(key="x", alpha=None, make=lambda: torch.zeros(rows, size)),),
        labels=torch.zeros(rows, dtype=torch.int64),
        train=train,
        inner=((train, train[:1]),),
        test=train[:1],
        groups=[""] * rows,
        classes=classes,
        size=size,
    )


def test_voxceleb1_needs_at_most_8_gib():
    assert cost.estimate_memory([make_problem(138_361, 3_072, 1_251)], workers=1) < 8 * 2**30


def test_too_little_memory_is_refused_with_what_is_needed(monkeypatch):
    problem = make_problem(1_000, 64, 10)
    cost.check_memory([problem], workers=1)
    monkeypatch.setattr(cost, "read_free_memory", lambda: 1000)
    with pytest.raises(StorageError, match="protocol linear needs about .* GiB of memory for this task, and 0.0 GiB"):
        cost.check_memory([problem], workers=1)
    monkeypatch.setattr(cost, "read_free_memory", lambda: None)
    cost.check_memory([problem], workers=1)


def test_more_clips_are_estimated_to_take_longer():
    small, large = (
        cost.estimate_seconds([make_problem(rows, 512, 10)], device="cpu", workers=1) for rows in (100, 10_000)
    )
    assert 0 < small < large
