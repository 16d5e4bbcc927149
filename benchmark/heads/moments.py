"""Normal equations in float64, added up block by block, so that memory does not grow with the number of mixtures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FeatureBlock = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Features [m, P] and targets [m, D] of a block."""


ROWS_IN_A_SUM = 1024
"""Rows whose products are added up in one go: adding P^2 numbers takes as long as multiplying some hundred rows."""
LEAST_SCALE = 0.3
"""Least scale of a feature, relative to the standard deviation of y_mix in the same dimension."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scales:
    """Mean and standard deviation of features [P] and targets [D]."""

    mean: NDArray[np.float64]
    """[P]"""
    scale: NDArray[np.float64]
    """[P] above 0."""
    target_mean: NDArray[np.float64]
    """[D]"""
    target_scale: NDArray[np.float64]
    """[D] above 0."""

    def limit_features(self) -> Scales:
        """Scales that do not amplify features which hardly vary, such as relu(y_mix - y_bg) where it is mostly 0.

        In other recordings, such a feature may lie hundreds of standard deviations from its mean.

        Returns:
            each feature's scale at least ``LEAST_SCALE`` of that of y_mix in the same dimension.
        """
        size = len(self.target_mean)
        least = LEAST_SCALE * np.tile(self.scale[:size], len(self.scale) // size)
        return replace(self, scale=np.maximum(self.scale, least))

    def standardise(self, pairs: FeatureBlock) -> FeatureBlock:
        """Features and targets of mean 0 and standard deviation 1."""
        x, y = pairs
        return (x - self.mean) / self.scale, (y - self.target_mean) / self.target_scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sums over rows of features x [P] and targets y [D]."""

    rows: int
    """Number of rows."""
    x: NDArray[np.float64]
    """[P] sum of x."""
    y: NDArray[np.float64]
    """[D] sum of y."""
    xx: NDArray[np.float64]
    """[P, P] sum of x x^T."""
    xy: NDArray[np.float64]
    """[P, D] sum of x y^T."""
    yy: NDArray[np.float64]
    """[D] sum of squares of y."""

    def __add__(self, other: Moments) -> Moments:
        """The sums over both sets of rows."""
        names = ("rows", "x", "y", "xx", "xy", "yy")
        return Moments(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def measure_error(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> float:
        """Mean square of y - x W - b over rows and targets.

        Args:
            weight: [P, D].
            bias: [D].
        """
        squares = self.yy.sum() - 2.0 * np.vdot(weight, self.xy) + np.vdot(weight, self.xx @ weight)
        squares += 2.0 * bias @ (self.x @ weight - self.y) + self.rows * bias @ bias
        return float(squares) / (self.rows * len(self.yy))


def measure_scales(blocks: Iterable[FeatureBlock]) -> Scales:
    """Mean and population standard deviation, in two passes' accuracy from shifted sums.

    A standard deviation that is only rounding becomes 1.

    Args:
        blocks: features and targets of all rows.
    """
    rows = 0
    shift: FeatureBlock | None = None
    sums: list[NDArray[np.float64]] = []
    for pairs in blocks:
        if shift is None:  # sums around a typical row do not cancel
            shift = (pairs[0].mean(axis=0), pairs[1].mean(axis=0))
            sums = [np.zeros_like(part) for part in (*shift, *shift)]
        for place, (values, origin) in enumerate(zip(pairs, shift, strict=True)):
            sums[place] += (values - origin).sum(axis=0)
            sums[place + 2] += np.square(values - origin).sum(axis=0)
        rows += len(pairs[0])
    assert shift is not None
    means = [origin + total / rows for origin, total in zip(shift, sums[:2], strict=True)]
    scales = []
    for total, squares, mean in zip(sums[:2], sums[2:], means, strict=True):
        scale = np.sqrt(np.maximum(squares / rows - np.square(total / rows), 0.0))
        scales.append(np.where(scale <= np.abs(mean) * np.finfo(np.float32).eps + 1e-30, 1.0, scale))
    return Scales(mean=means[0], scale=scales[0], target_mean=means[1], target_scale=scales[1])


def add_up(blocks: Iterator[FeatureBlock], width: int, targets: int) -> Moments:
    """The sums over all rows.

    Args:
        blocks: features and targets, standardised.
        width: P.
        targets: D.
    """
    rows, x, y = 0, np.zeros(width), np.zeros(targets)
    xx, xy, yy = np.zeros((width, width)), np.zeros((width, targets)), np.zeros(targets)
    for features, wanted in _join(blocks):
        rows += len(features)
        x += features.sum(axis=0)
        y += wanted.sum(axis=0)
        xx += features.T @ features
        xy += features.T @ wanted
        yy += np.square(wanted).sum(axis=0)
    return Moments(rows=rows, x=x, y=y, xx=xx, xy=xy, yy=yy)


def _join(blocks: Iterable[FeatureBlock]) -> Iterator[FeatureBlock]:
    """The same rows in blocks of ``ROWS_IN_A_SUM``; each is overwritten by the next."""
    buffers: FeatureBlock | None = None
    held = 0
    for features, targets in blocks:
        if buffers is None:
            buffers = (np.empty((ROWS_IN_A_SUM, features.shape[1])), np.empty((ROWS_IN_A_SUM, targets.shape[1])))
        taken = 0
        while taken < len(features):
            count = min(ROWS_IN_A_SUM - held, len(features) - taken)
            for buffer, rows in zip(buffers, (features, targets), strict=True):
                buffer[held : held + count] = rows[taken : taken + count]
            held, taken = held + count, taken + count
            if held == ROWS_IN_A_SUM:
                yield buffers
                held = 0
    if buffers is not None and held:
        yield buffers[0][:held], buffers[1][:held]
