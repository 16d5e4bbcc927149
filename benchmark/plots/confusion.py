"""How often classes are taken for others."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.plots.material import Drawing, Material
from benchmark.results.classes import ACCURACY, format_confusion
from bgknown.errors import NotFoundError
from bgknown.figures.labels import fit_names
from bgknown.figures.layout import POINTS, set_title
from bgknown.figures.style import SHADES, SMALL_PT, TEXT_PT, import_matplotlib
from bgknown.shown import unescape_cell
from bgknown.tables import parse_csv, parse_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

ABOUT = "how often each class is predicted for the clips of each class"
MOST_CLASSES = 60
"""Of more classes, those with the most errors are shown."""
MOST_NUMBERS = 15
"""Up to so many classes the percentages are written into the cells."""
OTHER = "(all others)"


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each encoder of each group whose predictions are classes."""
    drawings = []
    for group in material.groups:
        key = (group.setting, group.metric)
        for encoder in group.encoders if group.metric.endswith(ACCURACY) else ():
            if key not in encoder.rows or encoder.folder is None:
                continue
            table = _tabulate(format_confusion([encoder.rows[key]], material.options.outs), encoder.name)
            title = group.title(f"confusion of {encoder.name}, {group.setting}")
            drawings.append(
                Drawing(
                    stem=group.stem("confusion", encoder.name, group.setting.replace("*", "-star")),
                    table=table,
                    draw=functools.partial(_draw, title=title),
                )
            )
    if not drawings:
        raise NotFoundError(
            "no run has predictions of classes; `benchmark run` writes them for tasks whose metric is accuracy"
        )
    return drawings


def _tabulate(text: str, name: str) -> pd.DataFrame:
    """Counts and shares (percent of the clips of a class), with zeros, of all classes or those with most errors."""
    table = parse_csv(text.encode(), "confusion", advice="")
    table = table.map(unescape_cell).assign(encoder=name, count=parse_numbers(table, "count", "confusion"))  # type: ignore[arg-type]
    labels = sorted({*table["label"], *table["predicted"]})
    if len(labels) > MOST_CLASSES:
        wrong = table[table["label"] != table["predicted"]].groupby("label")["count"].sum()
        wrong = wrong.reindex(labels, fill_value=0.0)
        kept = set(wrong.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES])
        table = table[table["label"].isin(kept)]
        table = table.assign(predicted=table["predicted"].where(table["predicted"].isin(kept), OTHER))
        labels = [label for label in labels if label in kept]
    columns = [*labels, *[OTHER] * (OTHER in set(table["predicted"]))]
    counts = table.groupby(["label", "predicted"])["count"].sum()
    whole = counts.reindex(pd.MultiIndex.from_product([labels, columns], names=["label", "predicted"]), fill_value=0)
    sums = whole.groupby("label").transform("sum")
    facts = ("task", "protocol", "dataset_sha256", "encoder", "checkpoint_sha256", "setting", "metric", "seeds")
    found = whole.reset_index().assign(
        count=whole.astype("int64").to_numpy(), share=(100 * whole / sums.where(sums > 0)).round(4).to_numpy()
    )
    return found.assign(**{fact: table[fact].iloc[0] for fact in facts})[
        [*facts, "label", "predicted", "count", "share"]
    ]


def _draw(table: pd.DataFrame, *, title: str) -> Figure:
    rows, columns = (list(dict.fromkeys(table[name])) for name in ("label", "predicted"))
    shares = table["share"].to_numpy(dtype=np.float64).reshape(len(rows), len(columns))
    cell = 0.32 if len(rows) <= MOST_NUMBERS else 0.145
    size_pt = SMALL_PT if len(rows) <= MOST_NUMBERS else 5.5
    side = max(2.2, cell * len(columns))
    size = (side + 2.4, max(2.0, cell * len(rows)) + 2.0)
    figure: Figure = import_matplotlib().figure.Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    norm = import_matplotlib().colors.PowerNorm(0.5, vmin=0, vmax=100)  # otherwise 5 % is nearly white
    image = axis.imshow(shares, cmap=SHADES, norm=norm, aspect="auto", interpolation="nearest")
    shown = fit_names([*rows, *columns], 1.2 * POINTS, size_pt)
    axis.set_xticks(range(len(columns)), [shown[name] for name in columns], rotation=90, fontsize=size_pt)
    axis.set_yticks(range(len(rows)), [shown[name] for name in rows], fontsize=size_pt)
    axis.grid(visible=False)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("class of the clip")
    if len(rows) <= MOST_NUMBERS:
        for place in zip(*np.nonzero(np.round(shares) > 0), strict=True):
            colour = "white" if shares[place] > 30 else "black"
            text = f"{shares[place]:.0f}"
            axis.text(place[1], place[0], text, ha="center", va="center", fontsize=SMALL_PT, color=colour)
    bar = figure.colorbar(image, ax=axis, shrink=min(1.0, 2.5 / size[1] + 0.3), pad=0.02, ticks=(0, 5, 20, 50, 100))
    bar.set_label("share of the clips of a class (%)", fontsize=TEXT_PT)
    set_title(figure, title)
    return figure
