"""Synthetic problems for probes."""

import numpy as np
import torch

from benchmark.probe import ProbeProblem

CLASSES = 4


def clusters(n=240, size=20, seed=0, spread=1.0):
    """Gaussian clusters with an offset and scales that differ by feature."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    centres = draw.standard_normal((CLASSES, size))
    features = centres[labels] + spread * draw.standard_normal((n, size))
    features = features * draw.uniform(0.01, 100.0, size) + 50.0 * draw.standard_normal(size)
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def problem(features, labels, *, seed=0, train_rows=range(120), valid=range(120, 150), test=range(150, 240), **facts):
    """A probe of ``CLASSES`` classes."""
    rows = {
        name: np.array(part, dtype=np.int64) for name, part in (("train", train_rows), ("valid", valid), ("test", test))
    }
    return ProbeProblem(
        name=f"seed {seed}", features=features, labels=labels, classes=CLASSES, seed=seed, **rows, **facts
    )
