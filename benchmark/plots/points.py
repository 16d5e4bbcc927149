"""Points with intervals, and rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bgknown.figures.labels import fit_names
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import GREY, SMALL_PT, Mark, pick_mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_IN, NAME_PT = 0.19, 150.0
"""Height of a row in inches, and the largest width of its name in points."""


def draw_points(
    axis: Axes,
    places: ArrayLike,
    table: pd.DataFrame,
    mark: Mark,
    *,
    rows: bool = False,
    line: bool = False,
    hollow: bool = False,
) -> Any:
    """Draw means with their intervals.

    Args:
        axis: where.
        places: [n] positions on the other axis.
        table: n rows with mean, low and high; an interval that is not known is not drawn.
        mark: colour, marker and line.
        rows: whether the values run along the x axis.
        line: whether points are joined.
        hollow: whether points are not filled.

    Returns:
        a handle for the legend.
    """
    means = table["mean"].to_numpy(dtype=np.float64)
    errors = np.stack([means - table["low"].to_numpy(np.float64), table["high"].to_numpy(np.float64) - means])
    style = {**mark.points(joined=line, hollow=hollow), "elinewidth": 0.9, "markeredgewidth": 0.8}
    if rows:
        return axis.errorbar(means, places, xerr=errors, **style)
    return axis.errorbar(places, means, yerr=errors, **style)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Give the rows of an axis their names, the first at the top."""
    shown = fit_names(names, NAME_PT, SMALL_PT)
    axis.set_yticks(range(len(names)), [shown[name] for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")


def draw_forest(
    table: pd.DataFrame, *, title: str, columns: str, names: str, label: str, legend: tuple[str, str]
) -> Figure:
    """Differences with intervals: a row for each of ``names``, axes for each of ``columns``, and a line at 0.

    Args:
        table: with mean, low, high, and ``clear``: 1 for filled points, 0 for hollow ones.
        title: of the figure.
        columns, names: columns of the table.
        label: of the x axes.
        legend: what filled and hollow points mean.
    """
    panels, rows = list(dict.fromkeys(table[columns])), list(dict.fromkeys(table[names]))
    height = 0.45 + ROW_IN * max(2, len(rows))
    facets = make_facets(len(panels), width=2.0, height=height, extra=0.2)
    mark = pick_mark(0)
    for axis, panel in zip(facets.axes, panels, strict=True):
        part = table[table[columns] == panel]
        for hollow in (False, True):
            inside = part[part["clear"] == int(not hollow)]
            draw_points(axis, [rows.index(name) for name in inside[names]], inside, mark, rows=True, hollow=hollow)
        axis.axvline(0.0, color=GREY, linewidth=0.8)
        name_rows(axis, rows)
    facets.name(panels)
    facets.label(x=label)
    handles = [facets.axes[0].plot([], [], **mark.points(hollow=hollow))[0] for hollow in (False, True)]
    add_legend(facets.figure, handles, legend)
    set_title(facets.figure, title)
    return facets.figure
