"""Accuracy by weight of the background, as protocol ``linear`` compares the weights inside the training part."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.plots.material import Drawing, Material
from benchmark.results.run_folder import ALPHA_TABLE
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import GREY, pick_mark
from bgknown.tables import parse_numbers, read_text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "accuracy on held-out training clips against alpha"
_NUMBERS = ("alpha", "n", "accuracy", "ridge_accuracy", "chosen")


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group with tables of weights."""
    drawings = []
    for group in material.groups:
        table = material.read_tables(group, ALPHA_TABLE, _read, kind="alpha")
        if table.empty:
            continue
        title = group.title("accuracy against alpha, the weight of y_bg; the chosen alpha is ringed")
        drawings.append(
            Drawing(stem=group.stem("alpha"), table=table, draw=functools.partial(_draw, title=title)),
        )
    if not drawings:
        raise NotFoundError(
            f"no run has {ALPHA_TABLE}; `benchmark run --task bgknown --protocol linear` writes it (for results of "
            f"earlier versions: --again)"
        )
    return drawings


def _read(path: Path) -> pd.DataFrame:
    """A table of weights: over folds, the mean weighted by held-out clips, and the share of folds that chose each."""
    table = read_text_table(path, ["setting", "fold", *_NUMBERS], advice="run this benchmark again with --again")
    table = table.assign(**{name: parse_numbers(table, name, path) for name in _NUMBERS})
    rows = []
    for (setting, alpha), part in table.groupby(["setting", "alpha"], sort=False):
        means = [float(np.average(part[name], weights=part["n"])) for name in ("accuracy", "ridge_accuracy")]
        rows.append([setting, alpha, int(part["n"].sum()), *means, float(part["chosen"].mean())])
    return pd.DataFrame(rows, columns=["setting", "alpha", "n", "accuracy", "ridge_accuracy", "chosen"])


def _draw(table: pd.DataFrame, *, title: str) -> Figure:
    encoders, settings = (list(dict.fromkeys(table[name])) for name in ("encoder", "setting"))
    facets = make_facets(len(encoders))
    handles = {}
    for axis, encoder in zip(facets.axes, encoders, strict=True):
        for number, setting in enumerate(settings):
            part = table[(table["encoder"] == encoder) & (table["setting"] == setting)].sort_values("alpha")
            if part.empty:
                continue
            mark = pick_mark(number)
            (handles[setting],) = axis.plot(part["alpha"], part["accuracy"], **mark.points(joined=True))
            best = part[part["chosen"] == part["chosen"].max()]
            axis.plot(best["alpha"], best["accuracy"], "o", markersize=9, mfc="none", mec=mark.colour)
        axis.set_xticks(sorted(set(table["alpha"])))
    facets.name(encoders)
    facets.label(x="alpha (weight of y_bg)", y="accuracy on held-out training clips (%)")
    (ring_handle,) = facets.axes[0].plot([], [], "o", markersize=9, mfc="none", mec=GREY)
    add_legend(facets.figure, [*handles.values(), ring_handle], [*handles, "chosen"])
    set_title(facets.figure, title)
    return facets.figure
