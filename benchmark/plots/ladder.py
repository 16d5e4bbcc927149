"""The ladder of knowledge of the background: clean, a, b, c, mix, shuffled, and the same with a chosen weight."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.plots.material import Drawing, Material, name_unit
from benchmark.plots.points import draw_points
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import Mark, pick_mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "accuracy in the settings clean, a, b, c, mix and shuffled, with alpha = 1 and with a chosen alpha"
RUNGS = ("clean", "a", "b", "c", "mix", "shuffled")
"""Places on the x axis; a setting with a star is at the place of the one without."""
_BOTH = ("clean", "mix")
_NEUTRAL = Mark(colour="#000000", marker="D", line="none")
_SHIFT = 0.13


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group that has settings with a background subtracted."""
    drawings = []
    for group in material.groups:
        there = set(group.settings)
        chosen = [name for rung in RUNGS for name in (rung, f"{rung}*") if name in there]
        if not set(chosen) - set(_BOTH):
            continue
        title = group.title(f"{group.metric} by what is known of the background, 95 % intervals by groups of clips")
        drawings.append(
            Drawing(
                stem=group.stem("ladder"),
                table=group.tabulate(chosen),
                draw=functools.partial(_draw, title=title, label=name_unit(group.metric)),
            )
        )
    if not drawings:
        raise NotFoundError("no task has the settings a, b or c; `benchmark run --task bgknown` measures them")
    return drawings


def _draw(table: pd.DataFrame, *, title: str, label: str) -> Figure:
    encoders = list(dict.fromkeys(table["encoder"]))
    rungs = [rung for rung in RUNGS if {rung, f"{rung}*"} & set(table["setting"])]
    facets = make_facets(len(encoders))
    handles = {}
    for axis, encoder in zip(facets.axes, encoders, strict=True):
        part = table[table["encoder"] == encoder].set_index("setting")
        series = [(rungs, pick_mark(0), "y_mix - y_bg")]
        if any(name.endswith("*") for name in part.index):
            series.append(([f"{rung}*" for rung in rungs], pick_mark(1), "y_mix - alpha y_bg (a*, b*, c*, shuffled*)"))
        for number, (names, mark, what) in enumerate(series):
            shift = (number - 0.5) * 2 * _SHIFT * (len(series) > 1)
            found = [
                (place + shift, part.loc[name])
                for place, (name, rung) in enumerate(zip(names, rungs, strict=True))
                if name in part.index and rung not in _BOTH
            ]
            if found:
                rows = pd.DataFrame([row for _, row in found])
                handles[what] = draw_points(axis, np.array([place for place, _ in found]), rows, mark)
        both = [rung for rung in _BOTH if rung in part.index]
        if both:
            places = [rungs.index(rung) for rung in both]
            handles["y_clean; y_mix (dotted line)"] = draw_points(axis, places, part.loc[both], _NEUTRAL)
        if "mix" in part.index:
            axis.axhline(part.loc["mix", "mean"], color=_NEUTRAL.colour, linewidth=0.7, linestyle=":")
        axis.set_xticks(range(len(rungs)), rungs)
        axis.set_xlim(-0.6, len(rungs) - 0.4)
        axis.grid(visible=False, axis="x")
    facets.name(encoders)
    facets.label(y=label)
    add_legend(facets.figure, list(handles.values()), list(handles))
    set_title(facets.figure, title)
    return facets.figure
