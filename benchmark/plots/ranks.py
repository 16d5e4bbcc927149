"""Ranks with their intervals and tie groups."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.plots.material import Drawing, Material, tabulate_rows
from benchmark.plots.points import draw_points, make_rows
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, set_title
from bgknown.figures.style import SMALL_PT, pick_mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "rank intervals and tie groups of encoders"


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group of at least two encoders with predictions."""
    drawings = []
    for group in material.groups:
        key = (group.setting, group.metric)
        there = [encoder for encoder in group.encoders if key in encoder.rows]
        ranks = material.clips.rank([encoder.rows[key] for encoder in there])
        if not ranks:
            continue
        found = [(encoder, ranks[encoder.rows[key].identity]) for encoder in there]
        table = tabulate_rows([(encoder, encoder.rows[key]) for encoder, _ in found])
        columns = {"rank": "place", "rank_low": "low", "rank_high": "high", "tie": "tie"}
        table = table.assign(**{name: [getattr(rank, one) for _, rank in found] for name, one in columns.items()})
        title = group.title(f"ranks by {group.setting}, {group.metric}, with 95 % intervals by groups of clips")
        drawings.append(
            Drawing(stem=group.stem("ranks"), table=table, draw=functools.partial(_draw, title=title)),
        )
    if not drawings:
        why = f" ({material.clips.note})" if material.clips.note else ""
        raise NotFoundError(
            f"no two encoders have predictions of the same clips{why}; `benchmark run --encoder A --encoder B` makes "
            f"them"
        )
    return drawings


def _draw(table: pd.DataFrame, *, title: str) -> Figure:
    facets = make_rows(1, [(name,) for name in table["encoder"]], width=3.0)
    (axis,) = facets.axes
    handles = {}
    for number in dict.fromkeys(table["tie"]):
        inside = (table["tie"] == number).to_numpy()
        part = table[inside].assign(mean=table["rank"], low=table["rank_low"], high=table["rank_high"])
        mark = pick_mark(int(number) - 1)
        handles[f"tie group {number}"] = draw_points(axis, np.flatnonzero(inside), part, mark, rows=True)
    axis.set_xlim(0.5, len(table) + 0.5)
    axis.set_xticks(range(1, len(table) + 1))
    axis.tick_params(axis="x", labelsize=SMALL_PT)
    facets.label(x="rank (1 is the best)")
    add_legend(facets.figure, list(handles.values()), list(handles))
    set_title(facets.figure, title)
    return facets.figure
