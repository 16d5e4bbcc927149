"""Gains of one setting over another on the same clips, with their intervals."""

from __future__ import annotations

import functools

from benchmark.plots.material import Drawing, Material, name_gain_unit
from benchmark.plots.points import draw_forest
from bgknown.errors import NotFoundError

ABOUT = "paired gains such as a* - mix and a* - shuffled*, as a forest plot"
_LEGEND = ("the 95 % interval excludes 0", "the 95 % interval includes 0")


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group that has gains."""
    drawings = []
    for group in material.groups:
        if not group.gains:
            continue
        table = group.tabulate(group.gains)
        clear = (table["low"] > 0) | (table["high"] < 0)
        drawings.append(
            Drawing(
                stem=group.stem("gains"),
                table=table.assign(clear=clear.astype(int)),
                draw=functools.partial(
                    draw_forest,
                    title=group.title("gains on the same clips, with 95 % intervals by groups of clips"),
                    names=("encoder",),
                    label=name_gain_unit(group.metric),
                    legend=_LEGEND,
                ),
            )
        )
    if not drawings:
        raise NotFoundError(
            "no task has paired gains; `benchmark run --task bgknown` measures them, and version 0.1.0 did not"
        )
    return drawings
