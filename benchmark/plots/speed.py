"""Speed against accuracy."""

from __future__ import annotations

import functools
import shlex
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.plots.material import Drawing, Material, MeasuredEncoder, list_names, name_unit, tabulate_rows
from benchmark.plots.points import draw_points
from benchmark.results.run_folder import read_configuration
from benchmark.results.speeds import SPEED_TABLE, SpeedRow, read_speeds
from bgknown.errors import NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import import_matplotlib, pick_mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "accuracy against clips per second"


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group and device."""
    speeds: dict[tuple[str, int, float, int], dict[tuple[str, str], SpeedRow]] = {}
    for out in material.options.outs:
        for row in read_speeds(out):
            device = (row.device, row.threads, row.clip_s, row.batch_clips)
            speeds.setdefault(device, {})[row.encoder, row.checkpoint_sha256] = row
    drawings, first = [], None
    for group in material.groups:
        key = (group.setting, group.metric)
        there = [encoder for encoder in group.encoders if key in encoder.rows]
        first = first or there[0]
        for device, of_device in speeds.items():
            found = [(one, of_device[_key(one)]) for one in there if _key(one) in of_device]
            if not found:
                continue
            without = [one for one in there if _key(one) not in of_device]
            if without:
                material.notes.append(f"speed: left out: {list_names(without)}; `{_advise(without[0], material)}`")
            table = tabulate_rows([(one, one.rows[key]) for one, _ in found])
            columns = ("clips_per_s", "device", "threads", "clip_s", "batch_clips")
            table = table.assign(**{name: [getattr(row, name) for _, row in found] for name in columns})
            where = device[0] + (f", {device[1]} thread{'s' * (device[1] > 1)}" if device[1] else "")
            drawings.append(
                Drawing(
                    stem=group.stem("speed", device[0]),
                    table=table,
                    draw=functools.partial(
                        _draw,
                        title=group.title(f"{group.setting} against speed on {where}"),
                        label=f"{group.setting}: {name_unit(group.metric)}",
                    ),
                )
            )
    if not drawings:
        advice = _advise(first, material) if first is not None else "benchmark check --out OUT"
        raise NotFoundError(f"no speed of these encoders is in {SPEED_TABLE}; `{advice}` measures one")
    return drawings


def _key(encoder: MeasuredEncoder) -> tuple[str, str]:
    return encoder.row.encoder, encoder.row.checkpoint_sha256


def _advise(encoder: MeasuredEncoder, material: Material) -> str:
    """The command that measures the speed of an encoder."""
    configuration = (None if encoder.folder is None else read_configuration(encoder.folder)) or {}
    spec = str(configuration.get("spec") or encoder.row.encoder)
    parts = ["--encoder", spec, "--out", str(material.options.outs[0]), "--name", encoder.row.encoder]
    return f"benchmark check {shlex.join(parts if spec != encoder.row.encoder else parts[:4])}"


def _draw(table: pd.DataFrame, *, title: str, label: str) -> Figure:
    facets = make_facets(1, width=4.6, height=2.6)
    (axis,) = facets.axes
    handles = [
        draw_points(axis, [row["clips_per_s"]], table.iloc[[number]], pick_mark(number))
        for number, (_, row) in enumerate(table.iterrows())
    ]
    axis.set_xscale("log")
    speeds = table["clips_per_s"]
    if speeds.max() < 100 * speeds.min():  # powers of ten alone would be one or two
        axis.xaxis.set_major_locator(import_matplotlib().ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:,g}")
    axis.xaxis.set_minor_formatter("")
    facets.label(x=f"clips of {table['clip_s'].iloc[0]:g} s embedded per second", y=label)
    axis.margins(x=0.15)
    add_legend(facets.figure, handles, table["encoder"].tolist())
    set_title(facets.figure, title)
    return facets.figure
