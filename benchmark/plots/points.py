"""Points with intervals, and rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bgknown.figures.labels import fit_names, measure_width
from bgknown.figures.layout import POINTS, Facets, add_legend, make_facets, set_title
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


def make_rows(count: int, names: Sequence[Sequence[str]], *, row: float = ROW_IN, width: float = 2.0) -> Facets:
    """A figure with axes whose rows have names, the first at the top.

    Args:
        count: number of axes.
        names: of each row; of a pair, both.
        row: height of a row, inches.
        width: of the axes.
    """
    parts = [list(dict.fromkeys(column)) for column in zip(*names, strict=True)]
    shown = [fit_names(column, NAME_PT / (1 if len(parts) == 1 else 1.45), SMALL_PT) for column in parts]
    texts = [" - ".join(one[part] for one, part in zip(shown, name, strict=True)) for name in names]
    left = 0.3 + max(measure_width(text, SMALL_PT) for text in texts) / POINTS
    facets = make_facets(count, width=width, height=0.45 + row * max(2, len(names)), left=left)
    for axis in facets.axes:
        axis.set_yticks(range(len(names)), texts)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
    return facets


def draw_forest(
    table: pd.DataFrame, *, title: str, names: Sequence[str], label: str, legend: tuple[str, str]
) -> Figure:
    """Differences with intervals: a row for each of ``names``, axes for each setting, and a line at 0.

    Args:
        table: with mean, low, high, and ``clear``: 1 for filled points, 0 for hollow ones.
        title: of the figure.
        names: columns of the table that name a row: one, or two for a pair.
        label: of the x axes.
        legend: what filled and hollow points mean.
    """
    panels = list(dict.fromkeys(table["setting"]))
    keys = pd.Series(list(zip(*(table[name] for name in names), strict=True)), index=table.index)
    rows = list(dict.fromkeys(keys))
    facets = make_rows(len(panels), rows)
    mark = pick_mark(0)
    for axis, panel in zip(facets.axes, panels, strict=True):
        for hollow in (False, True):
            inside = (table["setting"] == panel) & (table["clear"] == int(not hollow))
            places = [rows.index(key) for key in keys[inside]]
            draw_points(axis, places, table[inside], mark, rows=True, hollow=hollow)
        axis.axvline(0.0, color=GREY, linewidth=0.8)
    facets.name(panels)
    facets.label(x=label)
    handles = [facets.axes[0].plot([], [], **mark.points(hollow=hollow))[0] for hollow in (False, True)]
    add_legend(facets.figure, handles, legend)
    set_title(facets.figure, title)
    return facets.figure
