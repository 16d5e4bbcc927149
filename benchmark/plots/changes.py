"""Retrieval with a text modifier by kind of change."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.plots.material import Drawing, Material, name_unit
from benchmark.plots.points import ROW_IN, draw_points, make_rows
from benchmark.results.run_folder import BREAKDOWN
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, set_title
from bgknown.figures.style import pick_mark
from bgknown.tables import parse_numbers, read_text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "retrieval with a text modifier by kind of change"
METRICS_SHOWN = ("R@1", "R@10")


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group with breakdowns and each metric."""
    drawings = []
    for group in material.groups:
        table = material.read_tables(group, BREAKDOWN, _read, kind="changes")
        if table.empty:
            continue
        wanted = (material.options.metric,) if material.options.metric else METRICS_SHOWN
        for metric in wanted:
            part = table[table["metric"] == metric]
            if len(part):
                title = group.title(f"{metric} by kind of change, with 95 % intervals over queries")
                drawings.append(
                    Drawing(
                        stem=group.stem("changes", metric),
                        table=part.reset_index(drop=True),
                        draw=functools.partial(_draw, title=title, label=name_unit(metric)),
                    )
                )
    if not drawings:
        raise NotFoundError(
            f"no run has {BREAKDOWN} with this metric; `benchmark run --task apwd-rain` (or apwd-traffic) writes it"
        )
    return drawings


def _read(path: Path) -> pd.DataFrame:
    columns = ["setting", "changes", "metric", "mean", "low", "high", "n_test"]
    table = read_text_table(path, columns, advice="run this benchmark again with --again")
    ends = {name: pd.to_numeric(table[name], errors="coerce") for name in ("low", "high")}
    counts = [int(number) for number in parse_numbers(table, "n_test", path)]
    return table.assign(mean=parse_numbers(table, "mean", path), **ends, n_test=counts)


def _draw(table: pd.DataFrame, *, title: str, label: str) -> Figure:
    encoders, settings = (list(dict.fromkeys(table[name])) for name in ("encoder", "setting"))
    kinds = table.drop_duplicates("changes").set_index("changes")["n_test"]
    names = [(f"{kind} (n = {count})",) for kind, count in kinds.items()]
    facets = make_rows(len(encoders), names, row=max(ROW_IN, 0.09 * len(settings)))
    handles = {}
    for axis, encoder in zip(facets.axes, encoders, strict=True):
        for number, setting in enumerate(settings):
            part = table[(table["encoder"] == encoder) & (table["setting"] == setting)]
            if part.empty:
                continue
            shift = (number - (len(settings) - 1) / 2) * 0.75 / max(1, len(settings))
            places = np.array([kinds.index.get_loc(kind) for kind in part["changes"]]) + shift
            handles[setting] = draw_points(axis, places, part, pick_mark(number), rows=True)
    facets.name(encoders)
    facets.label(x=label)
    add_legend(facets.figure, list(handles.values()), list(handles))
    set_title(facets.figure, title)
    return facets.figure
