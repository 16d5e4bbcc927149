"""A cost measured at three sizes: the line through it, how well it fits, and what it gives for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_GROWTH = 1.25
"""The cost of a further unit, between the larger two sizes relative to that between the smaller two, above which it is
reported. Noise of a shared machine stays below it where each step of size costs several times what varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line through the costs of several sizes."""

    fixed: float
    """Cost without units."""
    per_unit: float
    """Cost of a unit."""
    residual: float
    """Largest distance of a cost from the line, as a share of the largest cost."""
    growth: float
    """Cost of a further unit between the two largest sizes, divided by that between the two smallest."""

    @property
    def grows(self) -> bool:
        """Whether the cost of a unit grows with size."""
        return self.growth > MOST_GROWTH

    def project(self, units: int) -> float:
        """The cost of a number of units."""
        return self.fixed + self.per_unit * units


def fit_line(sizes: Sequence[int], costs: Sequence[float]) -> Line:
    """Fit a line by least squares.

    Args:
        sizes: numbers of units, rising; at least three.
        costs: their costs.

    Raises:
        ValueError: there are fewer than three sizes, or they do not rise.
    """
    if len(sizes) < 3 or len(sizes) != len(costs) or any(np.diff(sizes) <= 0):
        raise ValueError(f"the sizes are {list(sizes)}; at least three are needed, each larger than the one before")
    per_unit, fixed = (float(value) for value in np.polyfit(sizes, costs, 1))
    apart = np.abs(np.asarray(costs) - fixed - per_unit * np.asarray(sizes)).max()
    steps = np.diff(costs) / np.diff(sizes)
    growth = steps[-1] / steps[0] if steps[0] > 0 else (1.0 if steps[-1] <= 0 else np.inf)
    return Line(
        fixed=fixed,
        per_unit=per_unit,
        residual=float(apart / max(costs)) if max(costs) > 0 else 0.0,
        growth=float(growth),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took."""

    seconds: float
    """CPU seconds of the process and its children; on a GPU wall seconds."""
    written: float
    """Bytes of the files that it wrote."""
    peak_mb: float
    """Largest resident memory of a process."""
    own_mb: float | None = None
    """The largest without mapped files; None where that was not measured."""


def format_seconds(seconds: float) -> str:
    """Seconds with a unit that suits them."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


def format_duration(seconds: float) -> str:
    """A projected duration in seconds, minutes or hours."""
    for limit, size, name in ((90, 1, "s"), (5_400, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {name}"
    hours = seconds / 3_600
    return f"{hours:.1f} h" if hours < 20 else f"{hours:,.0f} h"


def format_bytes(count: float) -> str:
    """Bytes with a decimal unit."""
    for limit, size, name in ((1e3, 1, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if count < limit:
            return f"{count / size:.3g} {name}"
    return f"{count / 1e9:.3g} GB"


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
