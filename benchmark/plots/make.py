"""The kinds of figures by name, and making them: tables to files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from benchmark.plots.material import Drawing, Material, PlotOptions, read_material
from bgknown.errors import NotFoundError
from bgknown.figures.saving import FIGURE_FORMATS, read_figure_formats, save_figure
from bgknown.figures.style import open_style
from bgknown.nearest import suggest
from bgknown.userpath import user_path

KINDS_OF_FIGURES = {
    "ladder": "benchmark.plots.ladder",
    "gains": "benchmark.plots.gains",
    "differences": "benchmark.plots.differences",
    "ranks": "benchmark.plots.ranks",
    "snr": "benchmark.plots.snr",
    "alpha": "benchmark.plots.alpha",
    "lambda": "benchmark.plots.lambdas",
    "speed": "benchmark.plots.speed",
    "changes": "benchmark.plots.changes",
    "confusion": "benchmark.plots.confusion",
}
"""The module of each kind."""
ALL = "all"
"""In place of a kind: all of which there are data."""
FOLDER = "plots"
"""Folder of figures in a folder of results, unless another is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plots:
    """What was made."""

    files: dict[str, list[Path]] = field(default_factory=dict)
    """The files of each figure by its name, the table last."""
    missing: dict[str, str] = field(default_factory=dict)
    """Kinds that were not made, and why."""
    notes: list[str] = field(default_factory=list)
    """What is missing in figures that were made."""


def plot(
    kind: str,
    results: str | Path | Sequence[str | Path],
    *,
    to: str | Path | None = None,
    formats: str | Sequence[str] = FIGURE_FORMATS,
    task: str | None = None,
    metric: str | None = None,
    setting: str | None = None,
    encoders: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Plots:
    """Draw figures of results and write them, each with the table that it is drawn from.

    Args:
        kind: the kind of figure (``benchmark plot --help`` lists them), or ``all``.
        results: a folder of results, or several.
        to: folder of the figures (default: ``plots`` in the first folder of results).
        formats: of png, svg and pdf.
        task: only this task.
        metric: this metric in place of the task's first.
        setting: the setting of figures that show one (default: the one that ranks encoders).
        encoders: only these.
        names: display names of encoders.

    Returns:
        the files by the names of the figures, and for ``all`` what could not be made.

    Raises:
        NotFoundError: a name is unknown (says which are close), data are missing (says which command makes them), or
            matplotlib is not installed.
        InvalidInputError: a file of results is damaged.
        StorageError: a file cannot be written.
    """
    folders = [results] if isinstance(results, str | Path) else list(results)
    options = PlotOptions(
        outs=tuple(user_path(folder) for folder in folders),
        to=None if to is None else user_path(to),
        formats=read_figure_formats(formats if isinstance(formats, str) else ",".join(formats)),
        task=task,
        metric=metric,
        setting=setting,
        encoders=tuple(encoders),
        names=names or {},
    )
    return make_plots(kind, options)


def make_plots(kind: str, options: PlotOptions) -> Plots:
    """Make the figures of a kind, or all; arguments are those of ``plot``, and so are errors."""
    if kind not in {*KINDS_OF_FIGURES, ALL}:
        raise NotFoundError(f"no kind of figure {kind[:80]!r}; {suggest(kind, [*KINDS_OF_FIGURES, ALL])}")
    with open_style():  # matplotlib is there, before anything is read
        material = read_material(options)
    made = Plots(notes=material.notes)
    for name in KINDS_OF_FIGURES if kind == ALL else (kind,):
        try:
            drawings = load_kind(name).list_drawings(material)
        except NotFoundError as error:
            if kind != ALL:
                raise
            made.missing[name] = str(error)
            continue
        for stem, drawing in _name_apart(drawings):
            made.files[stem] = _write(drawing, stem, options)
    if not made.files:
        raise NotFoundError("; ".join(f"{name}: {reason}" for name, reason in made.missing.items()))
    return made


def load_kind(name: str) -> ModuleType:
    """The module of a kind of figure."""
    return importlib.import_module(KINDS_OF_FIGURES[name])


def _name_apart(drawings: Sequence[Drawing]) -> Iterator[tuple[str, Drawing]]:
    """Drawings with names of which no two are the same, whatever the case of their letters."""
    taken: dict[str, int] = {}
    for drawing in drawings:
        number = taken[drawing.stem.lower()] = taken.get(drawing.stem.lower(), 0) + 1
        yield (f"{drawing.stem}-{number}" if number > 1 else drawing.stem), drawing


def _write(drawing: Drawing, stem: str, options: PlotOptions) -> list[Path]:
    texts = {text for name in drawing.table for text in set(map(str, drawing.table[name]))}
    folder = options.outs[0] / FOLDER if options.to is None else options.to
    with open_style(texts):
        return save_figure(drawing.draw(drawing.table), drawing.table, folder / stem, options.formats)


__all__ = ["ALL", "KINDS_OF_FIGURES", "Material", "Plots", "load_kind", "make_plots", "plot"]
