"""Accuracy and gains by band of SNR."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.plots.material import Drawing, Material, name_gain_unit
from benchmark.plots.points import draw_points
from benchmark.results.bands import read_bands
from benchmark.results.key_figures import COMPARED, find_family, is_gain
from benchmark.results.run_folder import SNR_TABLE
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import GREY, pick_mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "accuracy and gains against SNR"
SNR_SETTINGS = ("clean", "a", "a*", "mix", "shuffled*")
"""Settings of the figure of accuracy."""
MOST_TICKS = 7


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings: accuracy and gains of each group with tables by band."""
    drawings = []
    for group in material.groups:
        table = material.read_tables(group, SNR_TABLE, read_bands, kind="snr")
        if table.empty:
            continue
        by_gain = table["setting"].map(is_gain)
        shown = table[~by_gain & table["setting"].isin(SNR_SETTINGS)]
        for what, part, label in (
            ("accuracy", shown if len(shown) else table[~by_gain], "accuracy (%)"),
            ("gain", table[by_gain], name_gain_unit("accuracy")),
        ):
            if len(part):
                title = group.title(f"{what} against SNR, with 95 % intervals by groups of clips")
                drawings.append(
                    Drawing(
                        stem=group.stem("snr", what),
                        table=part.reset_index(drop=True),
                        draw=functools.partial(_draw, title=title, label=label),
                    )
                )
    if not drawings:
        raise NotFoundError(
            f"no run has {SNR_TABLE}; `benchmark run --task bgknown` writes it (for results of earlier versions: "
            f"--again)"
        )
    return drawings


def _draw(table: pd.DataFrame, *, title: str, label: str) -> Figure:
    encoders, settings = (list(dict.fromkeys(table[name])) for name in ("encoder", "setting"))
    settings = _sort(settings, str(table["task"].iloc[0]))
    facets = make_facets(len(encoders))
    bands = table.drop_duplicates("band").sort_values("middle_db")
    span = max(float(bands["middle_db"].max() - bands["middle_db"].min()), 1.0)
    handles = {}
    for axis, encoder in zip(facets.axes, encoders, strict=True):
        for number, setting in enumerate(settings):
            part = table[(table["encoder"] == encoder) & (table["setting"] == setting)].sort_values("middle_db")
            if len(part):
                shift = (number - (len(settings) - 1) / 2) * 0.022 * span
                places = part["middle_db"].to_numpy() + shift
                handles[setting] = draw_points(axis, places, part, pick_mark(number), line=True)
        if is_gain(settings[0]):
            axis.axhline(0.0, color=GREY, linewidth=0.8)
        if len(bands) <= MOST_TICKS:
            axis.set_xticks(bands["middle_db"], [band.replace(" to ", "\nto ") for band in bands["band"]])
    facets.name(encoders)
    facets.label(x="SNR (dB)", y=label)
    add_legend(facets.figure, [handles[name] for name in settings], settings)
    set_title(facets.figure, title)
    return facets.figure


def _sort(settings: Sequence[str], task: str) -> list[str]:
    """Settings in the order of the task's key figures, so that marks are the same in all figures."""
    order = [*SNR_SETTINGS, *COMPARED.get(find_family(task), ())]
    return sorted(settings, key=lambda name: order.index(name) if name in order else len(order))
