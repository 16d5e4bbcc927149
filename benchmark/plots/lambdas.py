"""Accuracy and gains by lambda, the weight of the difference loss that a checkpoint was trained with."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.encoders.kinds import CHECKPOINTS
from benchmark.plots.material import ComparableGroup, Drawing, Material, MeasuredEncoder, list_names, tabulate_rows
from benchmark.plots.points import draw_points
from benchmark.results.key_figures import COMPARED, find_family, is_gain
from benchmark.results.run_folder import read_configuration
from bgknown.errors import BgknownError, NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.style import GREY, pick_mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = "accuracy and gains against lambda, with a point for each seed of pre-training"
LAMBDA, SEED = "objective.lambda", "training.seed"
NO_DIFFERENCE = {
    LAMBDA,
    SEED,
    *(f"training.{name}" for name in ("steps", "epochs", "log_every", "checkpoint_every", "compile", "channels_last")),
}
"""Settings in which the checkpoints of one line may differ; how many steps were done is ``steps_done``."""
MOST_SHOWN = 8
_SHIFT, _MANY = 0.022, 3


def list_drawings(material: Material) -> list[Drawing]:
    """The drawings, one for each group with checkpoints of several lambdas."""
    drawings, single = [], ""
    known: dict[str, Mapping[str, str | int | float]] = {}
    for group in material.groups:
        found: dict[str, Mapping[str, str | int | float]] = {}
        for encoder in group.encoders:
            key = encoder.row.checkpoint_sha256
            if key and key not in known:
                known[key] = _find_training(encoder)
            if _has_lambda(known.get(key, {})):
                found[encoder.name] = known[key]
        values = {settings[LAMBDA] for settings in found.values()}
        if len(values) < 2:
            single = f"; all have lambda {values.pop()}" if values else single
            continue
        without = [encoder for encoder in group.encoders if encoder.name not in found]
        if without:
            material.notes.append(f"lambda: left out, because their lambda is not known: {list_names(without)}")
        title = group.title(
            "results by lambda; hollow: seeds of pre-training, with 95 % intervals over clips; lines: their means"
        )
        drawings.append(
            Drawing(
                stem=group.stem("lambda"),
                table=_tabulate(group, found),
                draw=functools.partial(_draw, title=title, metric=group.metric),
            )
        )
    if not drawings:
        raise NotFoundError(
            f"no task was measured with checkpoints of two or more lambdas that say so{single}; `pretrain train "
            f"--lambda` makes them, `benchmark run --encoder CHECKPOINT` stores their lambda"
        )
    return drawings


def _has_lambda(settings: Mapping[str, object]) -> bool:
    value = settings.get(LAMBDA)
    return isinstance(value, int | float) and math.isfinite(value)


def _find_training(encoder: MeasuredEncoder) -> Mapping[str, str | int | float]:
    """How a checkpoint was trained: from the run, or for runs of earlier versions from the checkpoint, if unchanged."""
    configuration = (None if encoder.folder is None else read_configuration(encoder.folder)) or {}
    stored = configuration.get("training_settings")
    if isinstance(stored, dict):
        return stored
    path = Path(str(configuration.get("spec", "")).partition("?")[0])
    if path.suffix not in CHECKPOINTS or not path.is_file():
        return {}
    from benchmark.encoders.registry import load_encoder  # noqa: PLC0415

    try:
        loaded = load_encoder(path)
    except BgknownError:  # it is something else by now, or runs code
        return {}
    return loaded.training_settings if loaded.weights_sha256 == encoder.row.checkpoint_sha256 else {}


def _tabulate(group: ComparableGroup, found: Mapping[str, Mapping[str, str | int | float]]) -> pd.DataFrame:
    """The figures of the checkpoints, with lambda, seed, and in what their training differs otherwise."""
    names = [*group.settings, *group.gains]
    order = [*COMPARED.get(find_family(group.task), ())]
    shown = [name for name in order if name in names] or names[:MOST_SHOWN]
    encoders = [encoder for encoder in group.encoders if encoder.name in found]
    table = tabulate_rows(
        [
            (encoder, encoder.rows[name, group.metric])
            for encoder in encoders
            for name in shown
            if (name, group.metric) in encoder.rows
        ]
    )
    differing = sorted(
        name
        for name in {key for settings in found.values() for key in settings} - NO_DIFFERENCE
        if len({str(settings.get(name)) for settings in found.values()}) > 1
    )
    lines = {
        name: ", ".join(f"{key} {settings.get(key, 'unknown')}" for key in differing) or "all checkpoints"
        for name, settings in found.items()
    }
    extra: dict[str, list[Any]] = {
        "training": [lines[name] for name in table["encoder"]],
        "lambda": [float(found[name][LAMBDA]) for name in table["encoder"]],
        "seed": [found[name].get(SEED, "") for name in table["encoder"]],
    }
    return table.assign(**extra)


def _draw(table: pd.DataFrame, *, title: str, metric: str) -> Figure:
    settings, lines = (list(dict.fromkeys(table[name])) for name in ("setting", "training"))
    facets = make_facets(len(settings), share_y=False)
    ticks = sorted(set(table["lambda"]))
    span = ticks[-1] - ticks[0]
    handles = {}
    for axis, setting in zip(facets.axes, settings, strict=True):
        for number, line in enumerate(lines):
            part = table[(table["setting"] == setting) & (table["training"] == line)]
            if part.empty:
                continue
            mark = pick_mark(number)
            by_lambda = part.groupby("lambda")["mean"]
            middle = (by_lambda.transform("size") - 1) / 2 + (len(lines) - 1) / 2 * _MANY
            places = part["lambda"] + _SHIFT * span * (by_lambda.cumcount() + number * _MANY - middle)
            draw_points(axis, places, part, mark, hollow=True)
            means = by_lambda.mean()
            axis.plot(means.index, means.to_numpy(), color=mark.colour, linestyle=mark.line, marker="_", markersize=9)
            (handles[line],) = axis.plot([], [], **mark.points(joined=True))
        if is_gain(setting):
            axis.axhline(0.0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set_xticks(ticks, [f"{value:g}" for value in ticks])
        axis.margins(x=0.12)
    facets.name(settings)
    facets.label(x="lambda (weight of the difference loss)", y=f"{metric} (%), gains in percentage points")
    if len(lines) > 1:
        add_legend(facets.figure, list(handles.values()), list(handles))
    set_title(facets.figure, title)
    return facets.figure
