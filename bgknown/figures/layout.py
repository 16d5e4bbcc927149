"""Figures of several axes of equal size, with a title and a legend outside the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgknown.figures.labels import fit_names, measure_width, wrap_text
from bgknown.figures.style import SMALL_PT, TEXT_PT, TITLE_PT, import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 72
"""Points of an inch."""
MOST_ACROSS = 4
"""Axes next to each other at most."""
NARROWEST = 3.6
"""Smallest width of a figure, inches: less has no room for titles and legends."""
_HANDLE_PT = 36.0
_EDGE_PT = 16.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facets:
    """A figure of axes in rows and columns."""

    figure: Figure
    """The figure."""
    axes: list[Axes]
    """The axes, row by row."""
    across: int
    """Axes next to each other."""
    width: float
    """Width of one of the axes, inches."""
    height: float
    """Its height."""

    def name(self, names: Sequence[str]) -> None:
        """Give the axes their titles."""
        shown = fit_names(names, self.width * POINTS - 24, SMALL_PT)
        for axis, name in zip(self.axes, names, strict=True):
            axis.set_title(shown[name], fontsize=SMALL_PT)

    def label(self, *, x: str = "", y: str = "") -> None:
        """Say what runs along the axes, below those with nothing below them and at the left."""
        for number, axis in enumerate(self.axes):
            if x and number + self.across >= len(self.axes):
                axis.set_xlabel(wrap_text(x, self.width * POINTS - 6, TEXT_PT))
            if y and number % self.across == 0:
                axis.set_ylabel(wrap_text(y, self.height * POINTS, TEXT_PT))


def make_facets(
    count: int, *, width: float = 2.4, height: float = 2.0, share_y: bool = True, left: float = 0.5
) -> Facets:
    """A figure with axes in rows and columns, which have the same range along x.

    Args:
        count: number of axes.
        width, height: of one of the axes, inches.
        share_y: whether all have the same range along y.
        left: room at the left for the labels of the y axis, inches.
    """
    matplotlib = import_matplotlib()
    down = math.ceil(count / MOST_ACROSS)
    across = math.ceil(count / down)
    width = max(width, (NARROWEST - left) / across)
    size = (left + across * width, 0.4 + down * height)
    figure: Figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    grid: list[Axes] = list(figure.subplots(down, across, sharex=True, sharey=share_y, squeeze=False).flat)
    for axis in grid[count:]:
        axis.set_visible(False)
    for number, axis in enumerate(grid[:count]):
        axis.tick_params(labelbottom=number + across >= count, labelleft=number % across == 0 or not share_y)
    return Facets(figure=figure, axes=grid[:count], across=across, width=width, height=height)


def set_title(figure: Figure, title: str) -> None:
    """Give a figure its title, in lines that are not wider than the figure; it grows by their height."""
    text = wrap_text(title, figure.get_figwidth() * POINTS - _EDGE_PT, TITLE_PT)
    figure.suptitle(text, fontsize=TITLE_PT)
    figure.set_figheight(figure.get_figheight() + (1 + text.count("\n")) * 1.4 * TITLE_PT / POINTS)


def add_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend below the axes, in as many columns as fit; the figure grows by its height.

    Args:
        figure: the figure.
        handles: of matplotlib, one for each label.
        labels: the labels.
    """
    room_pt = figure.get_figwidth() * POINTS - _EDGE_PT
    shown = fit_names(labels, room_pt - _HANDLE_PT, SMALL_PT)
    texts = [shown[label] for label in labels]
    widest = max(measure_width(text, SMALL_PT) for text in texts) + _HANDLE_PT
    columns = max(1, min(len(texts), int(room_pt // widest)))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + math.ceil(len(texts) / columns) * 1.6 * SMALL_PT / POINTS)
