"""A cost measured at three sizes: the line through it, how well it fits, and what it gives for the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MOST_GROWTH = 1.25
"""The cost of a further unit, between the larger two sizes relative to that between the smaller two, above which it is
reported. Noise of a shared machine stays below it where each step of size costs several times what varies."""
COLUMNS = (
    "stage", "a unit is", "measured with", "per unit, and fixed", "residual", "growth", "peak memory",
    "written per unit", "whole", "on one core", "on one GPU", "disk", "measured on",
)  # fmt: skip
BLOCK = re.compile(r"(<!-- full size: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end of full size -->)", re.DOTALL)


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
    return Line(fixed=fixed, per_unit=per_unit, residual=float(apart / max(costs)), growth=float(growth))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took."""

    seconds: float
    """CPU seconds of the process and its children; on a GPU wall seconds."""
    written: float
    """Bytes of the files that it wrote."""
    peak_mb: float
    """Largest resident memory of a process."""


def format_row(stage: str, unit: str, costs: Mapping[int, Cost], whole: Mapping[str, int], about: Mapping[str, str]
               ) -> list[str]:  # fmt: skip
    """The cells of a stage's row.

    Args:
        stage: its name.
        unit: what a unit is.
        costs: the costs of each size.
        whole: the projects, and how many units each has.
        about: ``measured on``; and ``gpu``, projections that do not come from these costs.
    """
    sizes = sorted(costs)
    seconds = fit_line(sizes, [costs[size].seconds for size in sizes])
    written = fit_line(sizes, [costs[size].written for size in sizes])
    memory = [costs[size].peak_mb for size in sizes]
    on_gpu = about.get("device", "cpu") != "cpu"
    projected = "; ".join(f"{format_duration(seconds.project(units))}" for units in whole.values())
    return [
        f"`{stage}`",
        unit,
        ", ".join(f"{size:,}" for size in sizes),
        f"{format_seconds(seconds.per_unit)}, {format_seconds(max(seconds.fixed, 0.0))}",
        f"{100 * seconds.residual:.1f} %",
        f"{seconds.growth:.2f}" + (" (grows)" if seconds.grows else ""),
        ", ".join(f"{peak_mb:,.0f}" for peak_mb in memory) + " MB",
        format_bytes(max(written.per_unit, 0.0)),
        "; ".join(f"{name}: {units:,}" for name, units in whole.items()),
        "" if on_gpu else projected,
        projected if on_gpu else about.get("gpu", ""),
        "; ".join(format_bytes(max(written.project(units), 0.0)) for units in whole.values()),
        about["measured on"],
    ]


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


def replace_rows(text: str, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], order: Sequence[str]
                 ) -> str:  # fmt: skip
    """Put rows into the table of a block; a row whose first cell it has already replaces that row.

    Args:
        text: the document.
        name: of the block.
        columns: of the table.
        rows: new rows.
        order: first cells in the order of the table; rows of others are dropped.

    Raises:
        ValueError: the document has no such block.
    """
    found = next((match for match in BLOCK.finditer(text) if match["name"] == name), None)
    if found is None:
        raise ValueError(f"there is no block <!-- full size: {name} -->")
    old = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in found["body"].splitlines()[2:]]
    known = {row[0]: row for row in old if len(row) == len(columns)} | {row[0]: list(row) for row in rows}
    table = format_table(columns, [known[first] for first in order if first in known])
    return text[: found.start("body")] + table + text[found.end("body") :]
