"""Clips of four classes, for tests of probes."""

import numpy as np
import torch

CLASSES = 4


def make_clusters(n=240, size=20, seed=0, spread=1.0):
    """Gaussian clusters with an offset and scales that differ by feature: [n, size] float32 and labels [n]."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    centres = draw.standard_normal((CLASSES, size))
    features = centres[labels] + spread * draw.standard_normal((n, size))
    features = features * draw.uniform(0.01, 100.0, size) + 50.0 * draw.standard_normal(size)
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)
